"""What a reader is: it finds the documents in one file, each with its position. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import Any, Protocol, TypeAlias

Fields: TypeAlias = Mapping[str, Any]


class Unreadable(ValueError):
    """The file, or the rest of it, cannot be read. The message says why, as the end of a sentence about the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadOptions:
    """How rows become documents, and how bytes become text. None is what the file itself tells.

    `metadata_fields` None stands for every column. With `keeps_rows`, a document keeps the row that it was in.
    """

    id_field: str = "document_id"
    text_field: str = "text"
    metadata_fields: tuple[str, ...] | None = None
    delimiter: str | None = None
    encoding: str | None = None
    keeps_rows: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        return (self.id_field, self.text_field, *(self.metadata_fields or ()))

    def chosen(self, metadata: Fields) -> Fields:
        """Those of the metadata that are to be sent."""
        wanted = self.metadata_fields
        return metadata if wanted is None else {name: metadata[name] for name in wanted if name in metadata}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One document of a file, as it was found: its fields by name, or the problem with it.

    Positions rise within a file. A file that is one document has it at position 1, with the fields `text` and, if it
    has one, `title`. `line` is where a row begins, from 1. `size_bytes` is what was read to get it.
    """

    position: int
    fields: Fields | None = None
    problem: str = ""
    line: int | None = None
    size_bytes: int = 0


class Reader(Protocol):
    """The function `read` of each module in `readers`."""

    def __call__(self, file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
        """Yield the entries behind position `after`, in order.

        A reader of text gets UTF-8, whatever the file is in.

        Raises:
            Unreadable: what follows cannot be read.
        """

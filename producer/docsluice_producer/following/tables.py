"""Writes outcomes to a file, each flushed before the next is awaited."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from docsluice.outcomes.outcome import Outcome
from docsluice_producer.errors import WrongUsage
from docsluice_producer.following.csv_table import CsvTable
from docsluice_producer.following.parquet_table import ParquetTable
from docsluice_producer.following.text_files import json_text, opened, translated


class Table(Protocol):
    """Where outcomes are written."""

    def write(self, outcome: Outcome) -> None:
        """Write one and flush it.

        Raises:
            NotWritten: the file takes no more.
        """
        ...

    def close(self) -> None:
        """Close the file."""
        ...


def open_table(path: Path) -> Table:
    """Open the table of the suffix's kind. An existing file is replaced.

    Raises:
        WrongUsage: the suffix is of no kind of table, or the file cannot be written.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise WrongUsage(f"--to {path}: the name must end in {' or '.join(_KINDS)}")
    try:
        return kind(path=path)
    except OSError as error:
        raise WrongUsage(f"--to {path}: cannot be written: {error.strerror}") from error


def json_line(outcome: Outcome) -> str:
    """An outcome's fields as one line of JSON."""
    return json_text(outcome.fields)


class JsonLines:
    """One line of JSON for each outcome."""

    def __init__(self, *, path: Path) -> None:
        self._path = path
        self._file = opened(path, "w")

    def write(self, outcome: Outcome) -> None:
        """Write one and flush it."""
        with translated(self._path):
            self._file.write(json_line(outcome) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


_KINDS: Mapping[str, Callable[..., Table]] = {".jsonl": JsonLines, ".csv": CsvTable, ".parquet": ParquetTable}

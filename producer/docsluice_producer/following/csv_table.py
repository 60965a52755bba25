"""Writes outcomes as a CSV file that a spreadsheet can open."""

import csv
import errno
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import IO, Any

from docsluice.outcomes.outcome import Outcome
from docsluice_producer.following.columns import (
    AFTER_OUTPUTS,
    BEFORE_OUTPUTS,
    cell,
    flat,
    metadata_column,
    output_column,
)
from docsluice_producer.following.text_files import opened, translated

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""OWASP's list. Leading quote marks count, so that a text's own quote mark can be told from ours."""
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_NAME_CHARACTERS = 50
_LARGEST_CELL = 2**31 - 1
MOST_METADATA_COLUMNS = 100
"""Further names are only in the column with all metadata. Each new one has the file written again."""


class CsvTable:
    """One row for each outcome, a column for each output and each name in the metadata.

    They are known only when an outcome has them. So the file is rewritten, wider, when one brings a new name: usually
    once, at the first result.
    """

    def __init__(self, *, path: Path) -> None:
        if path.exists() and not path.is_file():
            raise OSError(errno.EINVAL, "it is no regular file")
        self._path = Path(os.path.realpath(path))  # a named link stays a link
        self._outputs: list[str] = []
        self._metadata: list[str] = []
        self._file = opened(path, "w")
        self._write_header(self._file)

    def write(self, outcome: Outcome) -> None:
        """Write one and flush it."""
        with translated(self._path):
            outputs = [name for name in outcome.outputs if name not in self._outputs]
            metadata = [name for name in outcome.fields["metadata"] if name not in self._metadata]
            metadata = metadata[: MOST_METADATA_COLUMNS - len(self._metadata)]
            if outputs or metadata:
                self._widen(outputs, metadata)
            self._writer(self._file).writerow(_row(outcome))
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _widen(self, outputs: Sequence[str], metadata: Sequence[str]) -> None:
        self._file.close()
        self._outputs.extend(outputs)
        self._metadata.extend(metadata)
        csv.field_size_limit(_LARGEST_CELL)
        with opened(self._path, "r") as old, _instead_of(self._path) as new:
            self._write_header(new)
            self._writer(new).writerows(csv.DictReader(old))
        self._file = opened(self._path, "a")

    def _write_header(self, file: IO[str]) -> None:
        self._writer(file).writeheader()
        file.flush()

    def _writer(self, file: IO[str]) -> "csv.DictWriter[str]":
        outputs, metadata = map(output_column, self._outputs), map(metadata_column, self._metadata)
        columns = [*BEFORE_OUTPUTS, *map(csv_cell, outputs), *AFTER_OUTPUTS, *map(csv_cell, metadata)]
        return csv.DictWriter(file, columns, restval="", extrasaction="ignore")


def csv_cell(value: Any) -> str:
    """The same for a spreadsheet: a text that would run as a formula gets a quote mark before it.

    Numbers stay as they are. docs/reference/producer.md tells how the text is read back.
    """
    text = cell(value)
    is_run = isinstance(value, str | list) and _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_run else text


@contextmanager
def _instead_of(path: Path) -> Iterator[IO[str]]:
    """Write a new file beside another, and replace that at the end.

    Its name cannot be guessed, so nobody can plant a link.
    """
    descriptor, name = mkstemp(dir=path.parent, prefix=f".{path.name[:_NAME_CHARACTERS]}.", suffix=".part")
    try:
        with opened(descriptor, "w") as new:
            os.fchmod(descriptor, stat.S_IMODE(path.stat().st_mode))
            yield new
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _row(outcome: Outcome) -> dict[str, str]:
    return {csv_cell(name): csv_cell(value) for name, value in flat(outcome).items()}

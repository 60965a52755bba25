"""Writes outcomes to a file, each flushed before the next is awaited."""

import csv
import errno
import json
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkstemp
from typing import IO, Any, Literal, Protocol

from docsluice.messages import DocumentResult, SourcePosition, Usage
from docsluice.outcomes.outcome import OF_DEAD_LETTERS, Outcome
from docsluice_producer.command_line.numbers import harmless_json
from docsluice_producer.errors import NotWritten, WrongUsage

_BEFORE_OUTPUTS = ("kind", "document_id")
_OF_THE_FIRST_RELEASE = (
    "reason",
    "stage",
    "step",
    "message",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cost_usd",
    "saved_usd",
    "attempts",
    "finished_at",
    "mode",
    "models",
    "long",
    "pipeline_version",
    "result_id",
    "source_topic",
    "source_partition",
    "source_offset",
    "excerpt",
    "metadata",
)
"""Columns that keep their order. Newer columns come after them."""
_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""OWASP's list. Leading quote marks count, so that a text's own quote mark can be told from ours."""
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?")
_NAME_CHARACTERS = 50
_LARGEST_CELL = 2**31 - 1
MOST_METADATA_COLUMNS = 100
"""Further names are only in the column with all metadata. Each new one has the file written again."""


def _columns_of_results() -> Iterator[str]:
    for name in DocumentResult.model_fields:
        match name:
            case "document_id" | "outputs" | "schema_version":
                continue
            case "usage":
                yield from Usage.model_fields
            case "source":
                yield from (f"source_{part}" for part in SourcePosition.model_fields)
            case _:
                yield name


_AFTER_OUTPUTS = tuple(dict.fromkeys((*_OF_THE_FIRST_RELEASE, *_columns_of_results(), *OF_DEAD_LETTERS)))


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


def json_text(fields: Mapping[str, Any]) -> str:
    """One line of JSON that is safe for a terminal: controls and direction marks are escaped."""
    return harmless_json(json.dumps(fields, ensure_ascii=False, separators=(",", ":")))


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
        outputs, metadata = map(_output_column, self._outputs), map(_metadata_column, self._metadata)
        columns = [*_BEFORE_OUTPUTS, *map(csv_cell, outputs), *_AFTER_OUTPUTS, *map(csv_cell, metadata)]
        return csv.DictWriter(file, columns, restval="", extrasaction="ignore")


def cell(value: Any) -> str:
    """An output or a field as text: a list joined with "; ", anything deeper as JSON."""
    if isinstance(value, list) and all(isinstance(one, str | int | float) for one in value):
        return "; ".join(map(str, value))
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def csv_cell(value: Any) -> str:
    """The same for a spreadsheet: a text that would run as a formula gets a quote mark before it.

    Numbers stay as they are. docs/reference/producer.md tells how the text is read back.
    """
    text = cell(value)
    is_run = isinstance(value, str | list) and _FORMULA.match(text) and not _NUMBER.fullmatch(text)
    return f"'{text}" if is_run else text


def opened(path: Path | int, mode: Literal["r", "w", "a"]) -> IO[str]:
    """Open a text file. Half of a surrogate pair, which UTF-8 cannot hold, is written as JSON's escape."""
    return open(path, mode, encoding="utf-8", errors="backslashreplace", newline="")  # noqa: PTH123 - it may be a descriptor


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


def flat(outcome: Outcome) -> dict[str, Any]:
    """The outcome's columns: its fields and parts of fields, its outputs, and its metadata name by name."""
    fields = {
        **outcome.fields,
        **({} if outcome.is_dead_letter else {name: getattr(outcome.usage, name) for name in Usage.model_fields}),
        **{f"source_{name}": value for name, value in outcome.fields["source"].items()},
        "long": [f"{task}: {how}" for task, how in outcome.long.items()],
    }
    return {
        **{name: fields.get(name) for name in _BEFORE_OUTPUTS},
        **{_output_column(name): value for name, value in outcome.outputs.items()},
        **{name: fields.get(name) for name in _AFTER_OUTPUTS},
        **{_metadata_column(name): value for name, value in outcome.fields["metadata"].items()},
    }


def _row(outcome: Outcome) -> dict[str, str]:
    return {csv_cell(name): csv_cell(value) for name, value in flat(outcome).items()}


def _output_column(output: str) -> str:
    return f"outputs.{output}" if output in (*_BEFORE_OUTPUTS, *_AFTER_OUTPUTS) else spelled(output)


def _metadata_column(name: str) -> str:
    return f"metadata.{spelled(name)}"


def spelled(text: str) -> str:
    """The text, with half of a surrogate pair as JSON's escape."""
    return text.encode(errors="backslashreplace").decode()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise `NotWritten` if the block meets an error of the system."""
    try:
        yield
    except OSError as error:
        raise NotWritten(f"{path}: cannot be written: {error.strerror}") from error


def _parquet_table(*, path: Path) -> Table:
    from docsluice_producer.following.parquet_table import ParquetTable  # noqa: PLC0415 - pyarrow is an extra

    return ParquetTable(path=path)


_KINDS: Mapping[str, Callable[..., Table]] = {".jsonl": JsonLines, ".csv": CsvTable, ".parquet": _parquet_table}

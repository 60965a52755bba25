"""Writes outcomes as a Parquet file, which pandas, polars, DuckDB and Spark read as a typed table.

A Parquet file is whole only at its end, and its columns have to be known before the first row. So outcomes go to a file
of JSON lines beside it first, each flushed. The table is made of that file at the end. A process that is killed leaves
the lines behind, and loses nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from docsluice.messages import Usage
from docsluice.outcomes.outcome import Outcome
from docsluice_producer.errors import NotWritten, WrongUsage
from docsluice_producer.following.columns import AFTER_OUTPUTS, BEFORE_OUTPUTS, cell, flat, spelled
from docsluice_producer.following.text_files import json_text, opened, translated

_TIMES = frozenset({"started_at", "finished_at", "first_failed_at"})
_DOLLARS = frozenset({"cost_usd", "saved_usd"})
_INTEGERS = frozenset({*Usage.model_fields, "attempts", "source_partition", "source_offset", "replay_count"})
_ROWS = 5_000
"""In memory at a time, and in a row group."""
_NAME_CHARACTERS = 50
_LARGEST_INTEGER = 2**63 - 1


class ParquetTable:
    """One row for each outcome, a column for each field, output and name in the metadata.

    Times are timestamps, money is in floating point, a list of texts is a list, and deeper values are JSON. A column
    with values of several kinds holds them as text.
    """

    def __init__(self, *, path: Path) -> None:
        """Raises WrongUsage: pyarrow is not installed, or the place is no file's."""
        try:
            import pyarrow.parquet  # noqa: F401, PLC0415 - it is an extra, and large
        except ImportError:
            raise WrongUsage(f"--to {path}: Parquet needs pyarrow: pip install 'docsluice[files]'") from None
        if path.is_dir():
            raise WrongUsage(f"--to {path}: it is a folder")
        self._path = Path(os.path.realpath(path))
        descriptor, name = mkstemp(
            dir=self._path.parent, prefix=f".{self._path.name[:_NAME_CHARACTERS]}.", suffix=".part.jsonl"
        )
        self._part = Path(name)
        self._file = opened(descriptor, "w")
        # Those of every table, also of an empty one. Outputs and names in the metadata come behind them.
        self._kinds = {name: _usual_kind(name) for name in (*BEFORE_OUTPUTS, *AFTER_OUTPUTS)}

    def write(self, outcome: Outcome) -> None:
        """Write one and flush it."""
        row = {name: _value(name, value) for name, value in flat(outcome).items()}
        for name, value in row.items():
            self._kinds[name] = _joined(self._kinds.get(name, ""), _kind(name, value))
        with translated(self._part):
            self._file.write(json_text(row) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Make the table of what was written, in the place of an earlier file.

        Raises:
            NotWritten: it cannot be written. The outcomes stay in the file of lines.
        """
        whole = self._part.with_suffix(".parquet")
        try:
            self._file.close()
            self._convert(whole)
            whole.replace(self._path)
        except OSError as error:
            whole.unlink(missing_ok=True)
            problem = error.strerror or str(error)
            raise NotWritten(f"{self._path}: cannot be written: {problem}; the outcomes are in {self._part}") from error
        self._part.unlink()

    def _convert(self, whole: Path) -> None:
        import pyarrow as pa  # noqa: PLC0415 - as above
        import pyarrow.parquet as pq  # noqa: PLC0415

        types = {
            "": pa.string(),
            "boolean": pa.bool_(),
            "integer": pa.int64(),
            "number": pa.float64(),
            "text": pa.string(),
            "texts": pa.list_(pa.string()),
            "time": pa.timestamp("us", tz="UTC"),
        }
        kinds = dict(self._kinds)
        schema = pa.schema([(name, types[kind]) for name, kind in kinds.items()])
        with pq.ParquetWriter(whole, schema, compression="zstd") as writer, opened(self._part, "r") as lines:
            for rows in _batches(map(json.loads, lines)):
                columns = [[_as(kind, row.get(name)) for row in rows] for name, kind in kinds.items()]
                arrays = [pa.array(column, type=one.type) for column, one in zip(columns, schema, strict=True)]
                writer.write_table(pa.Table.from_arrays(arrays, schema=schema))


def _batches(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    while batch := list(islice(rows, _ROWS)):
        yield batch


def _usual_kind(name: str) -> str:
    if name in _INTEGERS:
        return "integer"
    if name in _DOLLARS:
        return "number"
    return "time" if name in _TIMES else "texts" if name == "long" else "text"


def _value(name: str, value: Any) -> Any:
    """The value as it is kept until the end. Dollars are texts in an outcome."""
    return float(value) if name in _DOLLARS and value is not None else value


def _kind(name: str, value: Any) -> str:
    """The kind of column that can hold the value. Empty if any can."""
    match value:
        case None:
            return ""
        case bool():
            return "boolean"
        case int():
            return "integer" if abs(value) <= _LARGEST_INTEGER else "text"
        case float():
            return "number"
        case str():
            return "time" if name in _TIMES and _is_time(value) else "text"
        case list() if all(isinstance(one, str) for one in value):
            return "texts"
        case _:
            return "text"


def _joined(one: str, other: str) -> str:
    """The kind that can hold values of both."""
    if one == other or not other:
        return one
    if not one:
        return other
    return "number" if {one, other} == {"integer", "number"} else "text"


def _as(kind: str, value: Any) -> Any:
    """The value in a column of this kind."""
    if value is None:
        return None
    if kind == "time":
        return datetime.fromisoformat(value)
    if kind == "number":
        return float(value)
    if kind == "texts":
        return list(map(spelled, value))
    return spelled(cell(value)) if kind == "text" else value


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True

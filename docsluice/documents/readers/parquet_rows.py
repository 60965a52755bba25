"""Reads Parquet: each row is a document. One row group is in memory at a time."""

import datetime as dt
import math
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from docsluice.documents.columns import lacking
from docsluice.documents.entries import Entry, ReadOptions, Unreadable

_BATCH_ROWS = 256


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield each row behind number `after`. Row groups before it are not read.

    Raises:
        Unreadable: it is no such file, lacks a column, or is damaged.
    """
    try:
        table = pq.ParquetFile(file)
    except (pa.ArrowException, OSError) as error:
        raise Unreadable("it is damaged, or no Parquet file") from error
    if lacks := lacking(table.schema_arrow.names, options.required):
        raise Unreadable(f"the table has {lacks}")
    number = 0
    for group in range(table.num_row_groups):
        rows = table.metadata.row_group(group).num_rows
        if number + rows <= after:
            number += rows
            continue
        size = table.metadata.row_group(group).total_byte_size // max(1, rows)
        for row in _rows(table, group):
            number += 1
            if number > after:
                yield Entry(position=number, fields=row, line=number, size_bytes=size)


def _rows(table: Any, group: int) -> Iterator[dict[str, Any]]:
    try:
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group]):
            for row in batch.to_pylist():
                yield {name: _plain(value) for name, value in row.items()}
    except (pa.ArrowException, OSError) as error:
        raise Unreadable("it is damaged: the rest is not read") from error


def _plain(value: Any) -> Any:
    """A cell as JSON has it. A time is written as ISO 8601, and what cannot be written is an object."""
    match value:
        case None | str() | bool() | int() | list() | dict():
            return value if not isinstance(value, list | dict) else type(value)()
        case float():
            return None if math.isnan(value) else value
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case bytes():
            try:
                return value.decode()  # older writers do not say that a column is text
            except UnicodeDecodeError:
                return {}
        case _:
            return str(value)

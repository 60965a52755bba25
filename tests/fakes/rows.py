"""Files of a few bytes, and the rows that are read from them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from docsluice.documents.entries import ReadOptions
from docsluice.documents.kinds import Format
from docsluice.documents.reader_process import ReaderProcess
from docsluice.documents.reading import read
from docsluice.documents.rows import BadRow, Document, Row
from docsluice.documents.sources import Source
from docsluice.messages import DocumentEvent


def rows_of(
    data: bytes, form: Format, *, after: int = 0, process: ReaderProcess | None = None, **options: Any
) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(data)
        source = Source(path=path, name="file", format=form, document_id="the-id")
        return list(read(source, ReadOptions(**options), process=process, after=after))


def event(row: Row) -> DocumentEvent:
    assert isinstance(row, Document), row
    return DocumentEvent.model_validate_json(row.value)


def problem(row: Row) -> str:
    assert isinstance(row, BadRow), row
    return f"{row.place}: {row.problem}"


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)

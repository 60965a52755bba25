"""Reads .xlsx: each sheet's name, and its rows with tabs between the cells."""

import datetime as dt
from collections.abc import Iterator
from io import BufferedReader
from typing import Any

import openpyxl

from docsluice.documents.entries import Entry, ReadOptions, Unreadable
from docsluice.documents.readers.office_files import check_archive, damage_told

_CALLED = "an Excel workbook"
_MOST_CHARACTERS = 16 * 1024 * 1024
"""More than may be sent. A sheet may repeat one string a million times."""


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the text and the title. Of a formula, its last result.

    Raises:
        Unreadable: it is no such file, or has too much text.
    """
    del options, after
    check_archive(file, part="xl/workbook.xml", called=_CALLED)
    lines: list[str] = []
    characters = 0
    with damage_told(_CALLED):
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
        for line in _lines(workbook):
            lines.append(line)
            characters += len(line)
            if characters > _MOST_CHARACTERS:
                raise Unreadable(
                    "it has more text than may be sent: save the sheets as CSV, and each row is a document"
                )
        title = workbook.properties.title
    yield Entry(position=1, fields={"text": "\n".join(lines).strip(), "title": title}, size_bytes=file.tell())


def _lines(workbook: Any) -> Iterator[str]:
    for sheet in workbook.worksheets:
        sheet.reset_dimensions()  # they may claim a million rows, which would all be there
        rows = ["\t".join(map(_written, row)).rstrip("\t") for row in sheet.iter_rows(values_only=True)]
        if any(rows):
            yield f"{sheet.title}"
            yield from filter(None, rows)
            yield ""


def _written(value: object) -> str:
    match value:
        case None:
            return ""
        case dt.datetime() if value.time() == dt.time.min:
            return value.date().isoformat()
        case dt.datetime() | dt.date() | dt.time():
            return value.isoformat()
        case float() if value.is_integer():
            return str(int(value))
        case _:
            return str(value)

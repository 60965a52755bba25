"""Reads a source's rows one at a time, so that memory does not grow with the file."""

import errno
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from io import BufferedReader
from typing import IO, Any

from docsluice.validation.record_bytes import unmarked
from docsluice_producer.documents.csv_rows import csv_rows
from docsluice_producer.documents.lines import LINE_BYTES, TOO_LONG, lines, not_utf8
from docsluice_producer.documents.recognition import START_BYTES, no_documents, no_ends, no_lines, no_text
from docsluice_producer.documents.rows import (
    BadRow,
    Note,
    Place,
    Row,
    Unfit,
    an_object,
    document,
    event_fields,
    json_name,
    parse_json,
    parse_json_value,
)
from docsluice_producer.documents.sources import Format, Source

_STDIN_DESCRIPTOR = 0


def read(source: Source, *, id_field: str, text_field: str) -> Iterator[Row]:
    """Yield every row of a source, good and bad, in the file's order.

    A file that cannot be read, or holds no documents in that form, is one bad row.
    """
    if source.path is None and sys.stdin is None:  # another file may have its descriptor by now
        yield BadRow(place=Place(source.name), problem="cannot be read: it is closed")
        return
    try:
        # Standard input gets a reader of its own: the thread that reads it may still hold the lock of this reader when
        # the program ends, and Python aborts when that is the lock of `sys.stdin`.
        path, is_file = source.path or _STDIN_DESCRIPTOR, source.path is not None
        with open(path, "rb", closefd=is_file, opener=_regular if source.in_folder else None) as file:
            if problem := _not_of(source.format, file):
                yield BadRow(place=Place(source.name), problem=problem)
            elif source.format is Format.TEXT:
                yield _text(file, source)
            elif source.format is Format.JSONL:
                yield from _jsonl(file, source.name, id_field=id_field, text_field=text_field)
            elif source.format is Format.JSON:
                yield from _json(file, source.name, id_field=id_field, text_field=text_field)
            else:
                yield from _csv(file, source.name, id_field=id_field, text_field=text_field)
    except OSError as error:
        yield BadRow(place=Place(source.name), problem=f"cannot be read: {error.strerror or error}")


def _regular(path: str, flags: int) -> int:
    """Open a regular file without waiting at anything else."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file any more")


def _not_of(form: Format, file: BufferedReader) -> str | None:
    """What the file is, if its beginning does not fit the format."""
    start = file.peek(START_BYTES)[:START_BYTES]
    if (problem := no_text(start)) or form in {Format.TEXT, Format.JSON}:
        return problem
    return no_ends(start) or (no_lines(start) if form is Format.JSONL else None)


def _text(file: IO[bytes], source: Source) -> Row:
    data = file.read(LINE_BYTES + 1)
    place = Place(source.name)
    try:
        text = _decoded(unmarked(data))
        return document(place, {"document_id": source.document_id, "text": text}, input_bytes=len(data))
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return BadRow(place=Place(source.name, line), problem=not_utf8(error), input_bytes=len(data))
    except Unfit as unfit:
        return BadRow(place=place, problem=str(unfit), input_bytes=len(data))


def _jsonl(file: IO[bytes], name: str, *, id_field: str, text_field: str) -> Iterator[Row]:
    noted: set[str] = set()
    is_first = True
    for number, perhaps_marked in lines(file):
        line = unmarked(perhaps_marked)  # where files were joined
        if not line.strip():
            continue
        place = Place(name, number)
        try:
            row = parse_json(_decoded(line))
            if is_first and (problem := no_documents(row)):
                yield BadRow(place=Place(name), problem=problem, input_bytes=len(line))
                return
            is_first = False
            fields, left_out = event_fields(row, id_field=id_field, text_field=text_field)
            sendable = document(place, fields, input_bytes=len(line))
        except UnicodeDecodeError as error:
            yield BadRow(place=place, problem=not_utf8(error), input_bytes=len(line))
        except Unfit as unfit:
            yield BadRow(place=place, problem=str(unfit), input_bytes=len(line))
        else:
            yield from _left_out(place, row, left_out, noted)
            yield sendable


def _json(file: IO[bytes], name: str, *, id_field: str, text_field: str) -> Iterator[Row]:
    """Read a list of documents, or one alone. It is read as a whole, so it may be no larger than a line."""
    data = file.read(LINE_BYTES + 1)
    place = Place(name)
    try:
        rows = _rows_of_json(data)
    except Unfit as unfit:
        yield BadRow(place=place, problem=str(unfit), input_bytes=len(data))
        return
    noted: set[str] = set()
    for number, row in enumerate(rows, start=1):
        input_bytes = len(data) // len(rows)
        try:
            fields, left_out = event_fields(an_object(row), id_field=id_field, text_field=text_field)
            sendable = document(place, fields, input_bytes=input_bytes)
        except Unfit as unfit:
            yield BadRow(place=place, problem=f"document {number}: {unfit}", input_bytes=input_bytes)
        else:
            yield from _left_out(place, row, left_out, noted)
            yield sendable


def _rows_of_json(data: bytes) -> list[Any]:
    """The documents of a whole file. Raises `Unfit` if it holds none."""
    try:
        found = parse_json_value(_decoded(unmarked(data)))
    except UnicodeDecodeError as error:
        raise Unfit(not_utf8(error)) from error
    rows = found if isinstance(found, list) else [found]
    if rows and isinstance(rows[0], dict) and (problem := no_documents(rows[0])):
        raise Unfit(problem)
    if not rows:
        raise Unfit("an empty list: it holds no document")
    return rows


def _decoded(data: bytes) -> str:
    if len(data) > LINE_BYTES:
        raise Unfit(TOO_LONG)
    return data.decode()


def _left_out(place: Place, row: Mapping[str, Any], names: list[str], noted: set[str]) -> Iterator[Note]:
    """Note, once for each column, that it is not sent."""
    for name in names:
        if name not in noted:
            noted.add(name)
            kind = json_name(row[name])
            yield Note(place=place, text=f"{name!r} is {kind}, which metadata cannot hold: it is left out")


def _csv(file: IO[bytes], name: str, *, id_field: str, text_field: str) -> Iterator[Row]:
    for place, cells, input_bytes in csv_rows(file, name, required=(id_field, text_field)):
        if isinstance(cells, str):
            yield BadRow(place=place, problem=cells, input_bytes=input_bytes)
            continue
        try:
            fields, _ = event_fields(cells, id_field=id_field, text_field=text_field)
            yield document(place, fields, input_bytes=input_bytes)
        except Unfit as unfit:
            yield BadRow(place=place, problem=str(unfit), input_bytes=input_bytes)

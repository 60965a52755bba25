"""Reads a source's rows one at a time, so that memory does not grow with the file."""

import errno
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, cast

from docsluice.documents.encoding import encoding_of, in_utf_8
from docsluice.documents.entries import Entry, ReadOptions, Unreadable
from docsluice.documents.kinds import EXTRA, KINDS, Format, is_installed, reader_of
from docsluice.documents.reader_process import ReaderProcess
from docsluice.documents.recognition import START_BYTES, no_text
from docsluice.documents.rows import (
    BadRow,
    Document,
    Note,
    Place,
    Position,
    Row,
    Unfit,
    document,
    event_fields,
    json_name,
)
from docsluice.documents.sources import Source
from docsluice.documents.unpacking import DAMAGED, unpacked
from docsluice.messages import rfc3339

_STDIN_DESCRIPTOR = 0
_BUFFER_BYTES = 2 * START_BYTES
MOST_FILE_BYTES = 256 * 1024 * 1024
"""The most that is unpacked for a reader that needs a file of its own."""
_GUESSED = frozenset({Format.TEXT, Format.HTML, Format.CSV})
"""Kinds whose encoding may be guessed. JSON is UTF-8, or has a mark."""


def read(
    source: Source, options: ReadOptions, *, process: ReaderProcess | None = None, after: int = 0
) -> Iterator[Row]:
    """Yield the rows of a source behind position `after`, good and bad, in the file's order.

    A file that cannot be read, or holds no documents in that form, is one bad row. Foreign code runs in `process`,
    or in one of its own.
    """
    place = Place(source.name)
    if source.path is None and sys.stdin is None:  # another file may have its descriptor by now
        yield BadRow(place=place, problem="cannot be read: it is closed")
        return
    if not is_installed(source.format):
        yield BadRow(place=place, problem=f"needs a library: pip install '{EXTRA}'")
        return
    try:
        with ExitStack() as stack:
            yield from _rows(source, options, stack, process=process, after=after)
    except Unreadable as unreadable:
        yield BadRow(place=place, problem=str(unreadable))
    except DAMAGED as error:
        yield BadRow(place=place, problem=f"is packed, and damaged: {error}")
    except OSError as error:
        yield BadRow(place=place, problem=f"cannot be read: {error.strerror or error}")


def _rows(
    source: Source, options: ReadOptions, stack: ExitStack, *, process: ReaderProcess | None, after: int
) -> Iterator[Row]:
    kind = KINDS[source.format]
    if kind.is_whole and after:
        return
    file = stack.enter_context(_opened(source))
    facts = _facts(source, file)
    content, packed = unpacked(file)
    start = content.peek(START_BYTES)[:START_BYTES]
    if not start and source.path is not None:
        raise Unreadable("it is empty")
    encoding = None
    if kind.is_text:
        encoding, note = _encoding(source, options, start)
        if note:
            yield Note(place=Place(source.name), text=note)
    if kind.is_isolated:
        path = source.path if source.path and not packed else _unfolded(content, stack)
        process = process or stack.enter_context(ReaderProcess())
        entries = process.read(path, source.format, replace(options, encoding=encoding), after=after)
    else:
        text = content if encoding is None else in_utf_8(content, encoding)
        entries = reader_of(source.format)(text, options, after=after)
    to_rows = _whole if kind.is_whole else _each
    yield from _measured(to_rows(source, entries, options, facts), file if packed else None)


def _opened(source: Source) -> BufferedReader:
    # Standard input gets a reader of its own: the thread that reads it may still hold the lock of this reader when
    # the program ends, and Python aborts when that is the lock of `sys.stdin`.
    path, is_file = source.path or _STDIN_DESCRIPTOR, source.path is not None
    opener = _regular if source.in_folder else None
    return cast("BufferedReader", open(path, "rb", buffering=_BUFFER_BYTES, closefd=is_file, opener=opener))


def _regular(path: str, flags: int) -> int:
    """Open a regular file without waiting at anything else."""
    descriptor = os.open(path, flags | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "it is no regular file any more")


def _facts(source: Source, file: BufferedReader) -> dict[str, Any]:
    """The metadata of a file that is one document: where it is, and when it was changed."""
    if source.path is None:
        return {}
    changed = datetime.fromtimestamp(os.fstat(file.fileno()).st_mtime, UTC)
    return {"path": source.relative, "modified_at": rfc3339(changed)}


def _encoding(source: Source, options: ReadOptions, start: bytes) -> tuple[str | None, str]:
    """The encoding that the text has to be converted from, and a note about it. None if it is UTF-8.

    Raises:
        Unreadable: it is no text.
    """
    if options.encoding:
        return options.encoding, ""
    if problem := no_text(start):
        raise Unreadable(problem)
    found = encoding_of(start, guess=source.format in _GUESSED)
    if found.is_utf_8:
        return None, ""
    note = f"read as {found.name}, as far as can be told: --encoding NAME says another"
    return found.name, note if found.is_guessed else ""


def _unfolded(content: BufferedReader, stack: ExitStack) -> Path:
    """A file of its own for what is packed, or comes from standard input. It is deleted with the stack.

    Raises:
        Unreadable: it is too large.
    """
    copy = stack.enter_context(tempfile.NamedTemporaryFile(prefix="docsluice-"))  # noqa: SIM115 - the stack closes it
    left = MOST_FILE_BYTES
    while data := content.read1(_BUFFER_BYTES):
        left -= len(data)
        if left < 0:
            raise Unreadable(f"it unfolds to more than the {MOST_FILE_BYTES // 1024**2} MiB that are read")
        copy.write(data)
    copy.flush()
    return Path(copy.name)


def _whole(source: Source, entries: Iterator[Entry], options: ReadOptions, facts: Mapping[str, Any]) -> Iterator[Row]:
    """The document that a file is, with what is known of the file."""
    del options
    for entry in entries:
        if entry.fields is None:
            yield _bad(source, entry, entry.problem)
            continue
        title = str(entry.fields.get("title") or "").strip()
        metadata = {**facts, "title": title} if title else facts
        fields = {"document_id": source.document_id, "text": entry.fields["text"], "metadata": metadata}
        try:
            yield _document(source, entry, fields)
        except Unfit as unfit:
            yield _bad(source, entry, str(unfit))


def _each(source: Source, entries: Iterator[Entry], options: ReadOptions, facts: Mapping[str, Any]) -> Iterator[Row]:
    """The document in each row. A column that metadata cannot hold is noted once."""
    del facts
    noted: set[str] = set()
    for entry in entries:
        if entry.fields is None:
            yield _bad(source, entry, entry.problem)
            continue
        try:
            fields, left_out = event_fields(entry.fields, options)
            sendable = _document(source, entry, fields)
            if options.keeps_rows:
                sendable = replace(sendable, row=entry.fields)
        except Unfit as unfit:
            yield _bad(source, entry, str(unfit) if entry.line else f"document {entry.position}: {unfit}")
            continue
        for name in left_out:
            if name not in noted:
                noted.add(name)
                kind = json_name(entry.fields[name])
                told = f"{name!r} is {kind}, which metadata cannot hold: it is left out"
                yield Note(place=Place(source.name, entry.line), text=told)
        yield sendable


def _document(source: Source, entry: Entry, fields: Mapping[str, Any]) -> Document:
    return document(
        Place(source.name, entry.line),
        fields,
        input_bytes=entry.size_bytes,
        position=Position(source.number, entry.position),
    )


def _bad(source: Source, entry: Entry, problem: str) -> BadRow:
    return BadRow(place=Place(source.name, entry.line), problem=problem, input_bytes=entry.size_bytes)


def _measured(rows: Iterator[Row], packed: BufferedReader | None) -> Iterator[Row]:
    """The same rows. Those of a packed file are as large as what was read of it."""
    if packed is None or not packed.seekable():
        yield from rows
        return
    at = 0
    for row in rows:
        now = packed.tell()
        yield row if isinstance(row, Note) else replace(row, input_bytes=now - at)
        at = now

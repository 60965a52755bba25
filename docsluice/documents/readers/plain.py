"""Reads .txt and .md: the file is the document. The first heading of a Markdown text is its title. Pure."""

import re
from collections.abc import Iterator
from io import BufferedReader

from docsluice.documents.entries import Entry, ReadOptions
from docsluice.documents.lines import LINE_BYTES, TOO_LONG, not_utf8
from docsluice.validation.record_bytes import unmarked

_HEADING = re.compile(r"\s*# +(\S.*)")


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the file's text. One that is not UTF-8 says on which line."""
    del options, after
    data = file.read(LINE_BYTES + 1)
    if len(data) > LINE_BYTES:
        yield Entry(position=1, problem=TOO_LONG, size_bytes=len(data))
        return
    try:
        text = unmarked(data).decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        yield Entry(position=1, problem=not_utf8(error), line=line, size_bytes=len(data))
        return
    heading = _HEADING.match(text)
    yield Entry(
        position=1, fields={"text": text, "title": heading[1].strip() if heading else None}, size_bytes=len(data)
    )

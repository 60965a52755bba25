"""Reads JSON Lines: each line is a document. Pure."""

from collections.abc import Iterator
from io import BufferedReader

from docsluice.documents.entries import Entry, ReadOptions, Unreadable
from docsluice.documents.lines import LINE_BYTES, TOO_LONG, lines, not_utf8
from docsluice.documents.recognition import START_BYTES, no_documents, no_ends, no_lines
from docsluice.documents.rows import Unfit, parse_json
from docsluice.validation.record_bytes import unmarked


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the object of each line that is not blank. Lines up to `after` are passed over unread.

    Raises:
        Unreadable: the beginning is that of another kind of file.
    """
    del options
    start = file.peek(START_BYTES)[:START_BYTES]
    if problem := no_ends(start) or no_lines(start):
        raise Unreadable(problem)
    is_first = True
    for number, perhaps_marked in lines(file):
        line = unmarked(perhaps_marked)  # where files were joined
        if number <= after or not line.strip():
            continue
        try:
            fields = parse_json(_decoded(line))
        except UnicodeDecodeError as error:
            yield Entry(position=number, line=number, problem=not_utf8(error), size_bytes=len(line))
        except Unfit as unfit:
            yield Entry(position=number, line=number, problem=str(unfit), size_bytes=len(line))
        else:
            if is_first and (problem := no_documents(fields)):
                raise Unreadable(problem)
            is_first = False
            yield Entry(position=number, line=number, fields=fields, size_bytes=len(line))


def _decoded(line: bytes) -> str:
    if len(line) > LINE_BYTES:
        raise Unfit(TOO_LONG)
    return line.decode()

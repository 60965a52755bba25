"""Reads .docx: the paragraphs and the tables of the body, in order."""

from collections.abc import Iterator
from io import BufferedReader

import docx
from docx.table import Table

from docsluice.documents.entries import Entry, ReadOptions
from docsluice.documents.readers.office_files import check_archive, damage_told

_CALLED = "a Word document"


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the text and the title.

    Raises:
        Unreadable: it is no such file.
    """
    del options, after
    check_archive(file, part="word/document.xml", called=_CALLED)
    with damage_told(_CALLED):
        document = docx.Document(file)
        text = "\n".join(_lines(document.iter_inner_content()))
        title = document.core_properties.title
    yield Entry(position=1, fields={"text": text, "title": title}, size_bytes=file.tell())


def _lines(blocks: Iterator[object]) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Table):
            for row in block.rows:
                yield "\t".join(" ".join(_lines(cell.iter_inner_content())) for cell in row.cells)
        else:
            yield block.text  # type: ignore[attr-defined]  # a paragraph

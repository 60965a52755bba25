"""Reads .pptx: the texts, tables and notes of each slide."""

from collections.abc import Iterator
from io import BufferedReader
from typing import Any

import pptx
from pptx.enum.shapes import MSO_SHAPE_TYPE

from docsluice.documents.entries import Entry, ReadOptions
from docsluice.documents.readers.office_files import check_archive, damage_told

_CALLED = "a PowerPoint presentation"


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the text, with an empty line between slides, and the title.

    Raises:
        Unreadable: it is no such file.
    """
    del options, after
    check_archive(file, part="ppt/presentation.xml", called=_CALLED)
    with damage_told(_CALLED):
        slides = pptx.Presentation(file)
        text = "\n\n".join(filter(None, ("\n".join(_lines(slide)) for slide in slides.slides)))
        title = slides.core_properties.title
    yield Entry(position=1, fields={"text": text, "title": title}, size_bytes=file.tell())


def _lines(slide: Any) -> Iterator[str]:
    yield from _lines_of(slide.shapes)
    if slide.has_notes_slide and (notes := slide.notes_slide.notes_text_frame) is not None and notes.text.strip():
        yield notes.text


def _lines_of(shapes: Any) -> Iterator[str]:
    for shape in shapes:
        if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
            yield from _lines_of(shape.shapes)
        elif shape.has_text_frame and shape.text_frame.text.strip():
            yield shape.text_frame.text
        elif getattr(shape, "has_table", False):
            yield from ("\t".join(cell.text for cell in row.cells) for row in shape.table.rows)

"""Reads HTML: the text that a person sees, a line for each block."""

import re
from collections.abc import Iterator
from io import BufferedReader

from selectolax.lexbor import LexborHTMLParser

from docsluice.documents.entries import Entry, ReadOptions
from docsluice.documents.lines import LINE_BYTES, TOO_LONG
from docsluice.validation.record_bytes import unmarked

_UNSEEN = ["script", "style", "noscript", "template", "svg", "head"]
_BLOCKS = (
    "address,article,aside,blockquote,br,dd,div,dl,dt,figcaption,figure,footer,form,h1,h2,h3,h4,h5,h6,header,hr,li,"
    "main,nav,ol,option,p,section,table,ul"
)
_ROW, _BLOCK, _CELL = "\x1d", "\x1e", "\x1f"
"""What ends a row, a block and a cell, until the line breaks of the source are gone."""


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the page's text and its title."""
    del options, after
    data = file.read(LINE_BYTES + 1)
    if len(data) > LINE_BYTES:
        yield Entry(position=1, problem=TOO_LONG, size_bytes=len(data))
        return
    text, title = text_of_html(unmarked(data).decode(errors="replace"))
    yield Entry(position=1, fields={"text": text, "title": title}, size_bytes=len(data))


def text_of_html(source: str) -> tuple[str, str | None]:
    """A page's text, and its title if it has one."""
    page = LexborHTMLParser(source)
    title = page.css_first("title")
    name = " ".join(title.text().split()) if title is not None else ""
    page.strip_tags(_UNSEEN)
    body = page.body
    if body is None:
        return "", name or None
    for node in body.css("pre"):
        node.replace_with(_BLOCK.join(["", *node.text().split("\n"), ""]))
    for selector, mark in ((_BLOCKS, _BLOCK), ("tr", _ROW)):
        for node in body.css(selector):
            node.insert_before(mark)
            node.insert_after(mark)
    for node in body.css("td,th"):
        node.insert_after(_CELL)
    return _tidy(body.text()), name or None


def _tidy(text: str) -> str:
    """The text in lines, with at most one empty line in a row. Blocks in a cell share its line."""
    text = re.sub(r"[ \t\r\n\f\xa0]+", " ", text)
    text = re.sub(f"[{_BLOCK} ]*{_CELL}[{_BLOCK} ]*", "\t", text)
    lines = [line.strip(" ").rstrip("\t") for line in re.split(f"[{_BLOCK}{_ROW}]", text)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()

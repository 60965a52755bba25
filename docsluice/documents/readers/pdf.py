"""Reads PDF: the text of all pages, with an empty line between them."""

from collections.abc import Iterator
from io import BufferedReader

import pypdfium2

from docsluice.documents.entries import Entry, ReadOptions, Unreadable

_SIGNATURE_WITHIN_BYTES = 1024
_ENCRYPTED = "it is encrypted: qpdf --decrypt --password=… IN OUT takes the password off"


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the text and the title.

    Raises:
        Unreadable: it is no PDF, is encrypted or damaged, or holds pictures of text only.
    """
    del options, after
    data = file.read()
    if b"%PDF-" not in data[:_SIGNATURE_WITHIN_BYTES]:
        raise Unreadable("it is no PDF")
    try:
        with pypdfium2.PdfDocument(data) as document:
            pages = [_text_of(document, number) for number in range(len(document))]
            title = document.get_metadata_dict().get("Title")
    except pypdfium2.PdfiumError as error:
        raise Unreadable(_ENCRYPTED if "password" in str(error).lower() else "it is damaged, or no PDF") from error
    text = "\n\n".join(filter(None, pages))
    if not text:
        raise Unreadable(_without_text(len(pages)))
    yield Entry(position=1, fields={"text": text, "title": title}, size_bytes=len(data))


def _text_of(document: pypdfium2.PdfDocument, number: int) -> str:
    page = document[number]
    try:
        text = str(page.get_textpage().get_text_bounded())
    finally:
        page.close()
    # PDFium marks a hyphen at a line's end with U+FFFE, or with the control character 2.
    return text.replace("\r\n", "\n").replace("\ufffe", "-").replace("\x02", "-").strip()


def _without_text(pages: int) -> str:
    whose = "its page holds" if pages == 1 else f"its {pages:,} pages hold"
    return f"{whose} no text, only pictures perhaps, as scans do: ocrmypdf IN OUT adds the text"

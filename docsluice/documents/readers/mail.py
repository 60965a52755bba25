"""Reads .eml: who wrote to whom, when and about what, and the message. Attachments are left out."""

import email
import email.policy
from collections.abc import Iterator
from email.message import EmailMessage
from io import BufferedReader

from docsluice.documents.entries import Entry, ReadOptions, Unreadable
from docsluice.documents.readers.html import text_of_html

_HEADERS = ("From", "To", "Cc", "Date", "Subject")
_EMPTY = "it holds no message: no text and no HTML"


def read(file: BufferedReader, options: ReadOptions, *, after: int) -> Iterator[Entry]:
    """Yield the headers that a reader sees, the message, and the subject as title.

    Raises:
        Unreadable: it is no e-mail, or holds no message.
    """
    del options, after
    message = email.message_from_binary_file(file, policy=email.policy.default)
    if not isinstance(message, EmailMessage) or not any(name in message for name in _HEADERS):
        raise Unreadable("it is no e-mail: it has none of the headers From, To, Date and Subject")
    body = message.get_body(("plain", "html"))
    if not isinstance(body, EmailMessage):
        raise Unreadable(_EMPTY)
    text = _text_of(body)
    if not text.strip():
        raise Unreadable(_EMPTY)
    headers = "\n".join(f"{name}: {_header(message, name)}" for name in _HEADERS if name in message)
    fields = {"text": f"{headers}\n\n{text.strip()}", "title": _header(message, "Subject")}
    yield Entry(position=1, fields=fields, size_bytes=file.tell())


def _header(message: EmailMessage, name: str) -> str:
    return " ".join(str(message.get(name, "")).split())


def _text_of(body: EmailMessage) -> str:
    try:
        content = str(body.get_content(errors="replace"))
    except LookupError:  # a charset that nobody knows
        payload = body.get_payload(decode=True)
        content = payload.decode(errors="replace") if isinstance(payload, bytes) else ""
    if body.get_content_subtype() == "html":
        return text_of_html(content)[0]
    return content.replace("\r\n", "\n")

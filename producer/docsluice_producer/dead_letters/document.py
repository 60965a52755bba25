"""The document in a dead letter, as far as there is one: what a person reads, corrects and sends again. Pure."""

import base64
from collections.abc import Mapping
from typing import Any

from docsluice.messages import ERROR_HEADER_PREFIX, DocumentEvent, Headers, stub_parts
from docsluice.outcomes.originals import document_id_of, event_in
from docsluice.validation.event_problems import NoEvent, NotUnicode, valid_event, written
from docsluice_producer.dead_letters.letter import Letter

TRACE = "exception.stacktrace"
ANSWER = "answer"


def exported(letter: Letter) -> dict[str, Any]:
    """What `export` writes of a dead letter: its document, its fields, its headers without the trace, or its value.

    A document is at the top level and comes first (`document_id`, `text`, `metadata`), so that it can be corrected and
    sent. A record that is no document has its `value` instead, or `value_base64` if that is no text. One that is nearly
    a document has both. A stub without its value has neither.
    """
    record, event = letter.record, event_of(letter)
    document = {name: letter.fields[name] for name in ("document_id", "metadata")}
    if isinstance(event.get("text"), str):
        document_id = document_id_of(event) or letter.outcome.document_id
        document = {"document_id": document_id, "text": event["text"], "metadata": letter.fields["metadata"]}
    fields = {**document, **letter.fields, **document, "headers": texts_without_trace(record.headers)}
    if record.value is not None and "value" not in stub_parts(record.headers) and not _is_valid(event):
        fields |= _value(record.value)
    return fields


def event_of(letter: Letter) -> Mapping[str, Any]:
    """The event that the record holds. Empty if it holds none."""
    return event_in(letter.record.key, letter.record.value, letter.record.headers)


def text_of(value: bytes | None) -> str | None:
    """The value as text. None if it is null, or no UTF-8."""
    try:
        return value.decode() if value is not None else None
    except UnicodeDecodeError:
        return None


def header_texts(headers: Headers) -> dict[str, str]:
    """Each header's last value as text."""
    return {name: (value or b"").decode("utf-8", errors="replace") for name, value in headers}


def texts_without_trace(headers: Headers) -> dict[str, str]:
    """Each header's last value as text, without the service's stack trace."""
    return {name: text for name, text in header_texts(headers).items() if name != ERROR_HEADER_PREFIX + TRACE}


def _value(value: bytes) -> dict[str, str]:
    text = text_of(value)
    return {"value_base64": base64.b64encode(value).decode()} if text is None else {"value": text}


def _is_valid(event: Mapping[str, Any]) -> bool:
    """Whether an event has known fields only. Any other field would be lost."""
    if not event.keys() <= DocumentEvent.model_fields.keys():
        return False
    try:
        written(valid_event(dict(event)))
    except (NoEvent, NotUnicode):
        return False
    return True

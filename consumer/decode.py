"""Bytes to `DocumentEvent`: plain JSON, text/plain, and CloudEvents 1.0 in both modes of the Kafka binding."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from pydantic import ValidationError

from consumer.contracts import DeadLetterReason, DocumentEvent, Headers, Stage
from consumer.errors import RecordRejected
from consumer.misfits import Misfit, misfits

_STRUCTURED = "application/cloudevents"
_TEXT = "text/plain"
_PROBLEMS_SHOWN = 5
_NAME_CHARACTERS = 64
"""A record may hold thousands of misspelt fields, each as long as it likes; the message must stay fit for a header."""


def decode(*, key: bytes | None, value: bytes, headers: Headers) -> DocumentEvent:
    """Read one record.

    Raises:
        RecordRejected: `undecodable` when the bytes cannot be read at all, `invalid_event` when they can but are no
            document event.
    """
    content_type = _header(headers, "content-type").lower()
    if content_type.startswith(_STRUCTURED):
        return _structured(value)
    if content_type.startswith(_TEXT):
        return _event({"document_id": _text_id(key, headers), "text": _utf8(value, "the value")})
    return _event(_json(value))


def _structured(value: bytes) -> DocumentEvent:
    """A CloudEvents envelope: the event is its `data`; `subject`, where given, names the document."""
    envelope = _json(value)
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        raise _invalid("a structured CloudEvent must be a JSON object with specversion 1.0")
    if "data_base64" in envelope:
        try:
            data = base64.b64decode(envelope["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise _undecodable(f"data_base64 is not base64: {error}") from error
    elif "data" not in envelope:
        raise _invalid("the CloudEvent has no data")
    else:
        data = envelope["data"]
    data_type = str(envelope.get("datacontenttype", "application/json")).lower()
    if data_type.startswith(_TEXT):
        text = _utf8(data, "data_base64") if isinstance(data, bytes) else data
        return _event({"document_id": envelope.get("subject") or envelope.get("id"), "text": text})
    return _event(_json(data) if isinstance(data, bytes) else data)


def _text_id(key: bytes | None, headers: Headers) -> str:
    if key:
        return _utf8(key, "the key")
    named = _header(headers, "ce_subject") or _header(headers, "ce_id")
    if not named:
        raise _invalid("a text/plain record needs a key, which becomes its document_id")
    return named


def _header(headers: Headers, name: str) -> str:
    """The last header of that name, without regard to case; empty when absent."""
    found = ""
    for candidate, value in headers:
        if candidate.lower() == name and value is not None:
            found = value.decode("utf-8", errors="replace")
    return found.strip()


def _utf8(data: bytes, what: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _undecodable(f"{what} is not valid UTF-8 at byte {error.start}") from error


def _json(data: bytes) -> Any:
    text = _utf8(data, "the value")
    try:
        return json.loads(text)
    except ValueError as error:
        # The decoder's message holds a position and never the text itself.
        raise _undecodable(f"the value is not JSON: {error}") from error
    except RecursionError as error:
        raise _undecodable("the value is JSON nested too deeply to read") from error


def _event(fields: Any) -> DocumentEvent:
    try:
        event = DocumentEvent.model_validate(fields)
        event.model_dump_json()  # a lone surrogate passes as str and could never be sent anywhere
        "".join(event.metadata).encode()  # pydantic writes another name where it meets one in a name
    except ValidationError as error:
        # Without its cause, whose message quotes the document.
        raise _invalid(_problems(error)) from None
    except ValueError as error:
        raise _undecodable("the event holds text that is not valid Unicode") from error
    return event


def _problems(error: ValidationError) -> str:
    sentences = list(dict.fromkeys(_problem(misfit) for misfit in misfits(error, expected=DocumentEvent)))
    more = len(sentences) - _PROBLEMS_SHOWN
    return "; ".join(sentences[:_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _problem(misfit: Misfit) -> str:
    """One sentence on one field; never its value, which may be the document."""
    where = [part[:_NAME_CHARACTERS] for part in misfit.place]
    if where[:1] == ["metadata"] and len(where) > 1:
        return f"metadata.{where[1]}: must be a string, a finite number or a boolean"
    return f"{'.'.join(where) or 'the event'}: {misfit.sentence}"


def _undecodable(message: str) -> RecordRejected:
    return RecordRejected(DeadLetterReason.UNDECODABLE, message, stage=Stage.DECODE)


def _invalid(message: str) -> RecordRejected:
    return RecordRejected(DeadLetterReason.INVALID_EVENT, message, stage=Stage.DECODE)

"""Bytes to `DocumentEvent`: plain JSON, text/plain, and CloudEvents 1.0 in both modes of the Kafka binding.

Other bytes are named for what they are: another charset, a compressed value, a registry's frame.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NamedTuple

from docsluice.kafka.flaw import Flaw
from docsluice.messages import DeadLetterReason, DocumentEvent, Headers, Stage
from docsluice.validation.event_problems import NAMED_TWICE, NoEvent, NotUnicode, readable_event
from docsluice.validation.record_bytes import Unreadable, json_of, text_of, twice_in, without_mark
from docsluice_consumer.errors import RecordRejected

_STRUCTURED = "application/cloudevents"
_TEXT = "text/plain"
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^;"'\s]{1,40})""")
_BASE64 = "data_base64"
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""The default: about what a context of two million tokens holds, at four bytes a token."""
_ENVELOPE = frozenset({"specversion", "data", _BASE64, "datacontenttype", "subject", "id"})


class ReadEvent(NamedTuple):
    """An event, and the names of its fields that this release does not know."""

    event: DocumentEvent
    unknown_fields: tuple[str, ...] = ()


def decode(*, key: bytes | None, value: bytes, headers: Headers) -> DocumentEvent:
    """See `read_record`. The event alone."""
    return read_record(key=key, value=value, headers=headers).event


def read_record(
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Headers,
    flaw: Flaw | None = None,
    most_bytes: int = MAX_DOCUMENT_BYTES,
) -> ReadEvent:
    """Read one record.

    Raises:
        RecordRejected: `too_large` with more than `most_bytes`, `undecodable` when the bytes cannot be read at all,
            `invalid_event` when they can but are no document event.
    """
    if (problem := _too_large(value, flaw, most_bytes=most_bytes)) is not None:
        raise RecordRejected(DeadLetterReason.TOO_LARGE, problem, stage=Stage.DECODE)
    if flaw is not None:
        raise RecordRejected(DeadLetterReason.UNDECODABLE, flaw.problem, stage=Stage.DECODE)
    try:
        fields = _fields(key, value or b"", headers)
        event = readable_event(fields)
    except NoEvent as problem:
        raise RecordRejected(DeadLetterReason.INVALID_EVENT, str(problem), stage=Stage.DECODE) from None
    except (Unreadable, NotUnicode) as problem:
        raise RecordRejected(DeadLetterReason.UNDECODABLE, str(problem), stage=Stage.DECODE) from problem
    return ReadEvent(event, tuple(name for name in fields if name not in DocumentEvent.model_fields))


def _too_large(value: bytes | None, flaw: Flaw | None, *, most_bytes: int) -> str | None:
    """Why the value is too large, as a sentence. None if it is not."""
    if flaw is not None and not flaw.is_too_large:
        return None
    size = flaw.value_bytes if flaw is not None else len(value or b"")
    if flaw is None and size is not None and size <= most_bytes:
        return None
    said = f"the value has {size or 0:,} bytes" if flaw is None else flaw.problem
    return f"{said}; DOCSLUICE_MAX_DOCUMENT_BYTES allows {most_bytes:,}"


def _fields(key: bytes | None, value: bytes, headers: Headers) -> Any:
    """The fields of the event.

    Raises:
        NoEvent: there are none.
        Unreadable: the bytes are neither text nor JSON.
    """
    content_type = _header(headers, "content-type").lower()
    named = _header(headers, "ce_subject") or _header(headers, "ce_id")
    found = _CHARSET.search(content_type)
    charset = found[1] if found else ""
    if content_type.startswith(_TEXT):
        return {"document_id": _text_id(key, named), "text": text_of(value, charset=charset)}
    fields = json_of(value, charset=charset)
    return _data_in(fields) if content_type.startswith(_STRUCTURED) else fields


def _data_in(envelope: Any) -> Any:
    """The event in a CloudEvents envelope: its `data`. `subject`, if given, names the document."""
    if (name := twice_in(envelope, _ENVELOPE)) is not None:
        raise NoEvent(f"{name}: {NAMED_TWICE}")
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        raise NoEvent("a structured CloudEvent must be a JSON object with specversion 1.0")
    if _BASE64 in envelope:
        try:
            data = base64.b64decode(envelope[_BASE64], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise Unreadable(f"{_BASE64} is not base64: {error}") from error
    elif "data" not in envelope:
        raise NoEvent("the CloudEvent has no data")
    else:
        data = envelope["data"]
    data_type = str(envelope.get("datacontenttype", "application/json")).lower()
    if data_type.startswith(_TEXT):
        text = text_of(data, what=_BASE64) if isinstance(data, bytes) else without_mark(data)
        return {"document_id": envelope.get("subject") or envelope.get("id"), "text": text}
    return json_of(data, what=_BASE64) if isinstance(data, bytes) else data


def _text_id(key: bytes | None, named: str) -> str:
    if not key and not named:
        raise NoEvent("a text/plain record needs a key, which becomes its document_id")
    return text_of(key, what="the key") if key else named


def _header(headers: Headers, name: str) -> str:
    """The last header of a name, ignoring case. Empty if absent."""
    found = ""
    for candidate, value in headers:
        if candidate.lower() == name and value is not None:
            found = value.decode("utf-8", errors="replace")
    return found.strip()

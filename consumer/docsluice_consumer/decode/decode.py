"""A record as a `DocumentEvent`, or why it is none."""

from __future__ import annotations

from typing import NamedTuple

from docsluice.kafka.flaw import Flaw
from docsluice.messages import DeadLetterReason, DocumentEvent, Headers, Stage
from docsluice.validation.event_fields import fields_of
from docsluice.validation.event_problems import NoEvent, NotUnicode, readable_event
from docsluice.validation.record_bytes import Unreadable
from docsluice_consumer.errors import RecordRejected

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""The default: about what a context of two million tokens holds, at four bytes a token."""


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
        fields = fields_of(key, value or b"", headers)
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

"""A record as a `DocumentEvent`, or why it is none."""

from __future__ import annotations

from typing import Any, NamedTuple

from docsluice.kafka.flaw import Flaw
from docsluice.messages import DeadLetterReason, DocumentEvent, Stage
from docsluice.validation.event_fields import Content, content_of, event_fields
from docsluice.validation.event_problems import NoEvent, NotUnicode, names_shown, readable_event
from docsluice.validation.record_bytes import Unreadable
from docsluice_consumer.decode.input_rules import AS_EVENTS, InputRules
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import Record

MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""The default: about what a context of two million tokens holds, at four bytes a token."""


class ReadEvent(NamedTuple):
    """An event, the names of its fields that this release does not know, and what it was read of."""

    event: DocumentEvent
    unknown_fields: tuple[str, ...] = ()
    document: Any = None
    """The JSON that it came in, or its text."""


class RecordReader:
    """Reads records by the rules of the pipeline file."""

    def __init__(self, *, rules: InputRules = AS_EVENTS, most_bytes: int = MAX_DOCUMENT_BYTES) -> None:
        self._rules = rules
        self._most_bytes = most_bytes

    def read(self, record: Record) -> ReadEvent | None:
        """The event in a record. None if the rules pass it over.

        Raises:
            RecordRejected: `too_large` with more than `most_bytes`, `undecodable` when the bytes cannot be read at all,
                `invalid_event` when they can but are no document event.
        """
        if (problem := self._too_large(record.value, record.flaw)) is not None:
            raise RecordRejected(DeadLetterReason.TOO_LARGE, problem, stage=Stage.DECODE)
        if record.flaw is not None:
            raise RecordRejected(DeadLetterReason.UNDECODABLE, record.flaw.problem, stage=Stage.DECODE)
        try:
            return self._read(record)
        except NoEvent as error:
            reason = DeadLetterReason.INVALID_EVENT
            raise RecordRejected(reason, str(error), stage=Stage.DECODE, cause=error.cause) from None
        except (Unreadable, NotUnicode) as error:
            raise RecordRejected(DeadLetterReason.UNDECODABLE, str(error), stage=Stage.DECODE) from error

    def _read(self, record: Record) -> ReadEvent | None:
        rules = self._rules
        content = content_of(record.key, record.value or b"", record.headers, form=rules.form, charset=rules.charset)
        scope = rules.scope(content, record)
        if not rules.takes(scope):
            return None
        if rules.mapping is not None:
            return ReadEvent(readable_event(rules.mapping.fields(scope)), document=_document(content))
        return self._as_it_is(content)

    def _as_it_is(self, content: Content) -> ReadEvent:
        fields: Any = event_fields(content)
        event = readable_event(fields)
        unknown = tuple(name for name in fields if name not in DocumentEvent.model_fields)
        if unknown and self._rules.is_strict:
            raise NoEvent(f"has unknown fields, and input.strict allows none: {names_shown(unknown)}")
        return ReadEvent(event, unknown, _document(content))

    def _too_large(self, value: bytes | None, flaw: Flaw | None) -> str | None:
        """Why the value is too large, as a sentence. None if it is not."""
        if flaw is not None and not flaw.is_too_large:
            return None
        size = flaw.value_bytes if flaw is not None else len(value or b"")
        if flaw is None and size is not None and size <= self._most_bytes:
            return None
        said = f"the value has {size or 0:,} bytes" if flaw is None else flaw.problem
        return f"{said}; DOCSLUICE_MAX_DOCUMENT_BYTES allows {self._most_bytes:,}"


def _document(content: Content) -> Any:
    return content.fields if content.text is None else content.text

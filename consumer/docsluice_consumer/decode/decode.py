"""A record as a `DocumentEvent`, or why it is none."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

from docsluice.kafka.flaw import Flaw
from docsluice.messages import DeadLetterReason, DocumentEvent, Stage
from docsluice.registry.avro import Unfit
from docsluice.registry.schema import ValueReader
from docsluice.registry.wire_format import Framed, SchemaName, framed
from docsluice.validation.event_fields import Content, content_in, content_of, event_fields
from docsluice.validation.event_problems import NAMED_TWICE, NoEvent, NotUnicode, names_shown, readable_event
from docsluice.validation.record_bytes import Unreadable, twice_in
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
    is_reference: bool = False
    """Whether the event's text is the place where the text is, still to be read."""


class Schemas(Protocol):
    """The schemas of a registry."""

    async def reader(self, name: SchemaName) -> ValueReader:
        """What reads the values of a schema. While the registry is away, wait.

        Raises:
            Unreadable: there is no such schema, or its values cannot be read.
        """


class RecordReader:
    """Reads records by the rules of the pipeline file. With `schemas`, also those that name one."""

    def __init__(
        self,
        *,
        rules: InputRules = AS_EVENTS,
        most_bytes: int = MAX_DOCUMENT_BYTES,
        schemas: Schemas | None = None,
    ) -> None:
        self._rules = rules
        self._most_bytes = most_bytes
        self._schemas = schemas

    async def read_by_schema(self, record: Record) -> ReadEvent | None:
        """As `read`. The values of a record that names a schema of the registry are read by it."""
        if self._schemas is None or (found := self._framed(record)) is None:
            return self.read(record)
        self._check(record)
        with _rejecting():
            value_of = await self._schemas.reader(found.schema)
            try:
                fields = value_of(found.data)
            except Unfit as problem:
                what = f"schema {'id' if isinstance(found.schema, int) else 'GUID'} {found.schema}"
                raise Unreadable(f"the value does not fit {what} of the registry: {problem}") from None
            return self._event(record, content_in(fields))

    def read(self, record: Record) -> ReadEvent | None:
        """The event in a record. None if the rules pass it over.

        Raises:
            RecordRejected: `too_large` with more than `most_bytes`, `undecodable` when the bytes cannot be read at all,
                `invalid_event` when they can but are no document event.
        """
        self._check(record)
        rules = self._rules
        with _rejecting():
            content = content_of(
                record.key, record.value or b"", record.headers, form=rules.form, charset=rules.charset
            )
            return self._event(record, content)

    def name_in(self, record: Record) -> str:
        """The name that the mapping finds in a record that failed. Empty without a mapping, or where it finds none."""
        rules = self._rules
        if rules.mapping is None or record.value is None:
            return ""
        with contextlib.suppress(RecordRejected):
            self._check(record)
            with _rejecting():
                content = content_of(record.key, record.value, record.headers, form=rules.form, charset=rules.charset)
                return rules.mapping.name(rules.scope(content, record))
        return ""

    def _framed(self, record: Record) -> Framed | None:
        """The schema that a record names. A text, and a value of a charset that was told, names none."""
        if record.value is None or self._rules.form == "text" or self._rules.charset is not None:
            return None
        return framed(record.value, record.headers)

    def _check(self, record: Record) -> None:
        if (problem := self._too_large(record.value, record.flaw)) is not None:
            raise RecordRejected(DeadLetterReason.TOO_LARGE, problem, stage=Stage.DECODE)
        if record.flaw is not None:
            raise RecordRejected(DeadLetterReason.UNDECODABLE, record.flaw.problem, stage=Stage.DECODE)

    def _event(self, record: Record, content: Content) -> ReadEvent | None:
        rules = self._rules
        scope = rules.scope(content, record)
        if not rules.takes(scope):
            return None
        if rules.mapping is not None:
            return ReadEvent(
                readable_event(rules.mapping.fields(scope)),
                document=_document(content),
                is_reference=rules.mapping.is_reference,
            )
        return self._as_it_is(content)

    def _as_it_is(self, content: Content) -> ReadEvent:
        fields: Any = event_fields(content)
        is_reference = isinstance(fields, dict) and "uri" in fields and "text" not in fields
        event = readable_event(_with_place(fields) if is_reference else fields)
        known = {*DocumentEvent.model_fields, *(("uri",) if is_reference else ())}
        unknown = tuple(name for name in fields if name not in known)
        if unknown and self._rules.is_strict:
            raise NoEvent(f"has unknown fields, and input.strict allows none: {names_shown(unknown)}")
        return ReadEvent(event, unknown, _document(content), is_reference)

    def _too_large(self, value: bytes | None, flaw: Flaw | None) -> str | None:
        """Why the value is too large, as a sentence. None if it is not."""
        if flaw is not None and not flaw.is_too_large:
            return None
        size = flaw.value_bytes if flaw is not None else len(value or b"")
        if flaw is None and size is not None and size <= self._most_bytes:
            return None
        said = f"the value has {size or 0:,} bytes" if flaw is None else flaw.problem
        return f"{said}; DOCSLUICE_MAX_DOCUMENT_BYTES allows {self._most_bytes:,}"


@contextlib.contextmanager
def _rejecting() -> Iterator[None]:
    """What a record is not becomes its dead letter."""
    try:
        yield
    except NoEvent as error:
        reason = DeadLetterReason.INVALID_EVENT
        raise RecordRejected(reason, str(error), stage=Stage.DECODE, cause=error.cause) from None
    except (Unreadable, NotUnicode) as problem:
        raise RecordRejected(DeadLetterReason.UNDECODABLE, str(problem), stage=Stage.DECODE) from problem


def _with_place(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of an event that refers to its text, with the place in the place of the text.

    Raises:
        NoEvent: there is no one place.
    """
    uri = fields["uri"]
    if not isinstance(uri, str) or not uri.strip():
        raise NoEvent("uri: must be a text that is not blank")
    if twice := twice_in(fields, {*DocumentEvent.model_fields, "uri"}):
        raise NoEvent(f"{twice}: {NAMED_TWICE}")
    return {**{name: value for name, value in fields.items() if name != "uri"}, "text": uri}


def _document(content: Content) -> Any:
    return content.fields if content.text is None else content.text

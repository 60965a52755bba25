"""How the records of a topic become events: `input:` of the pipeline file, read once. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from docsluice.expressions.expression import Scope, as_text, kind_of
from docsluice.expressions.interpreter import NoValue, is_true
from docsluice.expressions.template import Readable
from docsluice.validation.event_fields import Content, Format
from docsluice.validation.event_problems import NoEvent, names_shown, shown_name
from docsluice.validation.record_bytes import text_of
from docsluice_consumer.kafka.records import Record

_SHOWN_CHARACTERS = 100
_NAMES_SHOWN = 10
_EXACT_FLOAT = 2.0**53
"""Above it, neighbouring whole numbers are the same float."""


def _headers(record: Record) -> dict[str, str | None]:
    return {name: None if value is None else value.decode("utf-8", errors="replace") for name, value in record.headers}


_NAMES: Mapping[str, Callable[[Content, Record], Any]] = {
    "value": lambda content, _: content.text,
    "key": lambda _, record: None if record.key is None else text_of(record.key, what="the key"),
    "headers": lambda _, record: _headers(record),
    "topic": lambda _, record: record.topic,
    "partition": lambda _, record: record.partition,
    "offset": lambda _, record: record.offset,
    "timestamp": lambda _, record: record.timestamp_ms if record.timestamp_ms >= 0 else None,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class InputMapping:
    """Where in a value the fields of its event are."""

    document_id: Readable
    text: Readable
    """Its text, or where that is."""
    is_reference: bool = False
    """Whether `text` is where the text is."""
    metadata: Mapping[str, Readable] = field(default_factory=dict)

    def fields(self, scope: Scope) -> dict[str, Any]:
        """The fields of the event in a value. Metadata that are not there are left out.

        Raises:
            NoEvent: the value has no document_id or no text, or an expression does not fit it.
        """
        metadata = {name: _plain(_given(f"metadata.{name}", one, scope)) for name, one in self.metadata.items()}
        return {
            "document_id": self.name(scope),
            "text": self._text(scope),
            "metadata": {name: value for name, value in metadata.items() if value is not None},
        }

    def name(self, scope: Scope) -> str:
        """The document's name. A whole number becomes its digits. A fraction may be rounded, so it is no name.

        Raises:
            NoEvent: the value has none.
        """
        name = _given("document_id", self.document_id, scope)
        if isinstance(name, float) and name.is_integer() and abs(name) <= _EXACT_FLOAT:
            name = int(name)
        if isinstance(name, int) and not isinstance(name, bool):
            return str(name)
        if not isinstance(name, str):
            gives = "a fraction" if isinstance(name, float) else kind_of(name)
            raise _missing("document_id", self.document_id, f"gives {gives}", scope)
        if not name.strip():
            raise _missing("document_id", self.document_id, "gives a blank text", scope)
        return name

    def _text(self, scope: Scope) -> str:
        try:
            given = _given("text", self.text, scope)
            text = as_text(given)
        except NoValue as problem:
            raise _missing("text", self.text, str(problem), scope) from None
        if not text.strip():
            raise _missing("text", self.text, f"gives {'nothing' if given is None else 'a blank text'}", scope)
        return text


@dataclass(frozen=True, kw_only=True)
class InputRules:
    """All of `input:`."""

    form: Format | None = None
    """What values are, whatever their content type says."""
    charset: str | None = None
    mapping: InputMapping | None = None
    """None where the value is the event."""
    when: Readable | None = None
    """Records for which it is not true are passed over."""
    is_strict: bool = False
    """Whether fields that nobody knows make a dead letter."""

    @cached_property
    def _names(self) -> frozenset[str]:
        """The names behind a dollar sign that are used. No others are worked out."""
        used = [self.when] if self.when else []
        if self.mapping is not None:
            used += [self.mapping.document_id, self.mapping.text, *self.mapping.metadata.values()]
        return frozenset[str]().union(*(one.names for one in used))

    def scope(self, content: Content, record: Record) -> Scope:
        """What the expressions are evaluated on.

        Raises:
            Unreadable: the key is used, and no text.
        """
        return Scope(content.fields, {name: _NAMES[name](content, record) for name in self._names})

    def takes(self, scope: Scope) -> bool:
        """Whether a record is taken, and not passed over.

        Raises:
            NoEvent: the condition does not fit its value.
        """
        return self.when is None or is_true(_given("when", self.when, scope))


AS_EVENTS = InputRules()
"""The value is the event, and its content type tells how it is written."""


def _given(field_name: str, one: Readable, scope: Scope) -> Any:
    try:
        return one.of(scope)
    except NoValue as problem:
        raise _missing(field_name, one, str(problem), scope) from None


def _plain(value: Any) -> Any:
    """A value as metadata may hold it."""
    return as_text(value) if isinstance(value, list | dict) else value


def _missing(field_name: str, one: Readable, problem: str, scope: Scope) -> NoEvent:
    source = shown_name(" ".join(one.source.split()), most=_SHOWN_CHARACTERS)
    cause = f"{shown_name(field_name)}: {source}: {problem}"
    return NoEvent(f"{cause}; {_there(scope.value)}", cause=cause)


def _there(value: Any) -> str:
    """What a value has, by name."""
    if not isinstance(value, dict):
        return f"the record's value is {kind_of(value).replace('nothing', 'null')}"
    return f"the record has {names_shown(value, most=_NAMES_SHOWN)}" if value else "the record has no fields"

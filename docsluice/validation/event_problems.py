"""Checks whether JSON is a document event. Its messages never quote a value. Pure."""

from __future__ import annotations

import difflib
import itertools
import math
import re
from collections.abc import Collection
from typing import Any

from pydantic import ValidationError

from docsluice.messages import DocumentEvent
from docsluice.validation.record_bytes import twice_in
from docsluice.validation.signatures import base64_of
from docsluice.validation.validation_problems import ValidationProblem, validation_problems

_PROBLEMS_SHOWN = 5
_MOST_VALIDATED = 20
_NAMES_SHOWN = 5
_NAMES_COMPARED = 100
_NAME_CHARACTERS = 64
"""A record may hold thousands of misspelt fields, each as long as it likes. The message must stay fit for a header."""
_SCHEMA_VERSION = 1
_LIKENESS = 0.75
_ENVELOPES: dict[frozenset[str], str] = {
    frozenset({"schema", "payload"}): "it is an envelope of Kafka Connect: set value.converter.schemas.enable=false",
    frozenset({"before", "after"}): "it is a change event of Debezium: unwrap it with ExtractNewRecordState",
    frozenset({"after", "source", "op"}): "it is a change event of Debezium: unwrap it with ExtractNewRecordState",
}
"""Well-known objects around a document, by fields that they have, and what to change."""
NAMED_TWICE = "is there more than once, and only one can be meant"


class NoEvent(ValueError):
    """Fields that are no document event. The message says why.

    `cause` is what of it is fit for the log: nothing of it is the record's. None where all of it may be.
    """

    def __init__(self, message: str, *, cause: str | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class NotUnicode(ValueError):
    """An event with half of a surrogate pair in it, which no UTF-8 can hold."""


def readable_event(fields: Any) -> DocumentEvent:
    """The event that some fields are, if each has one value and all of it can be sent on.

    Raises:
        NoEvent: they are none.
        NotUnicode: the event cannot be written. Half a surrogate pair passes as text.
    """
    event = valid_event(fields)
    written(event)
    names = (("", twice_in(fields, DocumentEvent.model_fields)), ("metadata.", twice_in(fields.get("metadata"))))
    if twice := [f"{where}{shown_name(name)}: {NAMED_TWICE}" for where, name in names if name is not None]:
        raise NoEvent(twice[0])
    return event


def valid_event(fields: Any) -> DocumentEvent:
    """The event in these fields.

    Raises:
        NoEvent: they are no event. The message names the first problems, and what the fields may be instead.
    """
    hidden = 0
    if isinstance(fields, dict) and isinstance(fields.get("metadata"), dict):
        fields, hidden = _with_few_problems(fields)
    try:
        return DocumentEvent.model_validate(fields)
    except ValidationError as error:
        # Without its cause, whose message quotes the document.
        raise NoEvent(_problems_of(fields, error, hidden=hidden)) from None


def written(event: DocumentEvent) -> bytes:
    """The event as JSON.

    Raises:
        NotUnicode: it cannot be written.
    """
    try:
        "".join(event.metadata).encode()  # pydantic writes another name where it meets a lone surrogate in one
        return event.model_dump_json().encode()
    except ValueError as error:
        raise NotUnicode("the event holds text that is not valid Unicode") from error


def is_scalar(value: Any) -> bool:
    """Whether metadata may hold a value."""
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _with_few_problems(fields: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The same fields with only as much wrong metadata as messages show, and how much was left out.

    Each wrong value costs the validator four errors. Three hundred thousand of them took more than a minute, in which
    nothing else happened.
    """
    wrong = [name for name, value in fields["metadata"].items() if not is_scalar(value)]
    if len(wrong) <= _MOST_VALIDATED:
        return fields, 0
    few = {name: fields["metadata"][name] for name in wrong[:_MOST_VALIDATED]}
    return {**fields, "metadata": few}, len(wrong) - len(few)


def _problems_of(fields: Any, error: ValidationError, *, hidden: int) -> str:
    """What is wrong with an event's fields: the first few problems, and what the fields may be instead.

    `hidden` is how many more there are that the error does not know of.
    """
    found = list(validation_problems(error, expected=DocumentEvent))
    sentences = list(dict.fromkeys(_problem(problem) for problem in found))
    more = len(sentences) - _PROBLEMS_SHOWN + hidden
    said = "; ".join(sentences[:_PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
    if not isinstance(fields, dict):
        return f"{said}, not {_kind(fields)}"
    missing = [problem.place[0] for problem in found if problem.sentence == "missing"]
    return said + (_instead(fields, missing) if missing else "") + _of_a_newer_version(fields)


def shown_name(name: str, *, most: int = _NAME_CHARACTERS) -> str:
    """A field's name for a person: one line, cut short."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in name[:most])


def names_shown(names: Collection[str], *, most: int = _NAMES_SHOWN) -> str:
    """The first few names, for a person."""
    shown = ", ".join(shown_name(name) for name in itertools.islice(names, most))
    return shown + (" and more" if len(names) > most else "")


def _problem(problem: ValidationProblem) -> str:
    """A sentence about one field, without its value, which may be the document."""
    where = [shown_name(part) for part in problem.place]
    if where[:1] == ["metadata"] and len(where) > 1:
        return f"metadata.{where[1]}: must be a string, a finite number or a boolean"
    return f"{'.'.join(where) or 'the event'}: {problem.sentence}"


def _instead(fields: dict[str, Any], missing: list[str]) -> str:
    """Fields that may be meant for the missing ones, misspelt ones first."""
    unknown = [name for name in fields if name not in DocumentEvent.model_fields]
    if not unknown:
        return ""
    alike = {_bare(name): name for name in unknown[:_NAMES_COMPARED] if len(name) <= _NAME_CHARACTERS}
    guesses = [
        f"is {shown_name(alike[close[0]])} meant for {field}?"
        for field in missing
        if (close := difflib.get_close_matches(_bare(field), alike, n=1, cutoff=_LIKENESS))
    ]
    if guesses:
        return f"; {' '.join(guesses)}"
    known = next((f"; {words}" for names, words in _ENVELOPES.items() if fields.keys() >= names), "")
    return f"; there is {names_shown(unknown)} instead{known}"


def _bare(name: str) -> str:
    """A form that is equal for `document_id`, `documentId` and `Document-ID`."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _of_a_newer_version(fields: dict[str, Any]) -> str:
    version = fields.get("schema_version")
    if type(version) is not int or version <= _SCHEMA_VERSION or version.bit_length() > _NAME_CHARACTERS:
        return ""
    return f"; it says schema_version {version}, and this release knows {_SCHEMA_VERSION}"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case str() if value.lstrip()[:1] in {"{", "["}:
            return "a string that holds JSON: it was encoded twice"
        case str() if packed := base64_of(value):
            return f"a string that holds base64 of {packed}"
        case str():
            return "a string"
        case list():
            return "a list: send each event as a record of its own"
        case _:
            return "a boolean" if isinstance(value, bool) else "a number"

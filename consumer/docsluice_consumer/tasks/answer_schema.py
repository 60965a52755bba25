"""Checks values against a user's JSON schema (draft 2020-12), in time proportional to their size. Pure.

Patterns run on a linear-time engine. Items that must differ are told apart by their hashes, and numbers are exact,
however large. No `$ref` is followed. So an answer costs at most its size times the schema's.
"""

from __future__ import annotations

from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

from docsluice.text.printable import shortened
from docsluice.validation.json_values import compact_json
from docsluice_consumer.tasks.schema_patterns import LINEAR, compiled_kib, pattern_problem, patterns_in

MOST_LEVELS = 64
"""Levels of lists and objects, in a schema and in an answer. Writing a result allows 200."""
_MOST_BYTE_KIB = 2**23
"""The most bytes of an answer times KiB of its patterns. The worst case takes two seconds."""
_MASK = "\ue000"
"""Stands for the value in a message: a private character that nobody writes."""
_VALUE_CHARACTERS, _PLACE_CHARACTERS, _MESSAGE_CHARACTERS = 60, 200, 600


class AnswerSchema:
    """A valid schema, compiled."""

    def __init__(self, schema: Any) -> None:
        self._validator = _validator(schema)
        kib = sum(compiled_kib(pattern) for _, pattern in patterns_in(schema))
        self._most_bytes = _MOST_BYTE_KIB // kib if kib else None

    def is_valid(self, value: Any) -> bool:
        """Whether a value meets the schema. It may be nested up to `MOST_LEVELS`."""
        return bool(self._validator.is_valid(value))

    def problem(self, value: Any) -> str | None:
        """The first problem of a value, fit to be shown to the model. None if it is valid."""
        try:
            self._validator.validate(value)
        except ValidationError as error:
            return f"{_place(error.instance_path)}: {_message(error)}"[:_MESSAGE_CHARACTERS]
        return None

    def excess(self, value: Any) -> str | None:
        """Why a value is not checked at all: it is too deep, or too long for the schema's patterns."""
        if is_deeper(value, MOST_LEVELS):
            return f"must not be nested deeper than {MOST_LEVELS} levels"
        if self._most_bytes is not None and len(compact_json(value).encode()) > self._most_bytes:
            return f"must have at most {self._most_bytes} bytes, for more would be too much for the schema's patterns"
        return None


def schema_problem(schema: Any) -> str | None:
    """Why a schema cannot be used. None if it can."""
    if is_deeper(schema, MOST_LEVELS):
        return f"must not be nested deeper than {MOST_LEVELS} levels"
    if _refers(schema):
        return "must hold no $ref; write the part out in its place"
    for place, pattern in patterns_in(schema):
        if problem := pattern_problem(pattern):
            return f"{place}: {problem}"
    try:
        _validator(schema)
    except ValidationError as error:
        place = ".".join(map(str, error.instance_path))
        return f"not a JSON schema: {f'{place}: ' if place else ''}{_message(error)}"[:_MESSAGE_CHARACTERS]
    except ValueError as error:
        return f"not a JSON schema: {error}"[:_MESSAGE_CHARACTERS]
    return None


def is_deeper(value: Any, levels: int) -> bool:
    """Whether lists and objects are nested deeper than `levels`."""
    level = [value]
    for _ in range(levels + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _validator(schema: Any) -> Draft202012Validator:
    """A validator. Formats are remarks in this draft, and nothing is fetched."""
    return Draft202012Validator(schema, pattern_options=LINEAR, validate_formats=False, offline=True, mask=_MASK)


def _refers(schema: Any) -> bool:
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    return (isinstance(schema, dict) and not {"$ref", "$dynamicRef"}.isdisjoint(schema)) or any(map(_refers, parts))


def _place(path: list[str | int]) -> str:
    steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"${''.join(steps)}"[:_PLACE_CHARACTERS]


def _message(error: ValidationError) -> str:
    """The message, with only the beginning of the value, which may be the whole answer."""
    if _MASK not in error.message:
        return error.message
    return error.message.replace(_MASK, shortened(compact_json(error.instance), _VALUE_CHARACTERS))

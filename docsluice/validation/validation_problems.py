"""Validation problems in our own words: one table of sentences for everything that pydantic finds.

Settings, pipeline files, prices and events are all checked against models. Their writers need not know pydantic. No
sentence quotes the value, which may be a secret or a document.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError

from docsluice.text.likely_names import did_you_mean

_OF_A_KEY = "[key]"
"""Pydantic's last step for a problem of a key itself."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")

Context: TypeAlias = Mapping[str, Any]
"""Pydantic's context of an error: bounds, choices, a validator's exception."""


@dataclass(frozen=True, slots=True)
class ValidationProblem:
    """One problem. `place` is the way to it, empty for the whole. `sentence` fits after a colon."""

    place: tuple[str, ...]
    sentence: str


class FieldProblem(ValueError):
    """A problem of one field, raised by a validator of the whole model."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


def validation_problems(error: ValidationError, *, expected: Any, given: Any = None) -> Iterator[ValidationProblem]:
    """Yield what pydantic found, in its order. `expected` is the type of the input.

    With the `given` input, a list's entry is called by its `name` if it has one, else by its index. Give only
    configured input, from YAML: names become part of the places, and bare words are told.
    """
    for detail in error.errors(include_url=False):
        context = detail.get("ctx", {})
        place, parent = _way(expected, detail["loc"], given)
        if detail["type"] == "extra_forbidden":
            yield ValidationProblem(place, _unknown_field(place[-1], _known_fields(parent)))
        elif isinstance(problem := context.get("error"), FieldProblem):
            yield ValidationProblem((*place, problem.field), str(problem))
        elif given is not None and detail["type"] == "string_type" and isinstance(detail["input"], bool | int | float):
            yield ValidationProblem(place, _bare_word(detail["input"]))
        elif say := SENTENCES.get(detail["type"]):
            yield ValidationProblem(place, say(context))
        else:
            yield ValidationProblem(place, detail["msg"])


def _fixed(sentence: str) -> Callable[[Context], str]:
    return lambda _: sentence


def _bound(words: str, name: str) -> Callable[[Context], str]:
    def say(context: Context) -> str:
        number = context[name]
        return f"{words} {int(number) if number == int(number) else number}"  # 60, though a float's bound is 60.0

    return say


def _at_least(things: str) -> Callable[[Context], str]:
    def say(context: Context) -> str:
        least = context["min_length"]
        return "must not be empty" if least == 1 else f"must have at least {least} {things}"

    return say


def _one_of(quoted: str) -> str:
    """Pydantic lists what is allowed as `'a', 'b' or 'c'`."""
    choices = quoted.replace(" or ", ", ").replace("'", "")
    return f"must be one of {choices}" if ", " in choices else f"must be {choices}"


def _discriminator(context: Context) -> str:
    return str(context["discriminator"]).strip("'")


_STRING = _fixed("must be a string")
_WHOLE_NUMBER = _fixed("must be a whole number")
_NUMBER = _fixed("must be a number")
_TRUE_OR_FALSE = _fixed("must be true or false")
_MAPPING = _fixed("must be a mapping of names to values")

SENTENCES: Mapping[str, Callable[[Context], str]] = {
    "missing": _fixed("missing"),
    "invalid_key": _fixed("must have a string as its name"),
    "value_error": lambda context: str(context["error"]),
    "literal_error": lambda context: _one_of(context["expected"]),
    "string_type": _STRING,
    "string_unicode": _fixed("must be valid Unicode"),
    "string_too_short": _at_least("characters"),
    "string_too_long": lambda context: f"must have at most {context['max_length']} characters",
    "path_type": _fixed("must be a path"),
    "int_type": _WHOLE_NUMBER,
    "int_parsing": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "int_parsing_size": _fixed("must be a smaller number"),
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "decimal_parsing": _NUMBER,
    "finite_number": _fixed("must be a finite number"),
    "bool_type": _TRUE_OR_FALSE,
    "bool_parsing": _TRUE_OR_FALSE,
    "greater_than": _bound("must be greater than", "gt"),
    "greater_than_equal": _bound("must be at least", "ge"),
    "less_than_equal": _bound("must be at most", "le"),
    "list_type": _fixed("must be a list"),
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "too_short": _at_least("entries"),
    "union_tag_not_found": lambda context: f"{_discriminator(context)} is missing",
    "union_tag_invalid": lambda context: f"{_discriminator(context)} {_one_of(context['expected_tags'])}",
}
"""A sentence for each type of error that a model of ours can raise (a test goes through them), beside unknown fields,
whose sentence also takes the model. A type that is not here is told in pydantic's own words."""


def _unknown_field(name: str, known: list[str]) -> str:
    if not known:
        return "unknown field"
    meant = did_you_mean(name, known)
    return f"unknown field{meant or ';'} known are: {', '.join(known)}"


def _bare_word(read: float) -> str:
    """A string that was written without quotes, and that YAML takes for something else."""
    kind = "true or false, as it reads yes, no, on and off" if isinstance(read, bool) else "a number"
    return f"must be a string; YAML reads it as {kind}: put it in quotes"


def _known_fields(kind: Any) -> list[str]:
    """The fields of a model, as they are written. Empty for any other type."""
    return [info.alias or name for name, info in _fields(kind).items()]


def _way(expected: Any, steps: Sequence[int | str], given: Any) -> tuple[tuple[str, ...], Any]:
    """The way to a place as its writer knows it, and the type that the last step leads out of.

    Pydantic mixes its own words in: the member of a union that it has tried, and `[key]` for a key of a mapping.
    """
    place: list[str] = []
    kind = parent = expected
    for step in steps:
        members = _members(kind)
        if len(members) > 1:
            kind = next((member for member in members if _has_tag(member, str(step))), None)
        elif step != _OF_A_KEY:
            place.append(_name_of(given, step))
            parent, kind, given = kind, _inside(kind, str(step)), _given_inside(given, step)
    return tuple(place), parent


def _name_of(given: Any, step: int | str) -> str:
    entry = _given_inside(given, step)
    name = entry.get("name") if isinstance(step, int) and isinstance(entry, Mapping) else None
    return name if isinstance(name, str) and _NAME.fullmatch(name) else str(step)


def _given_inside(given: Any, step: int | str) -> Any:
    if isinstance(given, Mapping):
        return given.get(step)
    return given[step] if isinstance(given, list) and isinstance(step, int) and step < len(given) else None


def _inside(kind: Any, part: str) -> Any:
    """The type that one step leads to: into a list, a mapping or a field."""
    (member,) = _members(kind)
    if get_origin(member) in (list, dict):
        return get_args(member)[-1]
    return next((info.annotation for name, info in _fields(kind).items() if part in (name, info.alias)), None)


def _members(kind: Any) -> list[Any]:
    """The members of a union, without None. For any other type, itself."""
    origin = get_origin(kind)
    if origin is Annotated:
        return _members(get_args(kind)[0])
    if origin in (Union, types.UnionType):
        members = [member for member in get_args(kind) if member is not types.NoneType]
        return _members(members[0]) if len(members) == 1 else members
    return [kind]


def _has_tag(kind: Any, tag: str) -> bool:
    if get_origin(kind) is Annotated and Tag(tag) in get_args(kind)[1:]:
        return True
    annotations = [info.annotation for info in _fields(kind).values()]
    return any(get_origin(one) is Literal and tag in get_args(one) for one in annotations)


def _fields(kind: Any) -> Mapping[str, Any]:
    model = _members(kind)[0]
    return model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else {}

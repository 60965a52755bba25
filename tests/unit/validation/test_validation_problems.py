"""What does not fit is told in our own words, whichever model it was held against, and without the value."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError

from docsluice.messages import DocumentEvent, NotBlank
from docsluice.validation.validation_problems import SENTENCES, ValidationProblem, validation_problems
from docsluice_consumer.llm.pricing import OwnPrice
from docsluice_consumer.settings import Settings
from docsluice_consumer.tasks.pipeline_file import PipelineFile

SECRET = "hunter2-secret"


def _lower(text: str) -> str:
    if text != text.lower():
        raise ValueError("must be small")
    return text


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["part"]
    own: int = 0
    renamed: str = Field("", alias="as_written")


class Other(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["other"]
    others: list[Part] = []
    named: dict[str, Part] = {}
    perhaps: Part | None = None


Tagged = Annotated[Part | Other, Field(discriminator="type")]


Lower = Annotated[str, AfterValidator(_lower)]


class FromAttributes(BaseModel):
    model_config = ConfigDict(from_attributes=True)


def _problems_in(expected: Any, value: Any, **how: Any) -> list[ValidationProblem]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(expected).validate_python(value, **how)
    return list(validation_problems(caught.value, expected=expected))


PROVOKED: list[tuple[str, Any, Any, str]] = [
    ("missing", Part, {}, "missing"),
    ("invalid_key", Part, {"type": "part", 7: SECRET}, "must have a string as its name"),
    ("value_error", NotBlank, " ", "must not be blank"),
    ("literal_error", Literal["a", "b", "c"], SECRET, "must be one of a, b, c"),
    ("literal_error", Literal[1], SECRET, "must be 1"),
    ("string_type", str, 7, "must be a string"),
    ("string_type", SecretStr, [SECRET], "must be a string"),
    ("string_unicode", str, b"\xff", "must be valid Unicode"),
    ("string_too_short", Annotated[str, Field(min_length=1)], "", "must not be empty"),
    ("string_too_short", Annotated[str, Field(min_length=20)], SECRET, "must have at least 20 characters"),
    ("string_too_long", Annotated[str, Field(max_length=2)], SECRET, "must have at most 2 characters"),
    ("path_type", Path, 7, "must be a path"),
    ("int_type", int, [SECRET], "must be a whole number"),
    ("int_parsing", int, SECRET, "must be a whole number"),
    ("int_from_float", int, 1.5, "must be a whole number"),
    ("int_parsing_size", int, "9" * 5000, "must be a smaller number"),
    ("float_type", float, [SECRET], "must be a number"),
    ("float_parsing", float, SECRET, "must be a number"),
    ("decimal_type", Decimal, [SECRET], "must be a number"),
    ("decimal_parsing", Decimal, SECRET, "must be a number"),
    ("finite_number", Annotated[float, Field(allow_inf_nan=False)], "inf", "must be a finite number"),
    ("bool_type", bool, [SECRET], "must be true or false"),
    ("bool_parsing", bool, SECRET, "must be true or false"),
    ("greater_than", Annotated[float, Field(gt=0)], -7, "must be greater than 0"),
    ("greater_than_equal", Annotated[int, Field(ge=-1)], -7, "must be at least -1"),
    ("greater_than_equal", Annotated[Decimal, Field(ge=0)], -7, "must be at least 0"),
    ("less_than_equal", Annotated[float, Field(le=86_400)], "1e300", "must be at most 86400"),
    ("less_than_equal", Annotated[float, Field(le=0.5)], 7, "must be at most 0.5"),
    ("list_type", list[str], SECRET, "must be a list"),
    ("dict_type", dict[str, str], SECRET, "must be a mapping of names to values"),
    ("model_type", Part, SECRET, "must be a mapping of names to values"),
    ("model_attributes_type", FromAttributes, SECRET, "must be a mapping of names to values"),
    ("too_short", Annotated[list[str], Field(min_length=1)], [], "must not be empty"),
    ("too_short", Annotated[list[str], Field(min_length=2)], [SECRET], "must have at least 2 entries"),
    ("too_short", Annotated[dict[str, str], Field(min_length=1)], {}, "must not be empty"),
    ("union_tag_not_found", Tagged, {"own": SECRET}, "type is missing"),
    ("union_tag_invalid", Tagged, {"type": SECRET}, "type must be one of part, other"),
]


@pytest.mark.parametrize(
    ("kind", "expected", "value", "sentence"),
    PROVOKED,
    ids=[f"{one[0]}-{number}" for number, one in enumerate(PROVOKED)],
)
def test_a_type_of_error_has_its_sentence(kind: str, expected: Any, value: Any, sentence: str) -> None:
    """What pydantic really raises becomes our sentence, and the value is not in it."""
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(expected).validate_python(value)
    assert [detail["type"] for detail in caught.value.errors()] == [kind]
    (problem,) = validation_problems(caught.value, expected=expected)
    assert problem.sentence == sentence


def test_every_row_of_the_table_is_provoked() -> None:
    """No sentence is written that nobody has seen."""
    assert {kind for kind, *_ in PROVOKED} == set(SENTENCES)


BY_SCHEMA: dict[str, set[str]] = {
    "any": set(),
    "default": set(),
    "nullable": set(),
    "lax-or-strict": set(),
    "json-or-python": set(),
    "model-field": set(),
    "is-instance": {"is_instance_of"},
    "function-after": {"value_error"},
    "function-before": {"value_error"},
    "literal": {"literal_error", "string_unicode"},
    "str": {"string_type", "string_unicode"},
    "int": {"int_type", "int_parsing", "int_parsing_size", "int_from_float", "finite_number"},
    "float": {"float_type", "float_parsing", "finite_number"},
    "bool": {"bool_type", "bool_parsing"},
    "decimal": {"decimal_type", "decimal_parsing", "finite_number"},
    "list": {"list_type"},
    "dict": {"dict_type"},
    "model": {"model_type"},
    "model-fields": {"missing", "extra_forbidden", "invalid_key", "model_attributes_type"},
    "tagged-union": {"union_tag_invalid", "union_tag_not_found", "model_attributes_type"},
    "union": set(),
}
"""What each kind of pydantic's core schema may raise by itself. One that is not here fails the test below."""
BY_BOUND = {
    ("str", "min_length"): "string_too_short",
    ("str", "max_length"): "string_too_long",
    ("str", "pattern"): "string_pattern_mismatch",
    ("list", "min_length"): "too_short",
    ("list", "max_length"): "too_long",
    ("dict", "min_length"): "too_short",
    ("dict", "max_length"): "too_long",
    **{
        (number, bound): kind
        for number in ("int", "float", "decimal")
        for bound, kind in (
            ("gt", "greater_than"),
            ("ge", "greater_than_equal"),
            ("lt", "less_than"),
            ("le", "less_than_equal"),
            ("multiple_of", "multiple_of"),
        )
    },
}


def _raised_by(schema: Any) -> Iterator[str]:
    """Every type of error that a core schema can raise."""
    if isinstance(schema, list | tuple):
        for part in schema:
            yield from _raised_by(part)
    elif isinstance(schema, dict) and schema.get("type") == "lax-or-strict":
        yield from _raised_by(schema["lax_schema"])
    elif isinstance(schema, dict) and "custom_error_type" in schema:
        yield schema["custom_error_type"]
    elif isinstance(schema, dict):
        kind = schema.get("type")
        if isinstance(kind, str):
            yield from BY_SCHEMA[kind]
            yield from (BY_BOUND[kind, bound] for bound in schema if (kind, bound) in BY_BOUND)
        for name, part in schema.items():
            if name not in {"config", "cls", "metadata", "serialization", "function"} or isinstance(kind, dict):
                yield from _raised_by(part)


@pytest.mark.parametrize("expected", [Settings, PipelineFile, dict[str, OwnPrice], DocumentEvent], ids=str)
def test_no_error_of_our_models_is_told_in_pydantics_words(expected: Any) -> None:
    """A new kind of field or bound in a model needs its sentence in the table."""
    raised = set(_raised_by(TypeAdapter(expected).core_schema)) - {"extra_forbidden"}
    assert len(raised) > 5
    assert raised <= set(SENTENCES)


def test_an_unlisted_type_is_told_in_pydantics_words() -> None:
    """Better than nothing."""
    (problem,) = _problems_in(Annotated[int, Field(multiple_of=2)], 3)
    assert problem == ValidationProblem((), "Input should be a multiple of 2")


OTHER = {"type": "other"}
KNOWN_PART = "unknown field; known are: type, own, as_written"
MEANT_PART = "unknown field; did you mean own? known are: type, own, as_written"
KNOWN_OTHER = "unknown field; known are: type, others, named, perhaps"


@pytest.mark.parametrize(
    ("expected", "value", "place", "sentence"),
    [
        (Part, {"type": "part", "owm": SECRET}, ("owm",), MEANT_PART),
        (Part, {"type": "part", "renamed": SECRET}, ("renamed",), KNOWN_PART),
        (dict[str, Part], {"a": {"type": "part", "x": 1}}, ("a", "x"), KNOWN_PART),
        (list[Part], [{"type": "part", "x": 1}], ("0", "x"), KNOWN_PART),
        (Tagged, OTHER | {"x": 1}, ("x",), KNOWN_OTHER),
        (Tagged, {"type": "part", "x": 1}, ("x",), KNOWN_PART),
        (Other, OTHER | {"others": [{"type": "part", "x": 1}]}, ("others", "0", "x"), KNOWN_PART),
        (Other, OTHER | {"named": {"a": {"type": "part", "x": 1}}}, ("named", "a", "x"), KNOWN_PART),
        (Other, OTHER | {"perhaps": {"type": "part", "x": 1}}, ("perhaps", "x"), KNOWN_PART),
    ],
)
def test_an_unknown_field_is_told_with_those_that_are_known(
    expected: Any, value: Any, place: tuple[str, ...], sentence: str
) -> None:
    """Of the very model that it was written in, by the names that are written."""
    assert _problems_in(expected, value) == [ValidationProblem(place, sentence)]


def test_an_unknown_field_of_who_knows_what() -> None:
    """Where the model cannot be found, nothing is made up."""
    with pytest.raises(ValidationError) as caught:
        Part.model_validate({"type": "part", "x": 1})
    assert list(validation_problems(caught.value, expected=str)) == [ValidationProblem(("x",), "unknown field")]


def test_a_problem_says_where_it_is() -> None:
    """Step by step, and each problem for itself."""
    assert _problems_in(list[Part], [{"type": "part", "own": "x"}, {}]) == [
        ValidationProblem(("0", "own"), "must be a whole number"),
        ValidationProblem(("1", "type"), "missing"),
    ]


@pytest.mark.parametrize(
    ("expected", "value", "places"),
    [
        (dict[Lower, int], {"A": 1}, [("A",)]),
        (dict[str, dict[Lower, int]], {"A": {"B": "x"}}, [("A", "B"), ("A", "B")]),
        (list[Tagged], [{"type": "part", "own": "x"}], [("0", "own")]),
        (dict[str, Lower | int], {"A": "B"}, [("A",), ("A",)]),
        (Annotated[Lower | dict[str, Part], Field()], {"a": {}}, [(), ("a", "type")]),
    ],
)
def test_a_place_holds_no_word_of_pydantics(expected: Any, value: Any, places: list[tuple[str, ...]]) -> None:
    """Neither the mark of a key, nor the members of a union that were tried, nor a function's name."""
    assert [problem.place for problem in _problems_in(expected, value)] == places


def test_an_entry_of_a_list_goes_by_its_name() -> None:
    """Where its name can be one, else by its index."""
    given = {"type": "other", "others": [{"name": name} for name in ("first", "not a name", ["x"])] + [{}, 7]}
    with pytest.raises(ValidationError) as caught:
        Other.model_validate(given)
    found = list(validation_problems(caught.value, expected=Other, given=given))
    places = [problem.place for problem in found if problem.sentence == "missing"]
    assert places == [("others", name, "type") for name in ("first", "1", "2", "3")]

"""A user's schema and a hostile answer: what is checked agrees with the reference, and ends."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.tasks.answer_schema import MOST_LEVELS, AnswerSchema, is_deeper, schema_problem
from tests.fakes.exploding_patterns import exploding_pattern, near_miss

MEBIBYTE = 2**20
EMAIL = r"^([a-zA-Z0-9]+([._-]?[a-zA-Z0-9]+)*)@example\.org$"


def _nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = {"a": value}
    return value


NUMBERS = st.sampled_from([0, 1, -1, 3, 1.0, 1.5, -0.0, 0.01, 1e308, 5e-324, 2**53 + 1, 2**64, 10**30])
LEAVES = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "ab", "\u00e4", "\U0001f600", "x" * 40])
NAMES = st.sampled_from("abc")
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
SIZES = st.integers(0, 3)
KEYWORDS: dict[str, st.SearchStrategy[Any]] = {
    "type": st.sampled_from(["string", "number", "integer", "boolean", "null", "array", "object", ["string", "null"]]),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "const": VALUES,
    "minimum": NUMBERS,
    "exclusiveMaximum": NUMBERS,
    "multipleOf": st.sampled_from([1, 3, 0.5, 10**20]),
    "minLength": SIZES,
    "maxLength": SIZES,
    "minItems": SIZES,
    "maxProperties": SIZES,
    "uniqueItems": st.booleans(),
    "required": st.lists(NAMES, unique=True, max_size=2),
    "pattern": st.sampled_from(["^a", "b$", "[a-z]+", "^$"]),
}


def _wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keywords = {
        **KEYWORDS,
        **dict.fromkeys(("items", "contains", "not", "additionalProperties", "propertyNames"), inner),
        **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), st.lists(inner, min_size=1, max_size=2)),
        "properties": st.dictionaries(NAMES, inner, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b$"]), inner, max_size=2),
    }
    return st.fixed_dictionaries({}, optional=keywords)


SCHEMAS = st.recursive(st.fixed_dictionaries({}, optional=KEYWORDS), _wider, max_leaves=4)


@given(schema=SCHEMAS, value=VALUES)
def test_it_agrees_with_the_reference(schema: dict[str, Any], value: Any) -> None:
    """On whether a value meets a schema, and a value has a problem where it does not."""
    assert schema_problem(schema) is None
    checked = AnswerSchema(schema)
    assert checked.is_valid(value) == jsonschema.Draft202012Validator(schema).is_valid(value)
    assert (checked.problem(value) is None) == checked.is_valid(value)


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        pytest.param({"pattern": r"^(\w+\s?)*$"}, "a" * MEBIBYTE + "!", False, id="words"),
        pytest.param({"pattern": EMAIL}, "a" * MEBIBYTE + "!", False, id="e-mail"),
        pytest.param({"pattern": r"^(([a-z])+.)+[A-Z]([a-z])+$"}, "a" * MEBIBYTE, False, id="class name"),
        pytest.param({"patternProperties": {r"^(a|a)*$": {}}}, {"a" * MEBIBYTE + "!": 1}, True, id="names"),
        pytest.param({"propertyNames": {"pattern": r"^(a|aa)+$"}}, {"a" * MEBIBYTE + "!": 1}, False, id="all names"),
        pytest.param(
            {"patternProperties": {r"^(a|a)*$": {}}, "additionalProperties": False},
            {"a" * MEBIBYTE + "!": 1},
            False,
            id="other names",
        ),
        pytest.param({"uniqueItems": True}, [{"a": number} for number in range(60_000)], True, id="objects"),
        pytest.param({"uniqueItems": True}, [[number / 7] for number in range(60_000)], True, id="lists"),
        pytest.param({"uniqueItems": True}, [*range(60_000), 0.0], False, id="a number twice"),
        pytest.param({"uniqueItems": True}, [0, False, "0", None, [], {}, ""], True, id="nothing twice"),
        pytest.param({"multipleOf": 0.01}, 10**400, True, id="no float is as large"),
        pytest.param({"multipleOf": 3}, 10**4000, False, id="4,000 digits"),
        pytest.param({"maximum": 1e308}, 10**400, False, id="beyond all floats"),
        pytest.param({"items": {"enum": ["a", "b"]}}, ["a"] * 500_000, True, id="many items"),
    ],
)
def test_a_hostile_value_ends_in_a_verdict(schema: dict[str, Any], value: Any, *, fits: bool) -> None:
    """An engine that backtracks, or compares each with each, would be at it for hours, and no number is a bug."""
    assert schema_problem(schema) is None
    checked = AnswerSchema(schema)
    assert checked.is_valid(value) is fits
    assert (checked.problem(value) is None) is fits


@given(chance=st.randoms(use_true_random=False))
def test_any_pattern_that_explodes_elsewhere_ends_here(chance: random.Random) -> None:
    """It is refused at the start, or read in a time that grows with the text alone."""
    schema = {"pattern": exploding_pattern(chance)}
    if schema_problem(schema) is None:
        assert not AnswerSchema(schema).is_valid(near_miss(2**16))


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer"}, "x" * MEBIBYTE),
        ({"type": "integer"}, _nested(MOST_LEVELS)),
        ({"additionalProperties": False}, {f"name {number}": 1 for number in range(10_000)}),
        ({"properties": {"a" * 1000: {"type": "string"}}}, {"a" * 1000: 1}),
        ({"propertyNames": {"maxLength": 3}}, {"x" * MEBIBYTE: 1}),
        ({"enum": ["x" * 5000]}, "y" * MEBIBYTE),
    ],
)
def test_a_problem_is_told_in_a_few_words(schema: dict[str, Any], value: Any) -> None:
    """The model is shown it, and a dead letter has it."""
    problem = AnswerSchema(schema).problem(value)
    assert problem is not None
    assert 20 < len(problem) <= 600


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"properties": {"n": {"items": {"maximum": 1}}}}, {"n": [0, 2]}, "$.n[1]: 2 is greater than the maximum of 1"),
        ({"type": "string"}, None, '$: null is not of type "string"'),
        ({"pattern": "^a$"}, "b" * 100, f'$: "{"b" * 59}… does not match "^a$"'),
        ({"required": ["a"]}, {}, '$: "a" is a required property'),
    ],
)
def test_a_problem_says_where_and_what(schema: dict[str, Any], value: Any, problem: str) -> None:
    """With the beginning of the value."""
    assert AnswerSchema(schema).problem(value) == problem


def test_what_is_too_deep_is_told() -> None:
    """A result is written by code that goes down as deep as its value does."""
    checked = AnswerSchema({})
    assert checked.excess(_nested(MOST_LEVELS)) is None
    assert checked.excess(_nested(MOST_LEVELS + 1)) == "must not be nested deeper than 64 levels"
    assert is_deeper(_nested(100_000), MOST_LEVELS)
    assert not is_deeper([1, [2], {"a": []}], 2)


def test_a_large_pattern_is_tried_on_shorter_answers() -> None:
    """Its size times that of the answer is what it costs at most. Without a pattern, any length will do."""
    text = {"text": "a" * 300_000}
    assert AnswerSchema({"type": "object"}).excess(text) is None
    assert AnswerSchema({"properties": {"text": {"pattern": "^a+$"}}}).excess(text) is None
    large = AnswerSchema({"properties": {"text": {"pattern": r"^(?:[ab]{1,100}x?){1,20}$"}}})
    assert "bytes, for more would be too much for the schema's patterns" in str(large.excess(text))
    assert large.excess({"text": "a" * 10_000}) is None


PATTERNS = {
    r"^(?=.*\d)a": "look-around or a back-reference",
    r"^(?!admin)\w+$": "under allOf, and what must not as not",
    r"(?<=a)b": "look-around",
    r"(?<!a)b": "look-around",
    r"^(a)\1$": "back-reference",
    "(": r"no regular expression: missing \)",
    "[a": "no regular expression: unterminated",
    r"^a\Z": r"no regular expression of ECMA-262, .* \(\$ for \\Z",
    "a{,3}": r"\{0,3\} for \{,3\}",
    "^([a-z]{1,1000}){1,1000}$": "counts are far too large",
    r"^(?:\w{1,500} ){1,30}$": r"too large when compiled; write \+ for a count .* set maxLength",
    r"^\<b\>$": "write < or >",
    "(" * 5000: "no regular expression",
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("keyword", ["pattern", "patternProperties"])
def test_a_pattern_that_cannot_be_bounded_is_refused(pattern: str, keyword: str) -> None:
    """With its place, the reason, and what to write."""
    part: dict[str, Any] = {"pattern": pattern} if keyword == "pattern" else {"patternProperties": {pattern: {}}}
    schema = {"type": "object", "properties": {"list": {"type": "array", "items": {"anyOf": [{}, part]}}}}
    problem = schema_problem(schema)
    assert problem is not None
    with pytest.raises(AssertionError, match=PATTERNS[pattern]):
        raise AssertionError(problem)
    assert problem.startswith(f"properties.list.items.anyOf.1.{keyword}: ")
    assert len(problem) < 500


def test_a_property_may_be_named_pattern() -> None:
    """And data may hold anything."""
    assert schema_problem({"properties": {"pattern": {"type": "string"}}, "enum": [{"pattern": "(?=a)"}]}) is None


@pytest.mark.parametrize(
    ("pattern", "fits", "validation_problems"),
    [
        (r"^\d{4}-\d\d$", ["2024-01"], ["٢٠٢٤-01", "2024-01\n"]),
        (r"^\w+$", ["abc_1"], ["\u00e4"]),
        (r"^\p{L}+$", ["\u00e4\u00f6"], ["1"]),
        (r"^[a&&b]$", ["&"], ["&&"]),
        ("\u00e9", ["caf\u00e9s"], ["cafes"]),
        (r"^\\<$", ["\\<"], ["<"]),
    ],
)
def test_a_pattern_means_what_json_schema_says(pattern: str, fits: list[str], validation_problems: list[str]) -> None:
    """It is ECMA-262's: digits and letters are those of ASCII, `$` is the end, and it may be found anywhere."""
    checked = AnswerSchema({"pattern": pattern})
    assert [text for text in fits if not checked.is_valid(text)] == []
    assert [text for text in validation_problems if checked.is_valid(text)] == []


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "nothing"}, "not a JSON schema: type: "),
        ({"properties": []}, "not a JSON schema: properties: "),
        ({"properties": {"a": {"minLength": -1}}}, "not a JSON schema: properties.a.minLength: -1 is less"),
        ({"properties": {"a": {"$ref": "#/$defs/a"}}}, "must hold no $ref"),
        ({"anyOf": [{"$dynamicRef": "#a"}]}, "must hold no $ref"),
        (_nested(100_000), "must not be nested deeper than 64 levels"),
        ({"multipleOf": 0}, "not a JSON schema: multipleOf: 0 is less"),
    ],
)
def test_a_schema_that_could_not_work_is_refused(schema: Any, words: str) -> None:
    """With the place in it."""
    assert str(schema_problem(schema)).startswith(words)


def test_nothing_is_fetched() -> None:
    """A schema names itself and its draft by addresses, and none of them is asked."""
    schema = {"$schema": "http://127.0.0.1:1/draft", "$id": "http://127.0.0.1:1/mine", "type": "string"}
    assert schema_problem(schema) is None
    assert AnswerSchema(schema).is_valid("x")


def test_a_format_is_a_remark() -> None:
    """It is sent, and checked by nobody."""
    assert AnswerSchema({"format": "date"}).is_valid(json.dumps("no date"))

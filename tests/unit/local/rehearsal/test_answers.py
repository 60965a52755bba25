"""The rehearsal provider's answers meet the schema that the request asks for."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_local.rehearsal.answers import answer, sentence

_TEXT = "Coral reefs grow a few millimetres a year, built by animals smaller than a fingernail."


def _bounded(kind: str, least: str, most: str, largest: int) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.integers(0, largest), st.integers(0, largest)).map(sorted)
    return pairs.map(lambda pair: {"type": kind, least: pair[0], most: pair[1]})


_LEAVES = st.one_of(
    st.just({"type": "string"}),
    _bounded("string", "minLength", "maxLength", 60),
    _bounded("integer", "minimum", "maximum", 1_000),
    _bounded("number", "minimum", "maximum", 1_000),
    st.just({"type": "boolean"}),
    st.just({"type": ["string", "null"]}),
    st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True).map(lambda labels: {"enum": labels}),
    st.just({"const": {"fixed": 1}}),
)


def _nested(children: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    arrays = st.tuples(children, st.tuples(st.integers(0, 5), st.integers(0, 5)).map(sorted)).map(
        lambda pair: {"type": "array", "items": pair[0], "minItems": pair[1][0], "maxItems": pair[1][1]}
    )
    objects = st.dictionaries(st.text(min_size=1, max_size=5), children, max_size=4).map(
        lambda properties: {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
    )
    choices = st.lists(children, min_size=1, max_size=3).map(lambda options: {"anyOf": options})
    return st.one_of(arrays, objects, choices)


@given(schema=st.recursive(_LEAVES, _nested, max_leaves=12), text=st.text(max_size=80), seed=st.integers(0, 2**64))
def test_an_answer_meets_its_schema(schema: dict[str, Any], text: str, seed: int) -> None:
    """Whatever the schema and the document."""
    jsonschema.Draft202012Validator(schema).validate(answer(schema, text=text, seed=seed))


@given(text=st.text(max_size=20), seed=st.integers(0, 2**64), items=st.integers(1, 20))
def test_keywords_differ_from_one_another(text: str, seed: int, items: int) -> None:
    """Even where the document has fewer words than keywords were asked for, and letter case does not count."""
    schema = {"type": "array", "items": {"type": "string", "maxLength": 12}, "minItems": items, "maxItems": items}
    keywords = answer(schema, text=text, seed=seed)
    assert len({keyword.casefold() for keyword in keywords}) == items


def test_an_answer_speaks_of_the_document() -> None:
    """Its strings are words of the document."""
    summary = answer({"type": "string"}, text=_TEXT, seed=3)
    assert set(summary.split()) <= set(_TEXT.replace(",", "").replace(".", "").split())


def test_the_seed_decides() -> None:
    """Same seed, same answer. Labels spread over seeds."""
    schema = {"enum": ["tech", "business", "health", "other"]}
    assert answer(schema, text=_TEXT, seed=5) == answer(schema, text=_TEXT, seed=5)
    assert {answer(schema, text=_TEXT, seed=seed) for seed in range(50)} == {"tech", "business", "health", "other"}


def test_references_are_followed_and_an_endless_schema_ends() -> None:
    """A schema that holds itself is filled in to a depth and no further."""
    schema = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "inner": {"$ref": "#/$defs/node"}},
                "required": ["name"],
            }
        },
        "$ref": "#/$defs/node",
    }
    jsonschema.Draft202012Validator(schema).validate(answer(schema, text=_TEXT, seed=1))


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]},
        {"type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5},
        {"type": "number", "maximum": -7},
        {"properties": {"a": True}},
        {"type": "null"},
        {},
    ],
)
def test_the_rarer_keywords(schema: dict[str, Any]) -> None:
    """Merged, exclusive, open and absent types."""
    jsonschema.Draft202012Validator(schema).validate(answer(schema, text=_TEXT, seed=1))


def test_without_a_schema_the_answer_is_plain_text() -> None:
    """Words of the document again."""
    assert sentence(text=_TEXT, seed=1)

"""The kinds of answer: what each asks of the model, and what it takes and refuses."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from docsluice_consumer.errors import InvalidAnswer
from docsluice_consumer.tasks.outputs import ChoiceOutput, JsonOutput, ListOutput, Output, TextOutput
from tests.fakes.chat import example_of

OUTPUT: TypeAdapter[Any] = TypeAdapter(Output)
OWN_SCHEMA = {
    "type": "object",
    "properties": {"score": {"type": "number", "maximum": 1}},
    "required": ["score"],
    "additionalProperties": False,
}
KINDS: dict[str, dict[str, Any]] = {
    "text": {"type": "text"},
    "short text": {"type": "text", "max_characters": 40},
    "sentences": {"type": "text", "sentences": 3},
    "short sentences": {"type": "text", "sentences": 2, "max_characters": 40},
    "choice": {"type": "choice", "labels": ["tech", "Health care"]},
    "list": {"type": "list", "items": 3},
    "short list": {"type": "list", "items": 2, "max_characters": 10},
    "candidates": {"type": "list", "items": 2, "candidates": 3},
    "at least": {"type": "list", "items": 3, "at_least": 2},
    "json": {"type": "json", "schema": OWN_SCHEMA},
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_schema_allows_is_taken(kind: str) -> None:
    """A server that enforces the schema gives an answer that is read."""
    output = OUTPUT.validate_python(KINDS[kind])
    schema = output.json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    example = example_of(schema)
    jsonschema.validate(example, schema)
    output.read(example)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=45),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(kind=st.sampled_from(sorted(KINDS)), value=JSON | st.lists(st.text(max_size=25), max_size=4))
def test_what_is_read_meets_the_schema(kind: str, value: Any) -> None:
    """Where a server enforces nothing, reading does: what it takes has met the schema, or but for spaces and case."""
    output = OUTPUT.validate_python(KINDS[kind])
    try:
        read = output.read(value)
    except InvalidAnswer as problem:
        problem_said = str(problem)
        assert problem_said
    else:
        json.dumps(read)
        schema = output.json_schema()
        if kind == "choice":
            assert read in KINDS[kind]["labels"]
        elif KINDS[kind]["type"] == "list":
            assert len({item.casefold() for item in read}) == len(read) == KINDS[kind]["items"]
            assert set(read) <= {item.strip() for item in value}
        elif kind == "json":
            jsonschema.validate(value, schema)
        else:
            stripped = [item.strip() for item in value] if isinstance(value, list) else value.strip()
            jsonschema.validate(stripped, schema)


def test_a_sentence_count_is_an_array_of_so_many_strings() -> None:
    """A JSON schema cannot count sentences, but it can count strings."""
    output = TextOutput(type="text", sentences=2)
    assert output.json_schema() == {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}
    assert output.read([" One. ", "Two."]) == "One. Two."


@pytest.mark.parametrize("value", ["One. Two.", ["One."], ["a", "b", "c"], ["a", " "], ["a", 2], None, {"a": "b"}])
def test_a_wrong_number_of_sentences_is_refused(value: Any) -> None:
    """Exactly so many, each of them words."""
    with pytest.raises(InvalidAnswer, match=r"exactly 2 sentences|not blank"):
        TextOutput(type="text", sentences=2).read(value)


@pytest.mark.parametrize("value", ["", " \n", None, 3, ["text"], {"text": "x"}])
def test_text_is_words(value: Any) -> None:
    """A summary that is blank or no string is none."""
    with pytest.raises(InvalidAnswer, match="a string that is not blank"):
        TextOutput(type="text").read(value)


def test_text_longer_than_asked_for_is_refused() -> None:
    """The bound holds also on a server that does not enforce schemas. Spaces round the text do not count."""
    output = TextOutput(type="text", max_characters=5)
    assert output.json_schema() == {"type": "string", "maxLength": 5}
    assert output.read("  12345  ") == "12345"
    with pytest.raises(InvalidAnswer, match="at most 5 characters"):
        output.read("123456")


@pytest.mark.parametrize(("max_characters", "each"), [(100, 32), (101, 33), (5, 1)])
def test_sentences_share_the_bound(max_characters: int, each: int) -> None:
    """Each may be its part of the whole, without the blanks between them."""
    output = TextOutput(type="text", sentences=3, max_characters=max_characters)
    assert output.json_schema()["items"] == {"type": "string", "maxLength": each}
    output.read(["x" * each] * 3)
    with pytest.raises(InvalidAnswer, match=f"at most {each} characters"):
        output.read(["x", "x", "x" * (each + 1)])


def test_a_bound_has_room_for_every_sentence() -> None:
    """Three of one character, with a blank between them, take five."""
    with pytest.raises(ValidationError, match="no room for so many sentences"):
        TextOutput(type="text", sentences=3, max_characters=4)


@pytest.mark.parametrize("said", ["Health care", "health CARE", "  HEALTH care\n"])
def test_a_label_is_taken_whatever_its_case(said: str) -> None:
    """The result has the label as the pipeline spells it."""
    assert ChoiceOutput(type="choice", labels=["tech", "Health care"]).read(said) == "Health care"


@pytest.mark.parametrize("said", ["sports", "tech, other", "", None, 1, ["tech"]])
def test_any_other_label_is_refused(said: Any) -> None:
    """The message lists the labels, for the model is shown it."""
    with pytest.raises(InvalidAnswer, match=r"must be one of: tech, other|not blank"):
        ChoiceOutput(type="choice", labels=["tech", "other"]).read(said)


def test_a_list_is_its_items_in_order() -> None:
    """Stripped of spaces, otherwise as they were said."""
    assert ListOutput(type="list", items=3).read([" b ", "A", "c"]) == ["b", "A", "c"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a", "A "], "differ"),
        (["a"], "exactly 2 items"),
        (["a", ""], "not blank"),
        (["a", 1], "not blank"),
        (["a", "b", 1], "not blank"),
        ("a, b", "exactly 2 items"),
        (["a", "x" * 11], "at most 10 characters"),
    ],
)
def test_a_list_that_is_not_what_was_asked_is_refused(value: Any, words: str) -> None:
    """So many items, all different, none blank, none too long."""
    with pytest.raises(InvalidAnswer, match=words):
        ListOutput(type="list", items=2, max_characters=10).read(value)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (["a", "b", "c", "d"], ["a", "b"]),
        (["b", "B", " b", "a"], ["b", "a"]),
        (["a", "b", "a", "c"], ["a", "b"]),
        (["a", " ", "", "b"], ["a", "b"]),
        (["a", "b"], ["a", "b"]),
        (["a", "a", "c", "d", "e"], ["a", "c"]),
        (["caf\u00e9", "cafe\u0301", "Caf\u00e9.", "b"], ["caf\u00e9", "b"]),
        (["a b", "a\u00a0b", "a  b;", "c"], ["a b", "c"]),
        (["C", "C++", "C#"], ["C", "C++"]),
        ([".", "...", "a"], [".", "..."]),
    ],
)
def test_the_first_candidates_that_differ_are_kept(value: list[str], kept: list[str]) -> None:
    """A repeat or a blank among the spare ones costs nothing, not even a repair."""
    output = ListOutput(type="list", items=2, candidates=4)
    assert output.json_schema()["minItems"] == output.json_schema()["maxItems"] == 4
    assert output.read(value) == kept


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["a", "A", "a", " "], "differ"),
        (["a"], "exactly 4 items"),
        (["a", "b", "c", 1], "not blank"),
        (["a", "b", "c", "x" * 11], "at most 10 characters"),
    ],
)
def test_too_few_candidates_that_differ_are_refused(value: Any, words: str) -> None:
    """Spare ones are no licence for anything else."""
    with pytest.raises(InvalidAnswer, match=words):
        ListOutput(type="list", items=2, candidates=4, max_characters=10).read(value)


@pytest.mark.parametrize("value", [["a", "b", "c", "d"], ["a", "A", "b", "c"], ["a", "", "b", "c"]])
def test_of_too_many_items_the_first_that_differ_are_taken(value: list[str]) -> None:
    """A server that enforces no schema gives a few more, and the answer is there."""
    assert ListOutput(type="list", items=3).read(value) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {"type": {"type": "string"}, "properties": {"type": "object"}}},
    ],
)
def test_the_schema_itself_is_no_answer(schema: dict[str, Any]) -> None:
    """Small models give back what they were shown, and a schema that allows anything would allow itself."""
    output = JsonOutput(type="json", schema=schema)
    with pytest.raises(InvalidAnswer, match="not the schema itself"):
        output.read(json.loads(json.dumps(schema)))
    assert output.read({"type": "other"}) == {"type": "other"}


def test_items_that_repeat_are_named() -> None:
    """The model is shown which, so that it can name others. Long ones are cut, and not all are named."""
    output = ListOutput(type="list", items=4)
    with pytest.raises(InvalidAnswer) as caught:
        output.read(["Data", "data", "x" * 100, "x" * 100])
    assert str(caught.value) == (
        f'must be 4 items that differ from one another; more than once it has "data", "{"x" * 60}…"'
    )
    with pytest.raises(InvalidAnswer, match=r'more than once it has "0", "1", "2", "3", "4"$'):
        ListOutput(type="list", items=20).read([str(number) for number in range(10)] * 2)


@pytest.mark.parametrize(
    ("value", "usable"),
    [
        (["a", "b", "A", "b"], ["a", "b"]),
        (["a", "b", "c"], ["a", "b", "c"]),
        (["a", "b", ""], ["a", "b"]),
        (["a", "a", "a", "a"], None),
        (["a"], None),
    ],
)
def test_a_list_that_is_short_is_usable_from_at_least_on(value: list[str], usable: list[str] | None) -> None:
    """It is no answer yet, but may be taken where a repair brings nothing better. Fewer never may."""
    output = ListOutput(type="list", items=4, at_least=2)
    assert output.json_schema() == ListOutput(type="list", items=4).json_schema()
    with pytest.raises(InvalidAnswer) as caught:
        output.read(value)
    assert caught.value.usable == usable
    with pytest.raises(InvalidAnswer) as caught:
        ListOutput(type="list", items=4).read(value)
    assert caught.value.usable is None


def test_two_short_lists_are_joined() -> None:
    """The earlier one's items first, each once, and no more than were asked for."""
    output = ListOutput(type="list", items=4, at_least=2)
    assert output.joined(["a", "b"], ["B", "c"]) == ["a", "b", "c"]
    assert output.joined(["a", "b", "c"], ["d", "e"]) == ["a", "b", "c", "d"]


def test_a_null_for_an_optional_property_is_left_out() -> None:
    """Strict mode has no other way to leave one out. A null that the schema allows stays."""
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": ["string", "null"]}},
        "required": ["a"],
    }
    output = JsonOutput(type="json", schema=schema)
    assert output.read({"a": "x", "b": None, "c": None}) == {"a": "x", "c": None}
    with pytest.raises(InvalidAnswer, match=r'\$\.a: null is not of type "string"'):
        output.read({"a": None, "b": None})


def test_json_meets_its_own_schema() -> None:
    """The message says where it does not."""
    output = JsonOutput(type="json", schema=OWN_SCHEMA)
    assert output.json_schema() == OWN_SCHEMA
    assert output.read({"score": 0.5}) == {"score": 0.5}
    with pytest.raises(InvalidAnswer, match=r"\$\.score: 2 is greater than the maximum of 1"):
        output.read({"score": 2})
    with pytest.raises(InvalidAnswer, match='"score" is a required property'):
        output.read({})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"type": "prose"}, "'text', 'choice', 'list', 'json'"),
        ({}, "type"),
        ({"type": "text", "sentences": 0}, "sentences"),
        ({"type": "text", "sentence": 3}, "Extra inputs"),
        ({"type": "choice", "labels": ["only"]}, "at least 2"),
        ({"type": "choice", "labels": ["a", "A"]}, "must differ"),
        ({"type": "choice", "labels": ["a", ""]}, "blank"),
        ({"type": "choice", "labels": ["a", " b"]}, "space"),
        ({"type": "list"}, "items"),
        ({"type": "list", "items": 101}, "items"),
        ({"type": "list", "items": 3, "candidates": 2}, "at least as many as items"),
        ({"type": "list", "items": 3, "at_least": 4}, "at most as many as items"),
        ({"type": "list", "items": 3, "at_least": 0}, "at_least"),
        ({"type": "json", "schema": {"type": "nothing"}}, "not a JSON schema"),
        (
            {"type": "json", "schema": {"type": "string", "pattern": "("}},
            r"pattern: \( is no regular expression: missing \)",
        ),
        ({"type": "json", "schema": {"properties": {"a": {"$ref": "#/$defs/a"}}}}, r"no \$ref"),
        ({"type": "json", "schema": {"anyOf": [{"$dynamicRef": "#a"}]}}, r"no \$ref"),
        ({"type": "json"}, "schema"),
    ],
)
def test_an_output_that_could_not_work_is_refused_at_the_start(fields: dict[str, Any], words: str) -> None:
    """Not when the first document has been paid for."""
    with pytest.raises(ValidationError, match=words):
        OUTPUT.validate_python(fields)

"""JSON found in what models put round it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docsluice.validation.json_values import NO_JSON
from docsluice_consumer.tasks.answer_reading import Scan, objects_in, parsed, unwrapped

MOOD = frozenset({"mood"})
GOOD = {"mood": "good"}


def _found(text: str) -> list[dict[str, Any]]:
    return list(objects_in(text, fields=MOOD))


@pytest.mark.parametrize(
    "text",
    [
        '{"mood": "good"}',
        '\ufeff{"mood": "good"}',
        'Here it is:\n```json\n{"mood": "good"}\n```\nLet me know if you need more.',
        '~~~\n{"mood": "good"}\n~~~',
        '```json\n{"mood": "good"}',
        '{"mood": "good"}\n\nI hope this helps! {see above}',
        '[{"mood": "good"}]',
        '"{\\"mood\\": \\"good\\"}"',
        '<think>\nMaybe {"mood": "bad"}? No.\n</think>\n\n{"mood": "good"}',
        'The text is friendly. {"mood": "bad"}?\n</think>\n{"mood": "good"}',
        '<think>a {"mood": "bad"}</think>{"mood": "good"}<think>{"mood": "bad"} was wrong</think>',
        '<think>a</think>{"mood": "good"}</think>',
        '[THINK]{"mood": "bad"}[/THINK]{"mood": "good"}',
        '◁think▷{"mood": "bad"}◁/think▷{"mood": "good"}',
        '<THINKING>a {"mood": "</THINKING>{"mood": "good"}',
        "<think>{oops</think>" + '{"mood": "good"}',
        'Use {braces} and "quotes" {" so: {"mood": "good"}',
        'The user\'s set {1, 2, "a"} {"mood": "good"}',
        '{"reasoning": "a } and a { and a \\" in it", "mood": "good"} Bye',
        '<tool_call>{"name": "answer", "arguments": {"mood": "good"}}</tool_call>',
        '{"mood" {"mood": "good"}',
        '{"mood": "bad", "why": [1, 2} {"mood": "good"}',
        '{{"mood": "good"}}',
    ],
)
def test_the_answer_is_found_first(text: str) -> None:
    """Whatever is before it, behind it or round it. Drafts are ignored."""
    first = _found(text)[0]
    assert first["mood"] == "good"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "{}",
        '{"mood": "go',
        '<think>Maybe {"mood": "bad"}?</think>I do not know.',
        '{"mood": "good",}',
        "{'mood': 'good'}",
        '{"mood": NaN}',
        '{"mood": 1e999}',
        '{"mood": "\\ud83d"}',
        '{"Mood": "good"}',
        '"mood": "good"',
    ],
)
def test_what_is_no_answer_is_not_found(text: str) -> None:
    """A draft, half an object, one of other fields, and what Python or JavaScript would read and JSON is not."""
    assert _found(text) == []


def test_the_last_of_several_comes_first() -> None:
    """A model corrects itself and ends with what it means. One that holds another comes before it."""
    assert _found('{"mood": "bad"} No: {"mood": "good"}') == [GOOD, {"mood": "bad"}]
    assert _found('So: {"mood": {"mood": "bad"}}') == [{"mood": {"mood": "bad"}}, {"mood": "bad"}]


def test_a_think_tag_inside_a_string_is_text() -> None:
    """A document about models may well have an answer about think tags."""
    spoken = {"mood": "It ends its thoughts with </think>."}
    assert _found(json.dumps(spoken)) == [spoken, spoken]
    assert _found(f"<think>Hm.</think>{json.dumps(spoken)} Bye.") == [spoken]


def test_a_think_tag_that_nothing_closes_hides_nothing() -> None:
    """Such a model has put its answer among its thoughts."""
    assert _found('<think>It is friendly. {"mood": "good"}') == [GOOD]


def test_raw_line_breaks_in_strings_are_kept() -> None:
    """Not JSON by the letter, and clear all the same."""
    assert _found('So: {"mood": "two\nlines\tand a tab"} Bye') == [{"mood": "two\nlines\tand a tab"}]


def test_all_fields_must_be_there() -> None:
    """An object that has only some of them is a part, or another thing."""
    text = '{"mood": "good"} {"mood": "good", "tone": "dry"} {"tone": "dry"}'
    assert list(objects_in(text, fields=frozenset({"mood", "tone"}))) == [{"mood": "good", "tone": "dry"}]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (" good \n", "good"),
        ("<think>x</think>\ngood", "good"),
        ("```json\n[1]\n```", "[1]"),
        ("~~~\ngood\n~~~", "good"),
        ("a ```good```", "a ```good```"),
    ],
)
def test_thoughts_and_a_fence_are_taken_off(text: str, said: str) -> None:
    """Only a fence round all of it."""
    assert unwrapped(text) == said


def test_null_is_json() -> None:
    """And so is told from what is none."""
    assert parsed("null") is None
    assert parsed("nil") is NO_JSON


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.builds(lambda rest, mood: {**rest, "mood": mood}, st.dictionaries(st.text(max_size=4), VALUES), VALUES)
PROSE = st.text(alphabet='ab {}[]",:\\\n`1', max_size=30)


@given(answer=OBJECTS, before=PROSE, behind=st.text(alphabet="ab ,.\n`!"), indent=st.sampled_from([None, 2]))
@example(answer=GOOD, before='{"a": "', behind="", indent=None)
@example(answer={"}": 1, "mood": "good"}, before='{"', behind="", indent=None)
def test_any_object_is_found_behind_any_prose(
    answer: dict[str, Any], before: str, behind: str, indent: int | None
) -> None:
    """With braces and quotes in the prose, too."""
    found = _found(before + json.dumps(answer, indent=indent) + behind)
    assert answer in found


FRAGMENTS = [
    *("{", "}", "[", "]", '"', "\\", ",", ":", " ", "a", "1", "null", "[]", "{}", "<think>", "</think>", "```"),
    *('{"', '{"mood":', '{"a":[', '"mood"', '{"mood":1}', '{"\\"{', '{"a {"', "\n"),
]


@given(unit=st.lists(st.sampled_from(FRAGMENTS), min_size=1, max_size=5).map("".join))
@example(unit='{"')
@example(unit='{"{')
@example(unit='{"\\"{')
@example(unit='{"{"}')
@example(unit='{"a":"{"}')
def test_no_text_takes_more_than_a_few_looks_at_each_character(unit: str) -> None:
    """What a model repeats without an end is read in time in proportion to its length."""
    for times in (100, 1_000):
        text = unit * times
        scan = Scan(text, fields=MOOD)
        scan.spans()
        assert scan.steps <= 6 * len(text) + 10


@pytest.mark.parametrize("unit", ['{"mood":', '{"mood":1}', "[", '{"', "{", "</think>", "`"])
def test_an_endless_answer_is_read_without_a_fault(unit: str) -> None:
    """A megabyte of the same, nested too deeply for any parser: there is an answer in it or none."""
    text = unit * (1_000_000 // len(unit))
    assert all(found == {"mood": 1} for found in _found(text))
    unwrapped(text)


def test_of_a_very_long_answer_the_end_is_read() -> None:
    """Thoughts come first, and what is JSON as a whole is read whatever its length."""
    assert _found("thought " * 100_000 + '{"mood": "good"}') == [GOOD]
    assert _found('{"mood": "good"}' + " thought" * 100_000) == []
    long = {"mood": "x" * 1_000_000}
    assert _found(json.dumps(long))[0] == long

"""How a step reads what a model said: what is taken, and what is asked for again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docsluice_consumer.errors import InvalidAnswer
from docsluice_consumer.tasks.steps import Step
from tests.fakes.chat import right, say
from tests.fakes.samples import TASKS, steps


@pytest.mark.parametrize("mode", ["fanout", "fused"])
def test_a_right_answer_is_read(mode: str) -> None:
    """One value for each task of the step."""
    read: dict[str, Any] = {}
    for step in steps(mode=mode):
        read |= step.read(right(step.request("x")))
    assert read == {"summary": "words 0 words 1", "category": "tech"}


@pytest.mark.parametrize(
    "text",
    [
        '{"category": "Tech"}',
        ' \n{"category": "tech"}\n',
        '```json\n{"category": "tech"}\n```',
        '```\n{"category": "tech"}\n```',
        '```JSON\n{"category": "tech"}\n```\n',
        '```{"category": "tech"}```',
        '{"category": "tech", "confidence": 0.9}',
        '{"category": "other", "category": "tech"}',
        '\ufeff{"category": "tech"}',
        '{"category": "tech", "note": "two\nlines,\tindented"}',
        '[{"category": "tech"}]',
        '"{\\"category\\": \\"tech\\"}"',
        '{"answer": {"category": "tech"}}',
        '{{"category": "tech"}}',
        '{"category": {"kind": "unclear"}}\n{"category": "tech"}',
        '"tech"',
        "tech",
        "<think>It has chips.</think>\n\nTech\n",
        '```json\n"tech"\n```',
    ],
)
def test_the_wrappings_that_models_like_are_taken_off(text: str) -> None:
    """A code fence, spaces, another case, a field too many: the answer is there."""
    (_, category) = steps()
    assert category.read(say(text)) == {"category": "tech"}


KEYWORDS = {"name": "keywords", "prompt": "P", "output": {"type": "list", "items": 4, "at_least": 2}}


def _problem(step: Step, text: str) -> InvalidAnswer:
    with pytest.raises(InvalidAnswer) as caught:
        step.read(say(text))
    return caught.value


_SCORE = {"type": "object", "properties": {"score": {"type": "number"}}, "required": ["score"]}


@pytest.mark.parametrize(
    ("output", "text", "value"),
    [
        ({"type": "text"}, '"A text."', "A text."),
        ({"type": "text", "sentences": 2}, '["One.", "Two."]', "One. Two."),
        ({"type": "list", "items": 2}, '<think>…</think>["a", "b"]', ["a", "b"]),
        ({"type": "json", "schema": _SCORE}, '{"score": 1}', {"score": 1}),
        ({"type": "json", "schema": _SCORE}, 'It is:\n```json\n{"score": 1}\n```', {"score": 1}),
        ({"type": "json", "schema": {"type": "array", "items": {"type": "integer"}}}, "[1, 2]", [1, 2]),
    ],
)
def test_a_single_answer_may_come_without_the_object_round_it(output: dict[str, Any], text: str, value: Any) -> None:
    """One task was asked, and it can be the answer to nothing else."""
    (step,) = steps({"name": "own", "prompt": "P", "output": output})
    assert step.read(say(text)) == {"own": value}


@pytest.mark.parametrize(
    ("output", "value", "read"),
    [
        ({"type": "list", "items": 2}, '["a", "b"]', ["a", "b"]),
        ({"type": "text", "sentences": 2}, '["One.", "Two."]', "One. Two."),
        ({"type": "json", "schema": _SCORE}, '{"score": 1}', {"score": 1}),
        ({"type": "text"}, '["One.", "Two."]', '["One.", "Two."]'),
    ],
)
def test_a_field_may_be_encoded_twice(output: dict[str, Any], value: str, read: Any) -> None:
    """A list written into a string is the list, unless a text was asked for."""
    (step,) = steps({"name": "own", "prompt": "P", "output": output})
    assert step.read(say(json.dumps({"own": value}))) == {"own": read}


def test_a_list_in_a_string_is_asked_for_again_as_a_list() -> None:
    """What is wrong with it is what the list lacks."""
    (step,) = steps(KEYWORDS)
    assert _problem(step, json.dumps({"keywords": '["a", "b", "a", "a"]'})).usable == {"keywords": ["a", "b"]}
    assert str(_problem(step, '{"keywords": "a, b"}')) == "keywords must be an array of exactly 4 items"


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ({"type": "text"}, "A text without any JSON."),
        ({"type": "text"}, '"{\\"own\\": \\"A te"'),
        ({"type": "text"}, '["A text."]'),
        ({"type": "json", "schema": {"type": "object"}}, '{"error": "I cannot do that"}'),
        ({"type": "json", "schema": {}}, "[1, 2]"),
    ],
)
def test_what_may_be_something_else_is_no_bare_answer(output: dict[str, Any], text: str) -> None:
    """A sentence may be an excuse, and an object that anything fits may be a complaint."""
    (step,) = steps({"name": "own", "prompt": "P", "output": output})
    with pytest.raises(InvalidAnswer):
        step.read(say(text))


def test_of_several_tasks_none_is_answered_bare() -> None:
    """Nobody could tell whose answer it is."""
    (step,) = steps(mode="fused")
    with pytest.raises(InvalidAnswer, match="not a JSON object"):
        step.read(say('"tech"'))


def test_a_repaired_list_is_made_up_from_both_answers() -> None:
    """Asked for others, a model may well name only those."""
    (step,) = steps(KEYWORDS)
    problem = _problem(step, '{"keywords": ["a", "b", "a", "b"]}')
    assert problem.usable == {"keywords": ["a", "b"]}
    assert '"a", "b"' in str(problem)
    repaired = say('{"keywords": ["c", "d", "c", "c"]}')
    assert step.read_repaired(repaired, document="x", problem=problem) == {"keywords": ["a", "b", "c", "d"]}


def test_a_short_list_is_not_usable_beside_another_problem() -> None:
    """In one call for several tasks all of them must do."""
    (step,) = steps(KEYWORDS, TASKS[1], mode="fused")
    said = {"keywords": ["a", "b", "a", "b"], "category": "tech"}
    assert _problem(step, json.dumps(said)).usable == {"keywords": ["a", "b"], "category": "tech"}
    assert _problem(step, json.dumps(said | {"category": "sports"})).usable is None


def test_a_short_list_after_an_answer_that_was_none_is_taken() -> None:
    """It has been asked for again once. That was the repair."""
    (step,) = steps(KEYWORDS)
    repaired = say('{"keywords": ["c", "d", "c", "c"]}')
    problem = _problem(step, "nonsense")
    assert step.read_repaired(repaired, document="x", problem=problem) == {"keywords": ["c", "d"]}


@pytest.mark.parametrize(
    "items",
    [["c", "d", "That answer is not valid", "e"], ["Answer with one JSON object", "a", "a", "a"]],
)
def test_the_words_of_a_repair_are_no_items(items: list[str]) -> None:
    """Whether the list is whole or short."""
    (step,) = steps(KEYWORDS)
    problem = _problem(step, "nonsense")
    with pytest.raises(InvalidAnswer, match="keywords repeats what the model was told") as caught:
        step.read_repaired(say(json.dumps({"keywords": items})), document="x", problem=problem)
    assert caught.value.usable is None


def test_backticks_inside_an_answer_stay() -> None:
    """Only the fence is taken off."""
    (summary,) = steps({"name": "summary", "prompt": "P", "output": {"type": "text"}})
    assert summary.read(say('```json\n{"summary": "Use `x` or ```y```."}\n```')) == {"summary": "Use `x` or ```y```."}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it is not JSON"),
        ("The category is tech.", "it is not JSON"),
        ('{"category": "te', "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"category": NaN}', "it is not JSON"),
        ('{"category": "\\ud83d"}', "it is not JSON"),
        ('{"category": ' + "9" * 5000 + "}", "it is not JSON"),
        ('["tech"]', "it is not a JSON object"),
        ('"sports"', "it is not a JSON object"),
        ("null", "it is not a JSON object"),
        ("{}", "it has no field category"),
        ('{"Category": "tech"}', "it has no field category"),
        ('{"category": null}', "category must be a string that is not blank"),
        ('{"category": "sports"}', "category must be one of: tech, other"),
        ("tech, I think", "it is not JSON"),
        ('<think>{"category": "tech"}? Hm.</think>No idea.', "it is not JSON"),
        ('Here: {"kind": "tech"}. Good luck!', "it has no field category"),
        ('{"category": "tech",}', "it is not JSON"),
        ('{"category": "sports"} or rather {"category": "games"}', "category must be one of: tech, other"),
    ],
)
def test_an_answer_that_is_none_is_refused(text: str, words: str) -> None:
    """Whatever the model says, it is an answer or an invalid one, in words that the model can be shown."""
    (_, category) = steps()
    with pytest.raises(InvalidAnswer) as caught:
        category.read(say(text))
    assert str(caught.value) == words


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused(constant: str) -> None:
    """Python would read them, and a result with them would be no JSON."""
    (own,) = steps({"name": "own", "prompt": "P", "output": {"type": "json", "schema": {"type": "number"}}})
    with pytest.raises(InvalidAnswer, match="not JSON"):
        own.read(say(f'{{"own": {constant}}}'))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("1" * 5_000, "not JSON"),
        ("1" + "0" * 400, "is not a multiple of 3"),
        ("[" * 70 + "]" * 70, "must not be nested deeper than 64 levels"),
        ('{"a":' * 150 + "1" + "}" * 150, "must not be nested deeper than 64 levels"),
    ],
)
def test_a_value_beyond_all_measure_is_an_invalid_answer(value: str, words: str) -> None:
    """And no bug, in reading it or in writing the result."""
    schema = {"type": ["integer", "array", "object"], "multipleOf": 3}
    (own,) = steps({"name": "own", "prompt": "P", "output": {"type": "json", "schema": schema}})
    with pytest.raises(InvalidAnswer, match=words) as caught:
        own.read(say(f'{{"own": {value}}}'))
    assert len(str(caught.value)) < 700


def test_one_bad_field_spoils_a_fused_answer() -> None:
    """All tasks of a call are right or the call gets a repair."""
    (step,) = steps(mode="fused")
    with pytest.raises(InvalidAnswer, match="category must be one of"):
        step.read(say(json.dumps({"summary": ["a", "b"], "category": "sports"})))

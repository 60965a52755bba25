"""The provider of the benchmarks, and the check that all contenders met the same latencies."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.bench.latency import Latency, Span
from tests.bench.provider import Answers
from tests.bench.utilisation import WrongDrawsError, see_that_they_are_drawn

_LATENCY = Latency(median_seconds=0.8, sigma=0.7)
_SCHEMA = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}


def _body(text: str, **more: Any) -> bytes:
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": _SCHEMA}}
    turns = [{"role": "system", "content": "Do it."}, {"role": "user", "content": text}]
    return json.dumps({**more, "model": "m", "messages": turns, "response_format": form}).encode()


def test_an_answer_is_of_the_schema_and_due_at_once() -> None:
    """Without a latency, and counted."""
    answers = Answers(None)
    said, seconds = answers.answer(_body("a text"))
    assert seconds == 0
    assert isinstance(json.loads(json.loads(said)["choices"][0]["message"]["content"])["topic"], str)
    assert json.loads(answers.tell(b"get /v1/count http/1.1")) == 1
    assert json.loads(answers.tell(b"get /v1/calls http/1.1")) == []


def test_a_latency_is_of_the_text_whoever_asks() -> None:
    """Other words around it change nothing."""
    answers = Answers(_LATENCY)
    waits = [answers.answer(body)[1] for body in (_body("a text"), _body("a text", temperature=1), _body("another"))]
    assert waits == [_LATENCY.of("a text"), _LATENCY.of("a text"), _LATENCY.of("another")]
    assert [seconds for _, seconds in json.loads(answers.tell(b"get /v1/calls http/1.1"))] == waits


def test_the_last_request_of_each_schema_is_told() -> None:
    """So that the peers can ask the same."""
    answers = Answers(None)
    for text in ("first", "last"):
        answers.answer(_body(text))
    (request,) = json.loads(answers.tell(b"get /v1/requests http/1.1"))
    assert request["messages"][-1]["content"] == "last"


def test_calls_of_other_texts_are_told() -> None:
    """A contender that changes the text, or repeats calls, is not compared."""
    drawn = [_LATENCY.of(str(number)) for number in range(200)]
    calls = [Span(begin=1e9, end=1e9 + seconds) for seconds in drawn]
    see_that_they_are_drawn(calls[:150], drawn)
    with pytest.raises(WrongDrawsError, match="100 of 200"):
        see_that_they_are_drawn(2 * calls[:100], drawn)

"""The body of a call, with what its model takes and asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from docsluice_consumer.llm.capabilities import NO_JSON_OBJECT, NO_JSON_SCHEMA, STRICT, SYSTEM_ROLE
from docsluice_consumer.llm.chat import ChatRequest
from docsluice_consumer.llm.request_body import body_of
from tests.fakes.full_request import REQUEST, SCHEMA

NOTHING: frozenset[str] = frozenset()


def _body(*names: str, request: ChatRequest = REQUEST) -> dict[str, Any]:
    return body_of(request, without=frozenset(names))


def test_a_body_without_what_is_not_known() -> None:
    """Each thing alone is left out, and everything else is there."""
    full = _body()
    assert full["max_tokens"] == 50
    assert full["response_format"]["json_schema"] == {"name": "summary", "strict": True, "schema": SCHEMA}
    assert (full["top_k"], full["stop"], full["seed"], full["reasoning_effort"]) == (5, ["x"], 1, "low")
    for name in (
        "temperature",
        "top_p",
        "frequency_penalty",
        "reasoning_effort",
        "seed",
        "stop",
        "service_tier",
        "top_k",
    ):
        assert _body(name) == {key: value for key, value in full.items() if key != name}
    assert _body("max_tokens")["max_completion_tokens"] == 50
    assert not {"max_tokens", "max_completion_tokens"} & set(_body("max_tokens", "max_completion_tokens"))
    assert _body(STRICT)["response_format"]["json_schema"] == {"name": "summary", "schema": SCHEMA}
    assert _body(NO_JSON_SCHEMA)["response_format"] == {"type": "json_object"}
    assert "response_format" not in _body(NO_JSON_SCHEMA, NO_JSON_OBJECT)
    assert json.dumps(SCHEMA) in _body(NO_JSON_SCHEMA)["messages"][0]["content"]
    assert body_of(REQUEST, without=NOTHING, bounds=("max_completion_tokens",))["max_completion_tokens"] == 50


def test_the_system_turn_is_put_before_the_first_user_turn() -> None:
    """Where no system role is known: nothing that it says is lost."""
    assert _body(SYSTEM_ROLE)["messages"] == [
        {"role": "user", "content": "Answer.\n\nA document about response_format and temperature."}
    ]
    spelt = _body(SYSTEM_ROLE, NO_JSON_SCHEMA)["messages"]
    assert len(spelt) == 1
    assert json.dumps(SCHEMA) in spelt[0]["content"]


def test_what_a_model_asks_for_is_sent() -> None:
    """As the switch that it names, whatever the pipeline file says. A stream comes with its usage."""
    body = _body("enable_thinking=false", "stream=true", request=replace(REQUEST, extra_body={"enable_thinking": True}))
    assert (body["enable_thinking"], body["stream"], body["stream_options"]) == (False, True, {"include_usage": True})
    assert "stream_options" not in _body("stream=true", "stream_options")
    assert not {"stream", "stream_options"} & set(_body())

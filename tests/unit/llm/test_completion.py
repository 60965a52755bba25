"""Reading a completion, as far as a server has filled it in."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.llm import completion
from docsluice_consumer.llm.chat import Answer
from docsluice_consumer.llm.quoted import Quoted

TEXT = '{"mood": "good"}'


def _answer(message: Any, **more: Any) -> Answer:
    choice = {"message": message, "finish_reason": more.pop("finish_reason", "stop"), **more.pop("choice", {})}
    answer = completion.answer_of({"choices": [choice], **more})
    assert answer is not None
    return answer


@pytest.mark.parametrize(
    "message",
    [
        {"content": TEXT},
        {"content": [{"type": "text", "text": TEXT}]},
        {"content": [{"type": "text", "text": TEXT[:5]}, {"type": "text", "text": TEXT[5:]}]},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": TEXT},
            ]
        },
        {"content": [{"type": "reasoning", "text": "hm"}, TEXT]},
        {"content": [{"type": "output_text", "text": {"value": TEXT}}]},
        {"content": {"type": "text", "text": TEXT}},
        {"content": {"mood": "good"}},
        {"content": TEXT, "reasoning_content": "hm", "reasoning": "hm"},
        {"content": None, "tool_calls": [{"type": "function", "function": {"name": "x", "arguments": TEXT}}]},
        {"content": "", "tool_calls": [{"function": {"name": "x", "arguments": {"mood": "good"}}}]},
        {"content": None, "function_call": {"name": "x", "arguments": TEXT}},
    ],
    ids=str,
)
def test_the_answer_wherever_it_stands(message: dict[str, Any]) -> None:
    """As text, in parts, parsed, or in the call of a tool. Thoughts are left out."""
    assert _answer(message).text == TEXT


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"content": None, "reasoning_content": f"It should be {TEXT}"},
        {"content": "", "reasoning": f"{TEXT} is a draft."},
        {"content": None, "reasoning_content": 7},
        {"content": [{"type": "thinking", "thinking": TEXT}]},
        {"content": None, "tool_calls": [None, {"function": None}, {"function": {"arguments": " "}}]},
        {"content": 7, "tool_calls": "words"},
    ],
    ids=str,
)
def test_an_answer_that_is_nowhere(message: dict[str, Any]) -> None:
    """What a model has thought is not its answer."""
    assert _answer(message).text == ""


@pytest.mark.parametrize(
    "message",
    [{"content": None, "reasoning_content": f"\n{TEXT}\n"}, {"content": "", "reasoning": TEXT, "tool_calls": []}],
    ids=str,
)
def test_an_answer_that_was_filed_among_the_thoughts(message: dict[str, Any]) -> None:
    """vLLM, SGLang and LM Studio take a model that answers at once for one that thinks: its JSON is all there is."""
    assert _answer(message).text == TEXT
    assert _answer(message | {"content": "{}"}).text == "{}"
    assert _answer(message, finish_reason="length").text == ""
    assert _answer(message, finish_reason="content_filter").text == ""


def test_a_choice_of_the_older_kind() -> None:
    """Its text stands beside where the message would."""
    answer = completion.answer_of({"choices": [{"text": TEXT, "finish_reason": "length"}]})
    assert answer is not None
    assert (answer.text, answer.finish_reason) == (TEXT, "length")


def test_a_whole_answer_in_the_shape_of_a_piece() -> None:
    """Gateways that translate may put it where a stream would."""
    answer = completion.answer_of({"choices": [{"delta": {"content": TEXT}, "finish_reason": "length"}]})
    assert answer is not None
    assert (answer.text, answer.finish_reason) == (TEXT, "length")
    assert _answer({"content": TEXT}, choice={"delta": {"content": "no"}}).text == TEXT


@pytest.mark.parametrize(
    "message", [{"content": None, "refusal": "No."}, {"content": [{"type": "refusal", "refusal": "No."}]}], ids=str
)
def test_a_refusal(message: dict[str, Any]) -> None:
    """As a field, or as a part."""
    assert (_answer(message).refusal, _answer(message).text) == ("No.", "")
    assert _answer({"content": TEXT, "refusal": ""}).refusal is None


FILTERED = {"hate": {"filtered": False}, "violence": {"filtered": True, "severity": "high"}}


def test_azures_filter_beside_the_message() -> None:
    """It may say so there only, and then there is no answer."""
    assert _answer({"content": ""}, choice={"content_filter_results": FILTERED}).finish_reason == "content_filter"
    asked = _answer({"content": None}, prompt_filter_results=[{"content_filter_results": FILTERED}])
    assert asked.finish_reason == "content_filter"
    assert _answer({"content": TEXT}, choice={"content_filter_results": FILTERED}).finish_reason == "stop"
    assert (
        _answer({"content": ""}, choice={"content_filter_results": {"hate": {"filtered": False}}}).finish_reason
        == "stop"
    )


def test_usage_and_cost_come_along() -> None:
    """As the provider tells them."""
    answer = _answer({"content": TEXT}, usage={"prompt_tokens": 5, "completion_tokens": 3, "cost": 0.25})
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.stated_cost_usd) == (5, Decimal("0.25"))


def _what_it_is(content: bytes, content_type: str) -> str:
    read = completion.read(content, quoted=Quoted(), secrets=(), keys=())
    return completion.what_it_is(content, read.body, content_type=content_type)


@pytest.mark.parametrize(
    ("body", "content_type", "words"),
    [
        (b"", "application/json", "an empty body (application/json)"),
        (b" \n", "", "an empty body (no content type)"),
        (b"<title>Log in</title>", "text/html; x=y", "no JSON (text/html): a web page with the title “Log in”"),
        (b"Service  starting", "text/plain", "no JSON (text/plain): Service starting"),
        (b'{"id": 1, "output": 2}', "text/json", "JSON without a message (text/json), its keys are: id, output"),
        (b"[1]", "application/json", "JSON that is no object (application/json): list"),
        (b'{"choices": [{"mess', "application/json", 'no JSON (application/json): {"choices": [{"mess'),
        (b"[" * 100_000, "application/json", f"no JSON (application/json): {'[' * 200}"),
        (b"\xff\xfe\xfa", "application/json", "no JSON (application/json): \ufffd\ufffd\ufffd"),
    ],
)  # fmt: skip
def test_what_came_instead(body: bytes, content_type: str, words: str) -> None:
    """In a line, to show what the address really serves."""
    assert _what_it_is(body, content_type) == words


def test_a_key_that_a_server_echoes_is_cut_out() -> None:
    """Of the text and of the refusal, whatever is round it. They go into results and dead letters."""
    message = {"content": "Authorization: Bearer sk-verysecret\n", "refusal": "No, sk-verysecret."}
    answer = completion.answer_of({"choices": [{"message": message}]}, secrets=["sk-verysecret"])
    assert answer is not None
    assert (answer.text, answer.refusal) == ("Authorization: Bearer [secret]\n", "No, [secret].")


NAMES = st.sampled_from(
    ["choices", "message", "content", "text", "type", "usage", "tool_calls", "function", "error", "x"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)


@given(JSON)
def test_whatever_json_comes_is_an_answer_or_none(body: Any) -> None:
    """And never an error of ours."""
    answer = completion.answer_of(body)
    completion.is_blocked(body)
    assert answer is None or isinstance(answer.text, str)
    assert len(_what_it_is(json.dumps(body).encode(), "x")) < 3000

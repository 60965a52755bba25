"""What the rehearsal provider makes of a call, before any HTTP."""

import json
from typing import Any

import pytest

from docsluice_local.rehearsal.chat import ChatCall, UnreadableRequestError, read_call
from docsluice_local.rehearsal.faults import Fault
from docsluice_local.rehearsal.judge import ALL_MODELS, Judge, Verdict
from docsluice_local.rehearsal.settings import RehearsalSettings

_SCHEMA = {"type": "object", "properties": {"category": {"enum": ["tech", "other"]}}, "required": ["category"]}


def _body(text: str = "A document.", **more: Any) -> bytes:
    messages = [{"role": "system", "content": "Classify."}, {"role": "user", "content": text}]
    return json.dumps({"model": "m", "messages": messages, **more}).encode()


def _call(text: str = "A document.", *, task: str = "category", **more: Any) -> ChatCall:
    named = {"name": task, "strict": True, "schema": _SCHEMA}
    return read_call(_body(text, response_format={"type": "json_schema", "json_schema": named}, **more))


def _judge(**settings: Any) -> Judge:
    return Judge(settings=RehearsalSettings(**settings), now=0)


def _error_code(verdict: Verdict) -> str | None:
    assert verdict.reply is not None
    return verdict.reply.error_code


def _content(verdict: Verdict) -> str:
    assert verdict.reply is not None
    return str(verdict.reply.body["choices"][0]["message"]["content"])


def test_the_order_of_calls_changes_nothing() -> None:
    """Two runs that differ only in the order of arrival meet the same latencies, faults and answers."""
    settings = {"median_seconds": 0.8, "sigma": 0.7, "fault_rates": {Fault.INTERNAL_ERROR: 0.3}}
    calls = [_call(f"Document {number}.") for number in range(40)] * 2
    forward, backward = _judge(**settings), _judge(**settings)
    seen_forward = [forward.decide(call, now=0) for call in calls]
    seen_backward = [backward.decide(call, now=0) for call in reversed(calls)]
    key = repr
    assert sorted(seen_forward, key=key) == sorted(seen_backward, key=key)
    assert {verdict.fault for verdict in seen_forward} == {None, Fault.INTERNAL_ERROR}


def test_marked_calls_are_counted_for_each_text_and_task() -> None:
    """A marker's count is not used up by another task, nor by another document."""
    judge = _judge()
    text = "[[rehearse:500x1]] A document."
    fates = [judge.decide(_call(text, task=task), now=0).fault for task in ("summary", "category", "summary")]
    assert fates == [Fault.INTERNAL_ERROR, Fault.INTERNAL_ERROR, None]
    assert judge.decide(_call(f"{text} Another."), now=0).fault is Fault.INTERNAL_ERROR


def test_a_marker_still_counts_when_the_answer_is_asked_for_again() -> None:
    """The document stays in the conversation, though it is no longer its last message."""
    messages = [
        {"role": "user", "content": "[[rehearse:invalid_jsonx2]] A document."},
        {"role": "assistant", "content": "{"},
        {"role": "user", "content": "That was no JSON."},
    ]
    judge = _judge()
    first = read_call(json.dumps({"model": "m", "messages": messages[:1]}).encode())
    second = read_call(json.dumps({"model": "m", "messages": messages}).encode())
    assert [judge.decide(call, now=0).fault for call in (first, second, second)] == [Fault.INVALID_JSON] * 2 + [None]


def test_a_call_over_the_requests_limit_is_told_when_to_come_back() -> None:
    """Sixty a minute pass one a second."""
    judge = _judge(requests_per_minute=60)
    assert _error_code(judge.decide(_call("one"), now=0)) is None
    limited = judge.decide(_call("two"), now=0).reply
    assert limited is not None
    assert (limited.status, limited.error_code) == (429, "rate_limit_exceeded")
    assert 0 < int(limited.headers["retry-after-ms"]) <= 1_000
    assert _error_code(judge.decide(_call("three"), now=1.1)) is None


def test_tokens_are_reserved_before_the_call_and_settled_after_it() -> None:
    """A reservation blocks the next call. Settling to the real usage makes room for it."""
    judge = _judge(tokens_per_minute=6_000, reserved_output_tokens=1_000)
    verdict = judge.decide(_call("one"), now=0)
    assert verdict.usage is not None
    assert verdict.reserved.tokens > 1_000
    assert _error_code(judge.decide(_call("two"), now=0)) == "rate_limit_exceeded"
    judge.settle(verdict, now=0)
    assert _error_code(judge.decide(_call("two"), now=0)) is None


def test_a_call_larger_than_a_whole_minute_can_never_pass() -> None:
    """It is told so, in the words that tell it apart from a passing limit."""
    judge = _judge(tokens_per_minute=1_000)
    reply = judge.decide(_call("word " * 2_000), now=0).reply
    assert reply is not None
    assert reply.status == 429
    assert reply.body["error"]["message"].startswith("Request too large")
    assert "retry-after" not in reply.headers


def test_limit_headers_are_sent_only_where_there_is_a_limit() -> None:
    """As with the servers that send none."""
    assert _judge().limit_headers(model="m", now=0) == {}
    judge = _judge(requests_per_minute=600)
    judge.decide(_call(), now=0)
    assert judge.limit_headers(model="m", now=0) == {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
    }


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"models": ("other",)}, "model_not_found"),
        ({"context_tokens": 2}, "context_length_exceeded"),
        ({"json_schema": False}, "invalid_request_error"),
    ],
)
def test_what_the_provider_does_not_have_is_an_error(settings: dict[str, Any], code: str) -> None:
    """Models, context and structured outputs can be configured away."""
    assert _error_code(_judge(**settings).decide(_call(), now=0)) == code


def test_a_schema_spelt_out_in_the_prompt_is_met() -> None:
    """A client that falls back to plain JSON mode still gets a usable answer."""
    messages = [
        {"role": "system", "content": f"Classify. It must meet this JSON schema: {json.dumps(_SCHEMA)} Nothing else."},
        {"role": "user", "content": "A document with {braces}."},
    ]
    body = {"model": "m", "messages": messages, "response_format": {"type": "json_object"}}
    answered = _judge(json_schema=False).decide(read_call(json.dumps(body).encode()), now=0)
    assert json.loads(_content(answered))["category"] in {"tech", "other"}


def test_an_answer_over_its_bound_is_cut() -> None:
    """The bound on output is kept, with the finish reason that says so."""
    reply = _judge().decide(_call(max_tokens=2), now=0).reply
    assert reply is not None
    assert reply.body["choices"][0]["finish_reason"] == "length"
    assert reply.body["usage"]["completion_tokens"] == 2


def test_a_long_preamble_is_read_from_the_cache_the_second_time() -> None:
    """Whole blocks of 128 tokens, from 1,024 on."""
    messages = [{"role": "system", "content": "x" * 6_000}, {"role": "user", "content": "A document."}]
    body = json.dumps({"model": "m", "messages": messages}).encode()
    judge = _judge()
    used = [judge.decide(read_call(body), now=0).usage for _ in range(2)]
    assert [usage.cached_tokens for usage in used if usage] == [0, 1_408]


def test_an_outage_meets_every_call() -> None:
    """Marked or not, until it ends."""
    judge = _judge()
    judge.outages[ALL_MODELS] = Fault.OVERLOADED
    assert judge.decide(_call(), now=0).fault is Fault.OVERLOADED
    del judge.outages[ALL_MODELS]
    assert judge.decide(_call(), now=0).fault is None


def test_a_held_call_has_a_good_answer_ready() -> None:
    """Only its time is the tester's to say. The answer itself is not spoilt."""
    held = _judge().decide(_call("[[rehearse:hold]] A document."), now=0)
    assert held.fault is Fault.HOLD
    assert json.loads(_content(held))["category"] in {"tech", "other"}


@pytest.mark.parametrize(
    "body",
    [
        b"not json",
        b"[]",
        b'{"model": "m"}',
        b'{"model": "m", "messages": []}',
        b'{"messages": [{"role": "user", "content": "hi"}]}',
        b'{"model": "m", "messages": [{"role": "user", "content": "\\ud800"}]}',
        _body(stream=True),
    ],
)
def test_what_is_no_request_is_refused(body: bytes) -> None:
    """With a reason, not with a stack trace."""
    with pytest.raises(UnreadableRequestError):
        read_call(body)


def test_content_may_come_in_parts() -> None:
    """Only the text of the parts counts."""
    parts = [{"type": "text", "text": "A doc"}, {"type": "text", "text": "ument."}]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]}).encode()
    assert read_call(body).document == "A document."

"""The rehearsal provider's limits together: which one a call meets, and what each has counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from docsluice_local.rehearsal.chat import ChatCall, read_call
from docsluice_local.rehearsal.command import rehearse, settings_of
from docsluice_local.rehearsal.faults import Fault
from docsluice_local.rehearsal.judge import Judge, Verdict
from docsluice_local.rehearsal.limits import Amounts, Limited, Limits
from docsluice_local.rehearsal.load import slowdown
from docsluice_local.rehearsal.replies import Reply, duration
from docsluice_local.rehearsal.settings import RehearsalSettings

_CALL = Amounts(input_tokens=30, output_tokens=10)


def _limits(per_minute: dict[str, float], *, by_model: bool = False) -> Limits:
    named = {Limited(what): limit for what, limit in per_minute.items()}
    return Limits(per_minute=named, window_seconds=1, by_model=by_model, now=0)


def _call(text: str = "A document.", *, model: str = "m", max_tokens: int = 100) -> ChatCall:
    messages = [{"role": "user", "content": text}]
    return read_call(json.dumps({"model": model, "messages": messages, "max_tokens": max_tokens}).encode())


def _judge(**settings: Any) -> Judge:
    return Judge(settings=RehearsalSettings(**settings), now=0)


def _reply(verdict: Verdict) -> Reply:
    assert verdict.reply is not None
    return verdict.reply


@pytest.mark.parametrize(
    ("what", "passing"),
    [(Limited.REQUESTS, 10), (Limited.TOKENS, 3), (Limited.INPUT_TOKENS, 4), (Limited.OUTPUT_TOKENS, 10)],
)
def test_each_limit_counts_its_own(what: Limited, passing: int) -> None:
    """Of calls with 30 tokens in and 10 out, windows of 10 requests or 100 tokens each pass another number."""
    limits = _limits({what: 600 if what is Limited.REQUESTS else 6_000})
    refused = [limits.reserve(_CALL, model="m", now=0) for _ in range(20)]
    assert refused.index(next(filter(None, refused))) == passing
    assert {excess.what for excess in refused if excess} == {what}


def test_a_call_refused_for_one_kind_of_tokens_takes_nothing_of_the_other() -> None:
    """Only a request is used up by it."""
    limits = _limits({"requests": 600, "input_tokens": 60_000, "output_tokens": 60})
    assert limits.reserve(_CALL, model="m", now=0) is None
    before = limits.headers(model="m", now=0)
    refused = limits.reserve(_CALL, model="m", now=0)
    assert refused is not None
    assert refused.what is Limited.OUTPUT_TOKENS
    after = limits.headers(model="m", now=0)
    assert {name for name in before if before[name] != after[name]} == {
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    }


def test_each_kind_of_tokens_is_settled_apart() -> None:
    """What was reserved and not used comes back to the limit that it was taken from."""
    limits = _limits({"input_tokens": 6_000, "output_tokens": 6_000})
    limits.reserve(Amounts(input_tokens=50, output_tokens=80), model="m", now=0)
    limits.settle(
        Amounts(input_tokens=50, output_tokens=80), Amounts(input_tokens=60, output_tokens=20), model="m", now=0
    )
    headers = limits.headers(model="m", now=0)
    assert headers["x-ratelimit-remaining-input-tokens"] == "5940"
    assert headers["x-ratelimit-remaining-output-tokens"] == "5980"


def test_models_share_the_limits_unless_told_otherwise() -> None:
    """One a minute: the second model's call passes only where each model has a minute of its own."""
    for by_model, passes in ((False, False), (True, True)):
        limits = _limits({"requests": 1}, by_model=by_model)
        assert limits.reserve(_CALL, model="a", now=0) is None
        assert (limits.reserve(_CALL, model="b", now=0) is None) is passes
        assert limits.reserve(_CALL, model="a", now=0) is not None


def test_the_limits_of_all_models_change_at_once() -> None:
    """Lowered, lifted or new: also for a model that was counted before."""
    limits = _limits({"requests": 600, "input_tokens": 60}, by_model=True)
    limits.reserve(_CALL, model="a", now=0)
    limits.change({Limited.REQUESTS: 60, Limited.INPUT_TOKENS: None, Limited.OUTPUT_TOKENS: 1_200}, now=0)
    assert limits.per_minute == {Limited.REQUESTS: 60, Limited.OUTPUT_TOKENS: 1_200}
    for model in ("a", "b"):
        headers = limits.headers(model=model, now=0)
        assert {name: value for name, value in headers.items() if name.startswith("x-ratelimit-limit-")} == {
            "x-ratelimit-limit-requests": "60",
            "x-ratelimit-limit-output-tokens": "1200",
        }


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
def test_a_limit_of_nothing_is_refused(limit: float) -> None:
    """No call could ever pass, so it can only be a mistake."""
    with pytest.raises(ValueError, match="more than 0"):
        _limits({"requests": 600}).change({Limited.REQUESTS: limit}, now=0)


@pytest.mark.parametrize("what", [Limited.TOKENS, Limited.INPUT_TOKENS, Limited.OUTPUT_TOKENS])
def test_a_refused_call_is_told_which_limit_it_met(what: Limited) -> None:
    """In the error's type, in its words, in the headers and in the verdict that is logged."""
    judge = _judge(**{f"{what}_per_minute": 200.0})
    judge.decide(_call("word " * 80), now=0)
    verdict = judge.decide(_call("word " * 80), now=0)
    reply = _reply(verdict)
    assert reply.body["error"]["type"] == what
    assert what.replace("_", " ") in reply.body["error"]["message"]
    assert f"x-ratelimit-remaining-{what.replace('_', '-')}" in judge.limit_headers(model="m", now=0)
    assert verdict.limited_by is what
    assert verdict.reserved == Amounts()


def test_input_and_output_are_reserved_apart() -> None:
    """The verdict holds what each limit has counted before the call runs: the prompt, and the output's bound."""
    verdict = _judge(reserved_output_tokens=60).decide(_call("word " * 80, max_tokens=100), now=0)
    assert verdict.reserved == Amounts(input_tokens=100, output_tokens=60)


def test_a_call_larger_than_a_minute_of_output_can_never_pass() -> None:
    """Its 429 names the output limit and gives no time to come back."""
    reply = _reply(_judge(output_tokens_per_minute=50).decide(_call(max_tokens=100), now=0))
    assert reply.body["error"]["message"].startswith("Request too large on output tokens")
    assert "retry-after" not in reply.headers


@pytest.mark.parametrize("fault", [None, Fault.RATE_LIMITED])
def test_a_provider_can_keep_silent_about_its_limits(fault: Fault | None) -> None:
    """No x-ratelimit headers, no Retry-After, and no word of it in the error: neither for a limit nor for a fault."""
    judge = _judge(requests_per_minute=1, limit_headers=False, fault_rates={fault: 1.0} if fault else {})
    judge.decide(_call(), now=0)
    limited = _reply(judge.decide(_call(), now=0 if fault is None else 100))
    assert limited.status == 429
    assert limited.headers == {}
    assert "try again" not in limited.body["error"]["message"]
    assert judge.limit_headers(model="m", now=0) == {}


def test_limits_by_model_are_the_judges_too() -> None:
    """A call and its headers are measured by the model that it names."""
    judge = _judge(requests_per_minute=1, limits_by_model=True)
    assert [_reply(judge.decide(_call(model=model), now=0)).status for model in ("a", "b", "a")] == [200, 200, 429]
    assert judge.limit_headers(model="c", now=0)["x-ratelimit-remaining-requests"] == "1"


def test_load_slows_a_server_only_past_its_knee() -> None:
    """Up to N nothing. Past it the latency grows with the power that was asked for."""
    assert [slowdown(calls, past=10, power=1) for calls in (1, 10, 20, 40)] == [1, 1, 2, 4]
    assert slowdown(40, past=10, power=1.5) == 8
    assert slowdown(10_000, past=None, power=1.5) == 1


def test_a_call_takes_longer_when_many_are_in_flight() -> None:
    """The judge asks how many there are. The same call takes four times as long at four times the knee."""
    latencies = [
        _judge(median_seconds=0.5, slow_past=8).decide(_call(), now=0, in_flight=calls).latency_seconds
        for calls in (8, 32)
    ]
    assert latencies == [0.5, 2.0]


@pytest.mark.parametrize("settings", [{"slow_past": 0}, {"slow_power": -1.0}, {"output_tokens_per_minute": 0.0}])
def test_settings_that_cannot_be_meant_are_refused(settings: dict[str, Any]) -> None:
    """A rehearsal of nonsense must not begin."""
    with pytest.raises(ValueError, match=r"slow_past|slow_power|limits"):
        RehearsalSettings(**settings)


def test_every_setting_of_limits_and_load_has_its_flag() -> None:
    """What the command line says is what the provider does. Without flags it does nothing."""
    flags = "--input-tokens-per-minute 1 --output-tokens-per-minute 2 --tokens-per-minute 3 --requests-per-minute 4"
    more = "--limits-by-model --no-limit-headers --slow-past 5 --slow-power 1.5"
    asked = _asked_for([*flags.split(), *more.split()])
    assert asked == RehearsalSettings(
        input_tokens_per_minute=1,
        output_tokens_per_minute=2,
        tokens_per_minute=3,
        requests_per_minute=4,
        limits_by_model=True,
        limit_headers=False,
        slow_past=5,
        slow_power=1.5,
    )
    assert _asked_for([]) == RehearsalSettings()


def test_faults_and_models_have_their_flags() -> None:
    """A fault by its name, several models, and what some servers do not have."""
    flags = "--fault-rate 429=0.25 --fault-rate hang=0.5 --model a --model b --without-json-schema"
    assert _asked_for(flags.split()) == RehearsalSettings(
        fault_rates={Fault.RATE_LIMITED: 0.25, Fault.HANG: 0.5}, models=("a", "b"), json_schema=False
    )


def _asked_for(arguments: list[str]) -> RehearsalSettings:
    _, bound, _ = rehearse.parse_args(arguments, exit_on_error=False)
    bound.apply_defaults()
    given = bound.arguments
    return settings_of(given["settings"], character=given["character"], fault_rate=given["fault_rate"])


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.02, "20ms"), (7.66, "7.66s"), (60.0, "1m0s"), (119.7, "1m59.7s"), (179.56, "2m59.56s")]
)
def test_a_reset_is_written_as_go_writes_durations(seconds: float, written: str) -> None:
    """No minute has sixty seconds."""
    assert duration(seconds) == written

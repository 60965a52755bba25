"""The audit of what limits let through, on call logs that are made up: it must see an overshoot above all."""

from __future__ import annotations

from typing import Any

import pytest

from docsluice_local.rehearsal.call_log import Call
from docsluice_local.rehearsal.limits import Limited
from tests.bench.limits import audit
from tests.bench.limits.audit import NothingToAuditError, Price, Span


def _call(at: float, *, seconds: float = 0.5, status: int = 200, **more: Any) -> Call:
    fields = {"in_flight": 1, "attempt": 1, "prompt_tokens": 80, "completion_tokens": 20, **more}
    return Call(started_at=at, ended_at=at + seconds, status=status, **fields)


def _steady(*, seconds: int, per_second: int, since: float = 1_000.0, **more: Any) -> list[Call]:
    """Calls at equal distances. The last one begins as the time is over."""
    return [_call(since + n / per_second, **more) for n in range(seconds * per_second + 1)]


def test_the_whole_limit_is_a_share_of_one() -> None:
    """Ten calls a second of 80 and 20 tokens are exactly 600 requests, 48,000 and 12,000 tokens a minute."""
    calls = _steady(seconds=60, per_second=10)
    span = audit.steady_span(calls, ramp_seconds=10)
    limits = {
        Limited.REQUESTS: 600,
        Limited.INPUT_TOKENS: 48_000,
        Limited.OUTPUT_TOKENS: 12_000,
        Limited.TOKENS: 60_000,
    }
    for what, per_minute in limits.items():
        assert audit.used_share(calls, span, what=what, per_minute=per_minute) == pytest.approx(1.0, abs=1e-9)
    assert audit.used_share(calls, span, what=Limited.REQUESTS, per_minute=500) == pytest.approx(1.2)


def test_neither_the_ramp_nor_the_dry_end_counts() -> None:
    """Slow first seconds and retries after the last new request leave the share of the steady state as it is."""
    ramp = _steady(seconds=10, per_second=1, since=990)[:-1]
    calls = [*ramp, *_steady(seconds=30, per_second=10), *(_call(1_030 + n, attempt=2) for n in range(1, 20))]
    span = audit.steady_span(calls, ramp_seconds=10)
    assert (span.begin, span.end) == (1_000, 1_030)
    assert audit.used_share(calls, span, what=Limited.REQUESTS, per_minute=600) == pytest.approx(1.0)


def test_a_steady_state_can_be_ended_by_hand() -> None:
    """Where a run is cut short, its end is when that was."""
    span = audit.steady_span(_steady(seconds=60, per_second=10), ramp_seconds=5, until=1_020.05)
    assert (span.begin, span.end) == (1_005, 1_020)


@pytest.mark.parametrize("calls", [[], [_call(1_000)], _steady(seconds=3, per_second=10)])
def test_a_log_that_is_too_short_is_no_proof(calls: list[Call]) -> None:
    """It raises instead of finding everything in order."""
    with pytest.raises(NothingToAuditError):
        audit.steady_span(calls, ramp_seconds=10)


def test_only_answers_count_as_use() -> None:
    """What was refused, or broke, has not used the limit for anything."""
    calls = _steady(seconds=60, per_second=10)
    for call in calls[::2]:
        call.status = 503
    span = Span(begin=1_000, end=1_060)
    assert audit.used_share(calls, span, what=Limited.REQUESTS, per_minute=600) == pytest.approx(0.5)


def test_large_calls_are_not_counted_by_halves() -> None:
    """A call for every ten seconds of a limit: the share is one whenever the span begins and ends."""
    calls = [_call(1_000 + 10 * n, prompt_tokens=1_000, completion_tokens=0) for n in range(20)]
    for ramp_seconds in (0, 3, 15):
        span = audit.steady_span(calls, ramp_seconds=ramp_seconds)
        share = audit.used_share(calls, span, what=Limited.TOKENS, per_minute=6_000)
        assert share == pytest.approx(1.0)


def test_what_the_provider_counts_of_each_call() -> None:
    """Its use when it was answered, its reservation when it was not, and no request when it was one too many."""
    reserved = {"reserved_input_tokens": 90, "reserved_output_tokens": 256}
    ok, broken = _call(0, **reserved), _call(0, status=0, **reserved)
    one_too_many = _call(0, status=429, limited_by="requests")
    too_large = _call(0, status=429, limited_by="output_tokens")
    assert [audit.counted(ok, what) for what in Limited] == [1, 100, 80, 20]
    assert [audit.counted(broken, what) for what in Limited] == [1, 346, 90, 256]
    assert [audit.counted(one_too_many, what) for what in Limited] == [0, 0, 0, 0]
    assert [audit.counted(too_large, what) for what in Limited] == [1, 0, 0, 0]


def test_slots_are_used_while_calls_are_under_way() -> None:
    """Two calls at a time in three slots. What lies outside of the span does not count, nor what has no end."""
    calls = [_call(float(n), seconds=2) for n in range(990, 1_020)]
    assert audit.occupied_share(calls, Span(begin=1_000, end=1_010), slots=3) == pytest.approx(2 / 3)
    endless = _call(1_005)
    endless.ended_at = None
    assert audit.occupied_share([endless], Span(begin=1_000, end=1_010), slots=1) == pytest.approx(0.5)


def test_throughput_is_answers_that_have_ended() -> None:
    """Those begun before the span count when they end in it, failures never."""
    before = [_call(990 + n / 4, seconds=10) for n in range(41)]
    calls = [*before, *[_call(1_003, status=503)] * 9]
    assert audit.answers_per_second(calls, Span(begin=1_000, end=1_010)) == pytest.approx(4)


def test_an_overshoot_in_any_minute_is_seen() -> None:
    """Also across the edges of two minutes that are in order each, and if it is a single call."""
    assert audit.fullest_window(_steady(seconds=300, per_second=8), what=Limited.REQUESTS) == 480
    late, early = _steady(seconds=30, per_second=20, since=1_030), _steady(seconds=30, per_second=20, since=1_060)
    assert audit.fullest_window([*early, *late], what=Limited.REQUESTS) >= 1_200
    extra = [*_steady(seconds=300, per_second=8), _call(1_150.01)]
    assert audit.fullest_window(extra, what=Limited.REQUESTS) == 481


def test_a_window_counts_tokens_that_were_reserved_in_vain() -> None:
    """A call that broke has taken its reservation from everybody."""
    calls = [_call(1_000 + n, status=0, reserved_input_tokens=100) for n in range(120)]
    assert audit.fullest_window(calls, what=Limited.INPUT_TOKENS) == 6_000
    assert audit.fullest_window(calls, what=Limited.INPUT_TOKENS, seconds=10) == 1_000


def test_refusals_are_a_share_of_all_calls_since() -> None:
    """Those before do not count, nor 429s that no limit has caused."""
    before = [_call(999, status=429, limited_by="requests")] * 50
    after = [_call(1_000)] * 97 + [_call(1_001, status=429, limited_by="tokens")] * 2 + [_call(1_002, status=429)]
    assert audit.refused_share([*before, *after], since=1_000) == pytest.approx(0.02)
    assert audit.refused_share(before, since=1_000) == 0
    assert len(audit.refused([*before, *after])) == 52


def test_recovery_is_when_a_second_is_nearly_full_again() -> None:
    """Slow at first, then full: the moment counts at which nine tenths were begun within one second."""
    slow = [_call(1_000 + n / 2) for n in range(8)]
    calls = [*_steady(seconds=5, per_second=10, since=990), *slow, *_steady(seconds=10, per_second=10, since=1_004)]
    assert audit.seconds_to_recover(calls, ended_at=1_000, rate=10) == pytest.approx(4.8, abs=0.11)
    assert audit.seconds_to_recover(calls, ended_at=1_000, rate=100) is None


def test_a_failed_call_is_no_recovery() -> None:
    """However many come: an answer is what counts."""
    calls = _steady(seconds=5, per_second=50, status=503)
    assert audit.seconds_to_recover(calls, ended_at=1_000, rate=10) is None


def test_a_pause_is_seen_wherever_it_is() -> None:
    """At the beginning, in the middle and at the end."""
    span = Span(begin=1_000, end=1_010)
    for at, pause in ((1_006.0, 6.0), (1_003.0, 7.0), (1_009.0, 9.0)):
        assert audit.longest_pause([_call(at), _call(999)], span) == pytest.approx(pause)


def test_documents_wait_from_when_there_was_room_for_them() -> None:
    """In order, each waits as long as the others. One that is overtaken has waited for as long as it was."""
    order = [f"d{n}" for n in range(20)]
    calls = [_call(1_000.0 + n, document=name) for n, name in enumerate(order)]
    waits = audit.document_waits(order, calls, readable=4, large=["d10"])
    assert (waits.median, waits.worst, waits.worst_large) == (4, 4, 4)
    passed_over = [_call(1_100.0, document="d10") if call.document == "d10" else call for call in calls]
    waits = audit.document_waits(order, passed_over, readable=4, large=["d10"])
    assert waits.worst == waits.worst_large > 90


def test_a_documents_first_call_ends_its_wait() -> None:
    """Retries do not. A document without any call is an error, for it may be starving still."""
    calls = [_call(1_000, document="a"), _call(1_001, document="b"), _call(1_050, document="b", attempt=2)]
    assert audit.document_waits(["a", "b"], calls, readable=1, large=["b"]).worst_large == 1
    with pytest.raises(NothingToAuditError):
        audit.document_waits(["a", "b", "c"], calls, readable=1, large=["b"])


def test_spending_is_summed_by_windows_of_the_clock() -> None:
    """Windows are aligned to multiples of their length since the epoch. Unanswered calls cost nothing."""
    price = Price(read=1_000, written=5_000)
    calls = [_call(59.9), _call(60.0), _call(89.9), _call(90.0), _call(91, status=429)]
    assert audit.spent_in_windows(calls, price=price, window_seconds=30) == pytest.approx({1: 0.18, 2: 0.36, 3: 0.18})

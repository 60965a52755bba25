"""The rehearsal provider's limits, with time passed in."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_local.rehearsal.limiter import MinuteLimit

_ARRIVALS = st.lists(
    st.tuples(st.floats(min_value=0, max_value=3), st.integers(min_value=1, max_value=400)), min_size=1, max_size=200
)


def test_a_window_passes_at_once_and_then_the_rate() -> None:
    """600 a minute in windows of a second: ten at once, then one every tenth of a second."""
    limit = MinuteLimit(per_minute=600, window_seconds=1, now=0)
    assert _passed(limit, calls=50, now=0) == 10
    assert _passed(limit, calls=50, now=0.099) == 1
    assert _passed(limit, calls=50, now=60) == 10


def test_a_call_larger_than_the_window_passes_and_is_paid_off() -> None:
    """A limit of 600 tokens a minute lets 100 through, and nothing more for the next nine seconds."""
    limit = MinuteLimit(per_minute=600, window_seconds=1, now=0)
    assert limit.wait_seconds(now=0) == 0
    limit.take(100, now=0)
    assert limit.wait_seconds(now=0) == pytest.approx(9, abs=0.001)
    assert limit.wait_seconds(now=8.9) > 0
    assert limit.wait_seconds(now=9.1) == 0


def test_what_was_not_used_is_given_back_but_never_more_than_a_window() -> None:
    """Settling to less makes room again."""
    limit = MinuteLimit(per_minute=600, window_seconds=1, now=0)
    limit.take(15, now=0)
    limit.take(-12, now=0)
    assert limit.remaining(now=0) == 597
    limit.take(-1_000, now=0)
    assert limit.remaining(now=0) == 600


def test_remaining_and_reset_tell_of_the_whole_minute() -> None:
    """As providers do: an idle limit has all of its minute left, and nothing to reset."""
    limit = MinuteLimit(per_minute=600, window_seconds=1, now=0)
    assert (limit.remaining(now=0), limit.reset_seconds(now=0)) == (600, 0)
    limit.take(4, now=0)
    assert limit.remaining(now=0) == 596
    assert limit.reset_seconds(now=0) == pytest.approx(0.4)


@given(arrivals=_ARRIVALS, per_minute=st.integers(min_value=60, max_value=60_000))
def test_no_span_of_time_passes_more_than_its_share(arrivals: list[tuple[float, int]], per_minute: int) -> None:
    """Whatever comes, what passes stays under rate times span, plus one window and one call."""
    limit = MinuteLimit(per_minute=per_minute, window_seconds=1, now=0)
    now = 0.0
    passed: list[tuple[float, int]] = []
    for pause, amount in arrivals:
        now += pause
        if limit.wait_seconds(now=now) == 0:
            limit.take(amount, now=now)
            passed.append((now, amount))
    rate = per_minute / 60
    for first, (since, _) in enumerate(passed):
        total = 0
        for moment, amount in passed[first:]:
            total += amount
            assert total <= rate * (moment - since) + max(1, rate) + 400 + 1e-6


@given(amounts=st.lists(st.integers(min_value=1, max_value=400), min_size=50, max_size=200))
def test_whoever_waits_as_told_gets_the_whole_limit(amounts: list[int]) -> None:
    """Obeying `wait_seconds` wastes nothing: every call passes when it comes back, and the rate is used up."""
    limit = MinuteLimit(per_minute=6_000, window_seconds=1, now=0)
    now = 0.0
    for amount in amounts:
        now += limit.wait_seconds(now=now)
        assert limit.wait_seconds(now=now) == 0
        limit.take(amount, now=now)
    assert now <= max(0.0, sum(amounts[:-1]) - 100) / 100 + 0.001 * len(amounts)


def test_a_tiny_limit_still_passes_one_call() -> None:
    """One a minute: a window of a second would hold a sixtieth of a call."""
    limit = MinuteLimit(per_minute=1, window_seconds=1, now=0)
    assert _passed(limit, calls=5, now=0) == 1
    assert _passed(limit, calls=5, now=math.nextafter(60.1, 61)) == 1


def test_a_changed_limit_holds_from_then_on() -> None:
    """Lowered, the smaller window holds at once and what was overdrawn is paid off at the new rate."""
    limit = MinuteLimit(per_minute=600, window_seconds=1, now=0)
    limit.change(120, now=0)
    assert _passed(limit, calls=50, now=0) == 2
    limit.take(8, now=0)
    assert limit.wait_seconds(now=0) == pytest.approx(4, abs=0.001)
    limit.change(600, now=0)
    assert limit.wait_seconds(now=0) == pytest.approx(0.8, abs=0.001)


def _passed(limit: MinuteLimit, *, calls: int, now: float) -> int:
    count = 0
    for _ in range(calls):
        if limit.wait_seconds(now=now) == 0:
            limit.take(1, now=now)
            count += 1
    return count

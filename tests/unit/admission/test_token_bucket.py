"""The token bucket's arithmetic."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.admission.token_bucket import TokenBucket

RATES = st.floats(0.1, 1e7)
STEPS = st.lists(
    st.tuples(
        st.floats(0, 30),  # how long it idles before somebody asks
        st.floats(0.001, 3),  # what is asked for, in bursts
        st.floats(0, 1),  # the part that is given back
    ),
    max_size=40,
)


@given(per_minute=RATES, steps=STEPS)
def test_never_over_the_limit_in_any_span(per_minute: float, steps: list[tuple[float, float, float]]) -> None:
    """In any span, what was taken and not given back is at most rate times span plus one burst or the last request."""
    rate, burst = per_minute / 60, max(1.0, per_minute / 120)
    bucket, now = TokenBucket(per_minute=per_minute, now=0.0), 0.0
    taken: list[tuple[float, float, float]] = []
    for idle, bursts, returned in steps:
        now += idle
        amount = bursts * burst
        now += bucket.wait_seconds(amount, now=now)
        bucket.take(amount, now=now)
        bucket.give_back(amount * returned, now=now)
        taken.append((now, amount, amount * (1 - returned)))
    for first, (begin, _, _) in enumerate(taken):
        for (end, amount, _), used in zip(taken[first:], accumulate(net for _, _, net in taken[first:]), strict=True):
            allowed = rate * (end - begin) + max(burst, amount)
            assert used <= allowed * (1 + 1e-5)
    owed = max(0.0, taken[-1][1] - burst) if taken else 0.0
    assert sum(net for _, _, net in taken) <= (rate * now + owed) * (1 + 1e-5), "it starts empty"


@given(per_minute=RATES, bursts=st.floats(0.001, 50), idle=st.floats(0, 100))
def test_the_wait_is_exactly_long_enough(per_minute: float, bursts: float, idle: float) -> None:
    """After the time that it named, the bucket lets the amount through at once. A little earlier it does not."""
    amount = bursts * max(1.0, per_minute / 60)
    bucket = TokenBucket(per_minute=per_minute, now=0.0)
    wait = bucket.wait_seconds(amount, now=idle)
    if wait > 0.001:
        assert bucket.wait_seconds(amount, now=idle + wait * 0.99) > 0
    assert bucket.wait_seconds(amount, now=idle + wait) == 0


def test_it_starts_empty() -> None:
    """A bucket that started full would let a whole burst through in the second after the start, over the limit."""
    bucket = TokenBucket(per_minute=60, now=5.0)
    assert bucket.available(now=5.0) == 0
    assert bucket.wait_seconds(1, now=5.0) == 1


def test_it_holds_one_burst_at_most() -> None:
    """However long nothing was asked, at most half a second's worth goes out at once."""
    bucket = TokenBucket(per_minute=600, now=0.0)
    assert bucket.available(now=3600.0) == 5


def test_a_slow_bucket_holds_at_least_one_request() -> None:
    """With less than one unit a second a whole unit must still fit, or nothing would ever pass."""
    bucket = TokenBucket(per_minute=6, now=0.0)
    assert bucket.available(now=3600.0) == 1
    assert bucket.wait_seconds(1, now=3600.0) == 0


def test_a_request_larger_than_the_burst_is_paid_for_afterwards() -> None:
    """It goes out when the bucket is full. The next call waits until its debt is paid."""
    bucket = TokenBucket(per_minute=60, now=0.0)
    assert bucket.wait_seconds(30, now=0.0) == 1
    assert bucket.wait_seconds(30, now=1.0) == 0
    bucket.take(30, now=1.0)
    assert (bucket.available(now=1.0), bucket.owed(now=1.0)) == (-29, 29)
    assert bucket.wait_seconds(1, now=1.0) == 30
    assert bucket.available(now=300.0) == 1
    assert bucket.owed(now=300.0) == 0


def test_it_goes_on_at_another_rate() -> None:
    """What was saved up for at the old one is cut to the new burst, and what is owed is paid at the new rate."""
    bucket = TokenBucket(per_minute=600, now=0.0)
    assert bucket.burst == 5
    bucket.set_rate(240, now=100.0)
    assert (bucket.per_minute, bucket.burst, bucket.available(now=100.0)) == (240, 2, 2)
    bucket.take(6, now=100.0)
    assert bucket.wait_seconds(1, now=100.0) == 1.25
    bucket.set_rate(6, now=100.0)
    assert bucket.burst == 1
    assert bucket.wait_seconds(1, now=100.0) == pytest.approx(50)


def test_using_more_than_was_reserved_is_paid_back_first() -> None:
    """Giving back a negative amount puts the bucket into debt, which must be worked off."""
    bucket = TokenBucket(per_minute=60, now=0.0)
    bucket.take(1, now=1.0)
    bucket.give_back(-5, now=1.0)
    assert bucket.available(now=1.0) == -5
    assert bucket.wait_seconds(1, now=1.0) == 6


def test_giving_back_never_overfills() -> None:
    """Unused reservations do not add up to a larger burst."""
    bucket = TokenBucket(per_minute=60, now=0.0)
    bucket.give_back(1000, now=0.0)
    assert bucket.available(now=0.0) == pytest.approx(1)

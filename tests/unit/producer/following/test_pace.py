"""How many documents end in an hour."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_producer.following.pace import LEAST_DOCUMENTS, LEAST_SECONDS, WINDOW_SECONDS, Pace

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def rate(seconds: Iterable[float]) -> float | None:
    """That of documents which ended so many seconds after noon."""
    pace = Pace()
    for second in seconds:
        pace.add(NOON + timedelta(seconds=second))
    return pace.documents_per_hour


@pytest.mark.parametrize(
    "seconds",
    [
        [],
        [0.0, 0.05, 0.1],
        [number / 1_000 for number in range(1_000)],
        [number * 60.0 for number in range(LEAST_DOCUMENTS - 1)],
    ],
)
def test_too_little_to_tell_a_rate_from(seconds: list[float]) -> None:
    """Three documents in a tenth of a second are no 108,000 an hour: a rate wants ten documents and ten seconds."""
    assert rate(seconds) is None


def test_the_least_that_has_a_rate() -> None:
    """Ten documents over ten seconds: nine of them ended within these."""
    assert rate(number * LEAST_SECONDS / 9 for number in range(10)) == pytest.approx(9 * 360)


def test_first_and_last_are_exact() -> None:
    """What ends within one second, in whatever order, is told apart: the rate of few documents depends on it."""
    assert rate([0.5, 0.25, *range(2, 10), 20.5, 20.75, 20.25]) == pytest.approx(12 / 20.5 * 3_600)


def test_a_steady_rate_is_told_whatever_the_window_cuts_off() -> None:
    """A document every two seconds is 1,800 an hour after a minute and after a day."""
    assert rate(range(0, 60, 2)) == pytest.approx(1_800)
    assert rate(range(0, 86_400, 2)) == pytest.approx(1_800)


def test_what_was_long_ago_is_left_out() -> None:
    """The rate is that of late: neither the night's pause nor yesterday's rate is in it."""
    yesterday = [-86_400 + number / 10 for number in range(10_000)]
    assert rate([*yesterday, *range(0, 100, 4)]) == pytest.approx(900)
    assert rate([*yesterday, 0.0, 1.0]) is None


QUARTERS = st.integers(-8 * WINDOW_SECONDS, 0).map(lambda quarters: quarters / 4)


@given(st.lists(QUARTERS, min_size=30), st.randoms())
def test_the_order_of_coming_does_not_matter(seconds: list[float], random: Random) -> None:
    """Partitions are read one after the other, and their documents ended side by side."""
    shuffled = list(seconds)
    random.shuffle(shuffled)
    recent = [second for second in seconds if second >= math.floor(max(seconds)) - WINDOW_SECONDS]
    if len(recent) >= LEAST_DOCUMENTS and max(recent) - min(recent) >= LEAST_SECONDS:
        expected = (len(recent) - 1) * 3_600 / (max(recent) - min(recent))
        assert rate(shuffled) == pytest.approx(expected)
    else:
        assert rate(shuffled) is None


def test_memory_is_bounded_by_the_window() -> None:
    """A topic of many days is read with the memory of a few quarters of an hour."""
    pace = Pace()
    for second in itertools.islice(itertools.count(step=7), 20_000):
        pace.add(NOON + timedelta(seconds=second))
        assert len(pace._seconds) <= 2 * WINDOW_SECONDS

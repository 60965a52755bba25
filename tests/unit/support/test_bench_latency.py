"""The latencies that all contenders meet, and the schedule that none can beat."""

from __future__ import annotations

from statistics import mean, median

import pytest

from tests.bench.latency import Latency, Span, greedy, used_share
from tests.bench.texts import texts

_LATENCY = Latency(median_seconds=0.8, sigma=0.7)


def test_a_text_has_one_latency() -> None:
    """Whoever sends it, and whenever. Another text has another."""
    assert _LATENCY.of("a text") == _LATENCY.of("a text") != _LATENCY.of("another")


@pytest.mark.parametrize("sigma", [0.7, 1.2])
def test_latencies_are_lognormal(sigma: float) -> None:
    """With the median and the mean of that distribution."""
    latency = Latency(median_seconds=0.8, sigma=sigma)
    drawn = [latency.of(text) for text in texts(20_000, characters=10).values()]
    assert median(drawn) == pytest.approx(0.8, rel=0.03)
    assert mean(drawn) == pytest.approx(latency.mean_seconds, rel=0.03)
    assert max(drawn) < 31


def test_greedy_begins_a_call_when_a_slot_is_free() -> None:
    """Two slots, in the given order."""
    spans = greedy([3.0, 1.0, 1.0, 5.0], slots=2)
    assert [(span.begin, span.end) for span in spans] == [(0, 3), (0, 1), (1, 2), (2, 7)]


def test_greedy_uses_every_slot_until_the_last_call_begins() -> None:
    """So its share is 1, and falls when the documents run out."""
    spans = greedy([_LATENCY.of(str(number)) for number in range(500)], slots=16)
    last = spans[-1].begin
    assert used_share(spans, Span(begin=0.0, end=last), slots=16) == pytest.approx(1)
    assert used_share(spans, Span(begin=last, end=last + 60), slots=16) < 0.5


def test_texts_differ_and_are_as_long_as_asked() -> None:
    """Each has its number before it."""
    made = texts(1_000, characters=100)
    assert len(set(made.values())) == len(made) == 1_000
    assert all(100 <= len(text) <= 106 for text in made.values())

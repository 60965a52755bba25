"""Latencies of the rehearsal provider."""

import statistics

import pytest

from docsluice_local.rehearsal.draws import draw, lognormal_seconds


def _latencies(count: int, *, seed: int = 7) -> list[float]:
    quantiles = (draw(seed=seed, content=str(number).encode(), attempt=1).latency_quantile for number in range(count))
    return [lognormal_seconds(median_seconds=0.8, sigma=0.7, quantile=quantile) for quantile in quantiles]


def test_the_same_call_draws_the_same_numbers_in_any_order() -> None:
    """A call's numbers depend on nothing but the seed, the call and its attempt."""
    first = draw(seed=1, content=b"one", attempt=1)
    draw(seed=1, content=b"two", attempt=1)
    assert draw(seed=1, content=b"one", attempt=1) == first


@pytest.mark.parametrize(
    ("seed", "content", "attempt"), [(2, b"one", 1), (1, b"two", 1), (1, b"one", 2), (-1, b"one", 1)]
)
def test_another_seed_call_or_attempt_draws_other_numbers(seed: int, content: bytes, attempt: int) -> None:
    """A retry is not bound to the fate of the first attempt."""
    assert draw(seed=seed, content=content, attempt=attempt) != draw(seed=1, content=b"one", attempt=1)


def test_latencies_are_lognormal() -> None:
    """Median and spread are those that were asked for."""
    latencies = _latencies(20_000)
    deciles = statistics.quantiles(latencies, n=100)
    assert statistics.median(latencies) == pytest.approx(0.8, rel=0.02)
    # One standard deviation above the median is the 84th percentile: 0.8 · e^0.7.
    assert deciles[83] == pytest.approx(1.611, rel=0.05)


def test_latency_and_fault_are_drawn_apart() -> None:
    """A slow call is no likelier to fail than a quick one."""
    draws = [draw(seed=7, content=str(number).encode(), attempt=1) for number in range(5_000)]
    slow = [each for each in draws if each.latency_quantile > 0.9]
    assert sum(each.fault_quantile < 0.2 for each in slow) / len(slow) == pytest.approx(0.2, abs=0.05)

"""What all documents will take, from a sample."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.trial.forecast import LEVEL, Population, duration, total
from tests.examples import examples

RUNS = 300
SAMPLES = st.lists(st.tuples(st.integers(1, 10**6), st.floats(0, 10**6)), min_size=1, max_size=40)


def _documents(dice: random.Random, *, count: int, own: float, by_size: float, noise: float) -> list[tuple[int, float]]:
    """Sizes and tokens as they are in the world: a few are large, and what varies is skewed."""
    sizes = [int(math.exp(dice.gauss(7, 0.8))) for _ in range(count)]
    return [(size, own + by_size * size + noise * math.exp(dice.gauss(0, 0.5))) for size in sizes]


@pytest.mark.parametrize("count, sampled", [(500, 50), (500, 20), (5000, 20)])  # noqa: PT006 - one name for both
@pytest.mark.parametrize("by_size, noise", [(0.25, 60), (0.0, 60), (0.05, 300)])  # noqa: PT006
def test_the_interval_holds_the_truth_as_often_as_it_says(
    count: int, sampled: int, by_size: float, noise: float
) -> None:
    """Within what so many runs can tell: three standard errors."""
    dice, held = random.Random(7), 0
    for _ in range(RUNS):
        documents = _documents(dice, count=count, own=40, by_size=by_size, noise=noise)
        population = Population(count, sum(size for size, _ in documents))
        found = total(dice.sample(documents, sampled), population)
        held += found.low <= sum(tokens for _, tokens in documents) <= found.high
    assert abs(held / RUNS - LEVEL) < 3 * math.sqrt(LEVEL * (1 - LEVEL) / RUNS)


def test_tokens_that_only_depend_on_size_are_told_exactly() -> None:
    """Whatever the sample: the sizes of all documents are known."""
    documents = [(size, 100 + size / 4) for size in range(10, 2000, 7)]
    population = Population(len(documents), sum(size for size, _ in documents))
    found = total(documents[:6], population)
    assert found.value == pytest.approx(sum(tokens for _, tokens in documents))
    assert found.high - found.low == pytest.approx(0, abs=1e-3)


@given(sample=SAMPLES, more=st.integers(0, 10**6))
@settings(max_examples=examples(200))
def test_no_sample_is_too_odd(sample: list[tuple[int, float]], more: int) -> None:
    """The sum lies in its interval, and is never below nothing."""
    population = Population(len(sample) + more, sum(size for size, _ in sample) + 100 * more)
    found = total(sample, population)
    assert 0 <= found.low <= found.value <= found.high
    if not more:
        assert found.low == found.high == pytest.approx(sum(quantity for _, quantity in sample))


def test_one_document_tells_no_interval() -> None:
    """And none tells nothing."""
    assert total([(10, 5.0)], Population(100, 1000)).high == math.inf
    with pytest.raises(ValueError, match="nothing was sampled"):
        total([], Population(100, 1000))


def test_the_tightest_limit_tells_the_time() -> None:
    """Each limit asks for its time, and the longest counts."""
    work = {"requests": 600.0, "tokens": 60_000.0, "concurrency": 320.0}
    found = duration(work, {"requests": 10.0, "tokens": 500.0, "concurrency": 16.0, "output_tokens": 1.0})
    assert found is not None
    assert found.limit == "tokens"
    assert found.seconds == pytest.approx(120)
    assert duration(work, {"requests": None}) is None

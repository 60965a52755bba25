"""Intervals hold the truth as often as they say, and a difference is told from chance."""

from __future__ import annotations

import random
from types import ModuleType

import pytest

from tests.examples import examples

RUNS = examples(300)
LEVEL = 0.95


@pytest.fixture(scope="module")
def statistics() -> ModuleType:
    """Imported when asked for: scipy takes a second in each process that collects tests."""
    from docsluice_consumer.evaluation import statistics  # noqa: PLC0415 - see above

    assert statistics.LEVEL == LEVEL
    return statistics


def _scores(dice: random.Random, share: float, count: int) -> list[float]:
    return [float(dice.random() < share) for _ in range(count)]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.98])
@pytest.mark.parametrize("count", [30, 200])
def test_an_interval_holds_the_truth(statistics: ModuleType, share: float, count: int) -> None:
    """Nearly as often as its level says, also for few documents that are nearly all right."""
    dice = random.Random(7)
    intervals = [statistics.interval_of(_scores(dice, share, count)) for _ in range(RUNS)]
    held = sum(one.low <= share <= one.high for one in intervals)
    assert held / RUNS >= LEVEL - 0.06


def test_scores_between_right_and_wrong_have_an_interval(statistics: ModuleType) -> None:
    """It is around their mean, and narrower for more of them."""
    few, many = (statistics.interval_of([0.2, 0.5, 0.5, 0.9] * times) for times in (3, 60))
    assert [few.value, many.value] == pytest.approx([0.525, 0.525])
    assert few.low < many.low < 0.525 < many.high < few.high


def test_scores_that_are_all_the_same_have_no_width(statistics: ModuleType) -> None:
    """And a bootstrap of them no warning."""
    assert statistics.interval_of([0.5, 0.5]) == (0.5, 0.5, 0.5)


def test_no_scores_are_an_error(statistics: ModuleType) -> None:
    """No division by nothing."""
    with pytest.raises(ValueError, match="no scores"):
        statistics.interval_of([])


@pytest.mark.parametrize("in_between", [False, True])
def test_a_change_that_is_none_is_seldom_found(statistics: ModuleType, in_between: bool) -> None:  # noqa: FBT001 - a parameter of a test
    """In about one of 20 samples, as the level says."""
    dice, found = random.Random(3), 0
    runs = max(10, RUNS // 3) if in_between else RUNS
    for _ in range(runs):
        ours, theirs = (_scores(dice, 0.8, 100) for _ in range(2))
        if in_between:
            ours, theirs = ([score * 0.9 + dice.random() * 0.1 for score in one] for one in (ours, theirs))
        found += statistics.chance_of(ours, theirs) < 1 - LEVEL
    assert found / runs <= 0.12


@pytest.mark.parametrize("scale", [1.0, 0.9])
def test_a_change_for_the_worse_is_found(statistics: ModuleType, scale: float) -> None:
    """One in five answers is spoilt, of 200."""
    dice = random.Random(5)
    ours = [score * scale for score in _scores(dice, 0.9, 200)]
    theirs = [0.0 if dice.random() < 0.2 else score for score in ours]
    assert statistics.chance_of(ours, theirs) < 0.001
    assert statistics.chance_of(theirs, ours) < 0.001


def test_the_same_answers_differ_by_chance_alone(statistics: ModuleType) -> None:
    """Nothing is tested where nothing differs."""
    assert statistics.chance_of([1.0, 0.0], [1.0, 0.0]) == 1.0

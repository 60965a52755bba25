"""How sure a score is, and whether two differ. By scipy, which is an extra. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
_RESAMPLES = 2_000
_SEED = 0


class Interval(NamedTuple):
    """A mean, and where the mean of all such documents is, 19 times of 20."""

    value: float
    low: float
    high: float


def interval_of(scores: Sequence[float]) -> Interval:
    """The mean of scores from 0 to 1. Wilson's interval if each is right or wrong, and else a bootstrap's.

    Raises:
        ValueError: there are none.
    """
    if not scores:
        raise ValueError("no scores")
    mean = sum(scores) / len(scores)
    if all(score in (0.0, 1.0) for score in scores):
        found = stats.binomtest(int(sum(scores)), len(scores)).proportion_ci(LEVEL, method="wilson")
        return Interval(mean, float(found.low), float(found.high))
    if len(set(scores)) == 1:
        return Interval(mean, mean, mean)
    drawn = stats.bootstrap(
        (np.asarray(scores),), np.mean, confidence_level=LEVEL, n_resamples=_RESAMPLES, rng=_SEED, method="percentile"
    ).confidence_interval
    return Interval(mean, float(drawn.low), float(drawn.high))


def chance_of(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """How often chance alone makes two variants differ as much as this on the same documents, from 0 to 1.

    McNemar's exact test if each answer is right or wrong, and else a test by exchanging the two at random.
    """
    pairs = [(one, other) for one, other in zip(ours, theirs, strict=True) if one != other]
    if not pairs:
        return 1.0
    if all(score in (0.0, 1.0) for pair in pairs for score in pair):
        return float(stats.binomtest(sum(one > other for one, other in pairs), len(pairs)).pvalue)
    differences = np.asarray([one - other for one, other in pairs])
    tested = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=_RESAMPLES, rng=_SEED
    )
    return float(tested.pvalue)

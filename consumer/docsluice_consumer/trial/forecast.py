"""What all documents will take, from a sample of them. Pure.

Tokens and dollars of a document grow with its size, which is known of all documents. So what is estimated is a straight
line through the sample, summed over all sizes: the regression estimator of survey sampling. Its interval says nothing
of a provider that changes, or of documents that are not there yet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean

LEVEL = 0.9
"""The share of forecasts whose interval should hold the truth."""
_LEAST_FOR_A_LINE = 5
"""With fewer documents in the sample, size is left out of account."""


@dataclass(frozen=True, slots=True)
class Population:
    """All documents: how many, and how large together, in bytes of text."""

    count: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """A sum over all documents, and the interval that holds it with probability `LEVEL`."""

    value: float
    low: float
    high: float


def total(sample: Sequence[tuple[int, float]], population: Population) -> Estimate:
    """The sum of a quantity over all documents, from pairs of a document's size and its quantity.

    The interval is the jackknife's: how much the estimate moves when a document of the sample is left out. That takes a
    few large documents better into account than their distance from the line does.

    Raises:
        ValueError: the sample is empty.
    """
    size, value = len(sample), _sum_of(sample, population)
    if size >= population.count:
        return Estimate(value, value, value)
    freedom = size - (2 if size > _LEAST_FOR_A_LINE else 1)
    if freedom < 1:
        return Estimate(value, 0.0, math.inf)
    without = [_sum_of([*sample[:one], *sample[one + 1 :]], population) for one in range(size)]
    middle = fmean(without)
    variance = (size - 1) / size * sum((one - middle) ** 2 for one in without) * (1 - size / population.count)
    margin = _t_quantile((1 + LEVEL) / 2, freedom) * math.sqrt(variance)
    return Estimate(value, max(0.0, value - margin), value + margin)


def _sum_of(sample: Sequence[tuple[int, float]], population: Population) -> float:
    if not sample:
        raise ValueError("nothing was sampled")
    xs, ys = zip(*sample, strict=True)
    mean_x, mean_y, count = fmean(xs), fmean(ys), population.count
    slope = _slope(xs, ys, mean_x, mean_y) if len(sample) >= _LEAST_FOR_A_LINE else 0.0
    return max(0.0, count * mean_y + slope * (population.total_bytes - count * mean_x))


def _slope(xs: Sequence[float], ys: Sequence[float], mean_x: float, mean_y: float) -> float:
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread if spread else 0.0


def _t_quantile(probability: float, freedom: int) -> float:
    """Student's t, by the expansion in the normal quantile (Abramowitz and Stegun 26.7.5). Good to 2 % from 3 on."""
    z = NormalDist().inv_cdf(probability)
    return (
        z
        + (z**3 + z) / (4 * freedom)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Duration:
    """How long all documents take, in seconds, and what makes it so long."""

    seconds: float
    limit: str


def duration(work: Mapping[str, float], allowed: Mapping[str, float | None]) -> Duration | None:
    """The time at the limits: the longest of what each limit asks for. None without any limit.

    `work` is what all documents need of a quota, and `allowed` how much of it a second gives.
    """
    needed = {name: work[name] / rate for name, rate in allowed.items() if rate and name in work}
    if not needed:
        return None
    limit = max(needed, key=needed.__getitem__)
    return Duration(seconds=needed[limit], limit=limit)

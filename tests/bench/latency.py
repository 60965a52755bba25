"""How long each call takes, and the greedy schedule of such calls. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from statistics import NormalDist

_NORMAL = NormalDist()
_MOST_DEVIATIONS = 3.0
"""One draw in a thousand would be longer. It is cut, so that no draw meets a client's time-out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """A lognormal distribution, in seconds. The same text always draws the same value, whoever sends it."""

    median_seconds: float
    sigma: float

    def of(self, text: str) -> float:
        """The seconds that a call with this text takes."""
        drawn = int.from_bytes(blake2b(text.encode(), digest_size=7).digest()) + 0.5
        deviations = min(_MOST_DEVIATIONS, _NORMAL.inv_cdf(drawn / 2**56))
        return self.median_seconds * math.exp(self.sigma * deviations)

    @property
    def mean_seconds(self) -> float:
        """The expectation, without the cut."""
        return self.median_seconds * math.exp(self.sigma**2 / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of time, in seconds."""

    begin: float
    end: float

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.begin


def greedy(latencies: Iterable[float], *, slots: int) -> list[Span]:
    """Each call begins as soon as a slot is free, in the given order. The first begin at 0."""
    remaining = iter(latencies)
    spans = [Span(begin=0.0, end=latency) for latency in islice(remaining, slots)]
    free_at = [span.end for span in spans]
    heapq.heapify(free_at)
    for latency in remaining:
        begin = free_at[0]
        heapq.heapreplace(free_at, begin + latency)
        spans.append(Span(begin=begin, end=begin + latency))
    return spans


def used_share(calls: Sequence[Span], window: Span, *, slots: int) -> float:
    """The share of the slots' time in the window in which a call was under way."""
    busy = sum(max(0.0, min(call.end, window.end) - max(call.begin, window.begin)) for call in calls)
    return busy / slots / window.seconds

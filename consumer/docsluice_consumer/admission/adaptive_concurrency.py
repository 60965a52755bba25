"""How many calls may be in flight at a server that names no limits and only slows down. Pure: time is passed in.

Past its best point such a server answers no more calls a second, or fewer, and calls wait inside it. The point is found
by hill climbing on throughput. Latency alone would mislead: on a server that batches, it rises from the second call on,
while throughput still grows.

By Little's law, throughput is the calls in flight times the tokens a second of one call. So each call is a sample, and
none is lost when the load comes and goes. Samples scatter lognormally, so they are averaged as logarithms. Every
decision compares the averages of two rounds of calls.

Two things bound the limit. The centre climbs:

- It searches, doubling from the floor for as long as that pays, and takes the last doubling back. - Then it is settled:
  it tries a little above and a little below, moves towards the better side, and rests. Its steps shorten and its rests
  lengthen whenever its direction turns (Kesten's rule for stochastic approximation). - The server has changed if its
  tries keep pointing the same way, or if throughput jumps while it rests. Then it searches again, by doubling or
  halving.

The cap is AIMD, as in TCP, and follows refusals only. It goes down by a tenth for each round of calls with a refusal.
Without refusals it goes up in growing steps.

Several replicas may call one server. Then one call of ours stands for 1 / share calls of all, and no smaller step can
be tried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

_WORTH = 0.2
"""One percent more in flight must bring this share of a percent more throughput. 0 would hold twice the calls for
nothing, 1 would stop at the first slowing down."""
_MIN_ANSWERS = 32
"""With a scatter of 0.5 in the logarithm, the average of this many is accurate to a tenth."""
_USED = 0.8
_PROBE = 1.15
"""How far above and below the centre is tried. Nearer, the scatter hides the slope. Farther, trying costs too much."""
_MIN_SPREAD = 0.7 * math.log(_PROBE)
"""A try at a bound goes one way only, and is rounded. It must still count."""
_LAST_STEP, _FIRST_STEPS_MORE = 0.1, 0.2
_MAX_RESTS = 6
_EVIDENCE = 1.5
_JUMP = 0.5
"""In the logarithm: up by two thirds, or down to 0.6. Neither scatter nor a step does that."""
_BACK_OFF = 0.9


class _Sample(NamedTuple):
    """Both in logarithms: a straight line then has the slope that `_WORTH` is about."""

    in_flight: float
    throughput: float


class AdaptiveConcurrency:
    """A limit on calls in flight that follows how calls end: 1 <= floor <= limit <= ceiling. It starts at the floor.

    `floor` and `ceiling` are the whole account's. The server feels the calls of all replicas, which is our calls
    divided by our share.
    """

    def __init__(self, *, floor: int, ceiling: int) -> None:
        self._floor = floor
        self._climber = _Climber(floor=floor, ceiling=ceiling)
        self._cap = _Cap(floor=floor, ceiling=ceiling)
        self._samples: list[_Sample] = []
        self._share = 1.0
        self._limit = floor
        self._limit_since = -math.inf
        self._backed_off_at = -math.inf

    @property
    def limit(self) -> int:
        """How many of our calls may be in flight now: at least one, however small our share."""
        return self._limit

    @property
    def whole(self) -> float:
        """The limit over all replicas."""
        return max(self._floor, min(self._climber.wanted, self._cap.value))

    def set_share(self, share: float, *, now: float) -> None:
        """Set our share of the limit: above 0, at most 1."""
        if share != self._share:
            self._share = self._climber.share = share
            self._limit_since = now
            self._apply(now)

    def answered(self, *, seconds: float, output_tokens: int, in_flight: int, now: float) -> None:
        """Note a call that was answered after `seconds`.

        `in_flight` counts our calls when it was sent, itself included.

        It counts only if it was sent under the present limit, and the limit was nearly reached. Other calls say nothing
        about the limit, so idle times change nothing.
        """
        if now - seconds < self._limit_since or in_flight < _USED * self._limit:
            return
        out = math.log(in_flight / self._share)
        self._samples.append(_Sample(out, out + math.log(max(1, output_tokens) / max(0.001, seconds))))
        if len(self._samples) < max(_MIN_ANSWERS, self._limit):
            return
        self._cap.calm()
        self._climber.learn(_average(self._samples), cap=self._cap.value)
        self._apply(now)

    def overloaded(self, *, seconds: float, now: float) -> None:
        """Note a call that failed after `seconds` because the server was overloaded: a 429, a 503 or a timeout.

        Calls that were sent before the last back-off are ignored. That back-off covers them.
        """
        if now - seconds < self._backed_off_at:
            return
        self._backed_off_at = now
        self._cap.back_off(self._limit / self._share)
        self._climber.refused()
        self._apply(now)

    def _apply(self, now: float) -> None:
        wanted, cap = round(self._climber.wanted * self._share), math.floor(self._cap.value * self._share)
        limit = max(1, math.floor(self._floor * self._share), min(wanted, cap))
        self._samples.clear()
        if limit != self._limit:
            self._limit, self._limit_since = limit, now


class _Cap:
    """The most that the server has not refused lately."""

    def __init__(self, *, floor: int, ceiling: int) -> None:
        self._floor, self._ceiling = floor, ceiling
        self.value = float(ceiling)
        self._calm_rounds = 0

    def back_off(self, refused: float) -> None:
        self.value = max(self._floor, min(self.value, refused * _BACK_OFF))
        self._calm_rounds = 0

    def calm(self) -> None:
        """Grow slowly near the refusal, because each step too far costs calls.

        Grow faster when it does not come back.
        """
        self._calm_rounds += 1
        self.value = min(self._ceiling, self.value + self._calm_rounds)


@dataclass(slots=True)
class _Settled:
    """What a climber remembers while it is settled."""

    usual_throughput: float | None = None
    upper_next: bool = True
    rests_left: int = 0
    turns: int = 0
    evidence: float = 0.0
    """The merits of all steps since the last turn, added up: above zero they speak for more in flight."""


class _Climber:
    """Looks for the concurrency beyond which more is not worth it, from one average of samples to the next."""

    def __init__(self, *, floor: int, ceiling: int) -> None:
        self._floor, self._ceiling = floor, ceiling
        self.share = 1.0
        self._centre = self._came_from = float(floor)
        self._search_by: float | None = 2.0
        self._compare_with: _Sample | None = None
        self._settled = _Settled()

    @property
    def wanted(self) -> float:
        """The concurrency to try next."""
        if self._search_by or self._settled.rests_left > 0:
            return self._centre
        if self._settled.upper_next:
            return max(self._centre * _PROBE, self._centre + self._step)
        return self._centre / _PROBE

    def learn(self, seen: _Sample, *, cap: float) -> None:
        """Take the result of the present try, and choose the next."""
        self._centre = self._bounded(self._centre)  # our share may be another one since
        if self._search_by:
            self._search_on(seen, self._search_by)
        elif self._settled.rests_left > 0:
            self._rest(seen.throughput)
        elif self._compare_with is None:
            self._compare_with = seen
            self._settled.upper_next = not self._settled.upper_next
        else:
            self._move(_slope(self._compare_with, seen), cap)

    def refused(self) -> None:
        """The present try is too much: end the search at the step before."""
        if self._search_by:
            self._settle(min(self._centre, self._came_from))

    def _search(self, factor: float) -> None:
        self._search_by, self._compare_with = factor, None
        self._came_from = self._centre

    def _search_on(self, seen: _Sample, factor: float) -> None:
        """Go on while more pays (upwards) or less costs little (downwards), else take the last step back."""
        if self._compare_with:
            slope = _slope(self._compare_with, seen)
            if slope is None or (slope > _WORTH) != (factor > 1):
                self._settle(self._came_from)
                return
        self._came_from, self._compare_with = self._centre, seen
        self._centre = self._bounded(self._centre * factor)
        if self._centre == self._came_from:
            self._settle(self._centre)

    def _settle(self, centre: float) -> None:
        self._centre = centre
        self._search_by = self._compare_with = None
        self._settled = _Settled()

    def _rest(self, throughput: float) -> None:
        """Watch for a jump in throughput. Nothing is being tried, so the server has changed."""
        settled = self._settled
        settled.rests_left -= 1
        if settled.usual_throughput is None:
            settled.usual_throughput = throughput
        change = throughput - settled.usual_throughput
        if abs(change) > _JUMP:
            self._search(2.0 if change > 0 else 0.5)

    def _move(self, slope: float | None, cap: float) -> None:
        """Move by the result of a pair of tries. The next pair runs in the other order, so that drifts cancel."""
        settled = self._settled
        self._compare_with = None
        if slope is None:
            return
        merit = max(-1.0, min(1.0, slope - _WORTH))
        turned = merit * settled.evidence <= 0
        settled.evidence = merit if turned else settled.evidence + merit
        factor = 2.0 if merit > 0 else 0.5
        if abs(settled.evidence) >= _EVIDENCE and self._least <= self._centre * factor <= cap:
            self._search(factor)
            return
        length = _LAST_STEP + _FIRST_STEPS_MORE / (1 + settled.turns)
        self._centre = self._bounded(self._centre * math.exp(length * merit))
        settled.turns += turned
        settled.rests_left = min(_MAX_RESTS, settled.turns)

    @property
    def _step(self) -> float:
        """One more call of ours, in calls of all replicas."""
        return 1 / self.share

    @property
    def _least(self) -> float:
        return max(self._floor, self._step)

    def _bounded(self, centre: float) -> float:
        return max(self._least, min(centre, self._ceiling))


def _average(samples: list[_Sample]) -> _Sample:
    """The mean without the lowest tenth of throughputs and the highest: one freak moves nothing."""
    throughputs = sorted(sample.throughput for sample in samples)
    cut = len(samples) // 10
    return _Sample(fmean(sample.in_flight for sample in samples), fmean(throughputs[cut : len(samples) - cut]))


def _slope(one: _Sample, other: _Sample) -> float | None:
    """Throughput gained for calls added: 1 if it grows in proportion, None if too few calls were added to tell."""
    added = other.in_flight - one.in_flight
    return (other.throughput - one.throughput) / added if abs(added) >= _MIN_SPREAD else None

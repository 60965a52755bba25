"""What a provider that names no limit turns out to allow. Pure: time is passed in, in seconds.

After a refusal the pace is a little less than the one that was refused. It grows again, the faster the longer nothing
is refused: a limit that stands is then touched once in two minutes, and one that was raised is found within minutes.
"""

from __future__ import annotations

from collections import deque

_WINDOW_SECONDS = 15.0
_EPISODE_SECONDS = 1.0
"""Calls that were under way together are refused together: that is one lesson, not many."""
_NEAR_SECONDS = 10.0
_CUT_NEAR = 0.8
"""While refusals follow one another, the limit is still far below."""
_CUT = 0.93
_CUT_LEAST = 0.97
_GROWTH_PER_SECOND = 0.0005
_CALM_SECONDS = 120.0
_MOST_DOUBLINGS = 5
_LONGEST_CALM_SECONDS = 600.0
"""It has grown a millionfold by then."""
_LEAST_ANSWERS = 5
"""From fewer nothing can be learned of a pace; the gate alone answers then."""
_LEAST_SHARE = 0.1
"""Of what was first learned: however long everything is refused, the way back is not longer than minutes."""


class LearnedPace:
    """Requests a minute, learned from refusals; None while nothing was refused."""

    def __init__(self) -> None:
        self._answers: deque[float] = deque()
        self._per_minute: float | None = None
        self._least_per_minute = 0.0
        self._refused_at = self._first_refused_at = self._cut_at = float("-inf")

    def answered(self, *, now: float) -> None:
        """A call was answered."""
        self._answers.append(now)
        self._forget(now)

    def refused(self, *, now: float) -> None:
        """A call was refused for its pace. One refusal by itself teaches nothing: it may be jitter, or a neighbour."""
        calm, self._refused_at = now - self._refused_at, now
        if self._per_minute is None:
            if _EPISODE_SECONDS <= now - self._first_refused_at <= _NEAR_SECONDS:
                self._learn(now)
            elif calm > _NEAR_SECONDS:
                self._first_refused_at = now
            return
        self._per_minute = self._grown(calm)
        if now - self._cut_at >= _EPISODE_SECONDS:
            self._cut_at = now
            cut = self._per_minute * (_CUT_NEAR if calm < _NEAR_SECONDS else _CUT)
            # Never far below what was answered all the same: that was allowed.
            cut = min(max(cut, _CUT * self._answered_per_minute(now)), self._per_minute * _CUT_LEAST)
            self._per_minute = max(cut, self._least_per_minute)

    def per_minute(self, *, now: float) -> float | None:
        """The pace at which calls should go out; None for any."""
        return None if self._per_minute is None else self._grown(now - self._refused_at)

    def _learn(self, now: float) -> None:
        """Begin with the pace of what was answered lately."""
        answered = self._answered_per_minute(now)
        if len(self._answers) >= _LEAST_ANSWERS:
            self._per_minute, self._least_per_minute, self._cut_at = answered, answered * _LEAST_SHARE, now

    def _answered_per_minute(self, now: float) -> float:
        self._forget(now)
        span = now - self._answers[0] if self._answers else 0.0
        return len(self._answers) / max(span, _EPISODE_SECONDS) * 60.0

    def _grown(self, calm: float) -> float:
        """What it has become in so many seconds since the last refusal."""
        assert self._per_minute is not None, "there was a refusal"  # noqa: S101
        rate = _GROWTH_PER_SECOND
        factor = 1.0
        for doubling in range(_MOST_DOUBLINGS + 1):
            last = doubling == _MOST_DOUBLINGS
            seconds = min(calm, _LONGEST_CALM_SECONDS if last else _CALM_SECONDS)
            factor *= (1.0 + rate) ** seconds
            calm -= seconds
            rate *= 2
        return min(self._per_minute * factor, 1e9)

    def _forget(self, now: float) -> None:
        while self._answers and self._answers[0] < now - _WINDOW_SECONDS:
            self._answers.popleft()

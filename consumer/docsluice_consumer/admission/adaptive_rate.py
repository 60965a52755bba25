"""What a provider that names no limit turns out to allow. Pure: time is passed in, in seconds.

After a refusal the pace is a little less than the one that was refused, and for a trial less still. When that does not
end the refusals they were no limit's, and the pace is forgotten. Else it grows again, the faster the longer nothing is
refused, and the slower the more trials have confirmed it: a limit that stands is then touched once in two minutes, or
in a hundred calls where that is longer, but at least once in ten minutes, and one that was raised is found within
minutes.
"""

from __future__ import annotations

import math
from collections import deque

_MINUTE_SECONDS = 60.0
"""As long as a provider's window, at the most. What was answered in it was allowed, however unevenly it came."""
_LATELY_SECONDS = 15.0
_EPISODE_SECONDS = 1.0
"""Calls that were in flight together are refused together. They count once."""
_NEAR_SECONDS = 10.0
_NEAR_CALLS = 3.0
_CUT_NEAR = 0.8
"""While refusals follow one another, the limit is still far below."""
_CUT_MOST = 0.5
"""After refusals all through a minute, down to what was answered in it. By halves, for that is few calls to count."""
_CUT = 0.94
_CUT_LEAST = 0.97
_ON_TRIAL, _ON_FIRST_TRIAL = 0.9, 0.8
"""Far enough below a limit to tell, and near enough to cost little.

The first pace was measured within seconds, and with the burst that a limit lets through at first.
"""
_TRIAL_SECONDS, _FEWEST_ON_TRIAL, _MOST_ON_TRIAL = 60.0, 30, 150
"""In so many calls three in a hundred show."""
_GROWTH_IN_CALM = 1.06
_CALM_SECONDS = 120.0
_CALM_CALLS = 120.0
_LONGEST_FIRST_CALM_SECONDS = 600.0
_SURE_AFTER_TRIALS = 4
"""What is believed wrongly is over soon: for each trial that is missing, the pace grows twice as fast."""
_NO_LONGER_CONFIRMED = 3.0
"""A pace that has grown so much since the last trial was no limit. It is then learned from the start."""
_MOST_DOUBLINGS = 5
_LONGEST_CALM_SECONDS = 600.0
"""It has grown a millionfold by then."""
_ENOUGH_ANSWERS = 5
"""From fewer nothing can be learned of a pace within seconds."""
_ENOUGH_EPISODES = 3
"""After more within a minute the limit is far below."""
_LEAST_PER_MINUTE = 1.0


class AdaptiveRate:
    """Requests a minute, learned from refusals. None while nothing was refused."""

    def __init__(self) -> None:
        self._answers: deque[float] = deque()
        self._episodes: deque[float] = deque()
        self._per_minute: float | None = None
        self._refused_at = self._cut_at = float("-inf")
        self._is_on_trial = False
        self._trials = 0

    def answered(self, *, now: float) -> None:
        """A call was answered."""
        self._answers.append(now)
        self._forget(now)

    def refused(self, *, now: float) -> int:
        """A call was refused, and not by accident.

        Return how many calls are to tell whether going more slowly helps. 0 when the pace has not changed.
        """
        calm, self._refused_at = now - self._refused_at, now
        self._forget(now)
        if self._episodes and now - self._episodes[-1] < _EPISODE_SECONDS:
            return 0
        self._episodes.append(now)
        if self._per_minute is None:
            self._per_minute = self._learned(now)
        elif self._answers and self._answers[-1] > self._cut_at:  # where all is refused, it is not for the pace
            self._per_minute = self._cut(calm, now)
        else:
            return 0
        if self._per_minute is None:
            return 0
        self._cut_at, self._is_on_trial = now, True
        in_time = self._per_minute / _MINUTE_SECONDS * _TRIAL_SECONDS
        return round(max(_FEWEST_ON_TRIAL, min(in_time, _MOST_ON_TRIAL)))

    def judged(self, *, is_limit: bool, now: float) -> None:
        """The trial is over: whether going more slowly has helped."""
        self._is_on_trial, self._refused_at = False, now
        self._trials += 1
        if not is_limit:
            self._per_minute, self._trials = None, 0
            self._episodes.clear()

    def per_minute(self, *, now: float) -> float | None:
        """The pace at which calls should go out. None for any."""
        return None if self._per_minute is None else self._grown(now - self._refused_at)

    def _learned(self, now: float) -> float | None:
        """The pace of what was answered, to begin with."""
        lately = self._answered_since(now - _LATELY_SECONDS)
        if len(lately) < _ENOUGH_ANSWERS:
            lately = self._answered_since(now - _MINUTE_SECONDS)
        if len(lately) < 2 or lately[-1] < self._episodes[0]:  # noqa: PLR2004
            return None
        return _pace(len(lately) - 1, seconds=now - lately[0])

    def _cut(self, calm: float, now: float) -> float:
        """Less than was refused, but never far below what was answered all the same, for that was allowed."""
        assert self._per_minute is not None, "there was a refusal"  # noqa: S101
        refused = self._grown(calm)
        if refused > _NO_LONGER_CONFIRMED * self._per_minute:
            self._trials = 0
        is_near = calm < max(_NEAR_SECONDS, _NEAR_CALLS * 60.0 / refused)
        cut = refused * _CUT_NEAR if is_near else min(refused * _CUT, self._per_minute)
        allowed = self._allowed(_MINUTE_SECONDS, now)
        if len(self._answered_since(now - _LATELY_SECONDS)) >= _ENOUGH_ANSWERS:
            allowed = min(allowed, self._allowed(_LATELY_SECONDS, now))
        cut = min(max(cut, _CUT * allowed), refused * _CUT_LEAST)
        if len(self._episodes) > _ENOUGH_EPISODES:
            cut = min(cut, max(allowed, refused * _CUT_MOST))
        return max(cut, _LEAST_PER_MINUTE)

    def _allowed(self, seconds: float, now: float) -> float:
        """The pace of what was answered in the last so many seconds, or since the first call in them came back."""
        begin = min(moment for moment in (*self._answers, *self._episodes) if moment >= now - seconds)
        return _pace(sum(1 for answered in self._answers if answered > begin), seconds=now - begin)

    def _answered_since(self, moment: float) -> list[float]:
        return [answered for answered in self._answers if answered >= moment]

    def _grown(self, calm: float) -> float:
        """What it has become in so many seconds since the last refusal, or the end of the trial."""
        assert self._per_minute is not None, "there was a refusal"  # noqa: S101
        if self._is_on_trial:
            return self._per_minute * (_ON_TRIAL if self._trials else _ON_FIRST_TRIAL)
        step = min(max(_CALM_SECONDS, _CALM_CALLS * 60.0 / self._per_minute), _LONGEST_FIRST_CALM_SECONDS)
        step /= 2 ** max(0, _SURE_AFTER_TRIALS - self._trials)
        growth, power = 0.0, 1
        for _ in range(_MOST_DOUBLINGS):
            seconds = min(calm, step)
            growth += power * seconds / step
            calm, power = calm - seconds, power * 2
        growth += power * min(calm, _LONGEST_CALM_SECONDS) / step
        return min(self._per_minute * math.pow(_GROWTH_IN_CALM, growth), 1e9)

    def _forget(self, now: float) -> None:
        for moments in (self._answers, self._episodes):
            while moments and moments[0] < now - _MINUTE_SECONDS:
                moments.popleft()


def _pace(calls: int, *, seconds: float) -> float:
    return calls / max(seconds, _EPISODE_SECONDS) * 60.0

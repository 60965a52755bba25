"""What a provider that names no limit turns out to allow. Pure: time is passed in, in seconds.

After a refusal the pace is a little below the one that was refused, and lower still during a trial. If refusals go on,
they came from no limit, and the pace is forgotten. Otherwise it grows again. It grows faster the longer nothing is
refused, and slower the more trials have confirmed it. So a real limit is touched once in two minutes, or once in a
hundred calls if that is longer, but at least once in ten minutes. A raised limit is found within minutes.
"""

from __future__ import annotations

import math
from collections import deque

_MINUTE_SECONDS = 60.0
"""The longest window of a provider. What was answered in it was allowed, however unevenly it came."""
_LATELY_SECONDS = 15.0
_EPISODE_SECONDS = 1.0
"""Calls that were in flight together are refused together. They count once."""
_NEAR_SECONDS = 10.0
_NEAR_CALLS = 3.0
_CUT_NEAR = 0.8
"""If refusals follow one another, the limit is still far below."""
_CUT_MOST = 0.5
"""After a minute of refusals, go down to what was answered in it. By halves, for few calls were counted."""
_CUT = 0.94
_CUT_LEAST = 0.97
_ON_TRIAL, _ON_FIRST_TRIAL = 0.9, 0.8
"""Far enough below a limit to show, and near enough to cost little.

The first pace was measured within seconds, and with the burst that a limit lets through at first.
"""
_TRIAL_SECONDS, _FEWEST_ON_TRIAL, _MOST_ON_TRIAL = 60.0, 30, 150
"""This many calls show a share of 3 %."""
_GROWTH_IN_CALM = 1.06
_CALM_SECONDS = 120.0
_CALM_CALLS = 120.0
_LONGEST_FIRST_CALM_SECONDS = 600.0
_SURE_AFTER_TRIALS = 4
"""A wrong belief is over soon: the pace grows twice as fast for each trial that is missing."""
_NO_LONGER_CONFIRMED = 3.0
"""A pace that has grown so much since the last trial was no limit. It is then learned from the start."""
_MOST_DOUBLINGS = 5
_LONGEST_CALM_SECONDS = 600.0
"""It has grown a millionfold by then."""
_ENOUGH_ANSWERS = 5
"""Fewer answers say nothing about a pace within seconds."""
_ENOUGH_EPISODES = 3
"""After more within a minute the limit is far below."""
_LEAST_PER_MINUTE = 1.0


class AdaptiveRate:
    """Requests a minute, learned from refusals. None before the first refusal."""

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
        """Note a call that was refused, and not by accident.

        Returns how many calls should tell whether the lower pace helps. 0 if the pace has not changed.
        """
        calm, self._refused_at = now - self._refused_at, now
        self._forget(now)
        if self._episodes and now - self._episodes[-1] < _EPISODE_SECONDS:
            return 0
        self._episodes.append(now)
        if self._per_minute is None:
            self._per_minute = self._learned(now)
        elif self._answers and self._answers[-1] > self._cut_at:  # if everything is refused, the pace is not the reason
            self._per_minute = self._cut(calm, now)
        else:
            return 0
        if self._per_minute is None:
            return 0
        self._cut_at, self._is_on_trial = now, True
        in_time = self._per_minute / _MINUTE_SECONDS * _TRIAL_SECONDS
        return round(max(_FEWEST_ON_TRIAL, min(in_time, _MOST_ON_TRIAL)))

    def judged(self, *, is_limit: bool, now: float) -> None:
        """End the trial. `is_limit`: whether the lower pace has helped."""
        self._is_on_trial, self._refused_at = False, now
        self._trials += 1
        if not is_limit:
            self._per_minute, self._trials = None, 0
            self._episodes.clear()

    def per_minute(self, *, now: float) -> float | None:
        """The pace at which calls should go out. None for any."""
        return None if self._per_minute is None else self._grown(now - self._refused_at)

    def _learned(self, now: float) -> float | None:
        """The first pace: that of what was answered."""
        lately = self._answered_since(now - _LATELY_SECONDS)
        if len(lately) < _ENOUGH_ANSWERS:
            lately = self._answered_since(now - _MINUTE_SECONDS)
        if len(lately) < 2 or lately[-1] < self._episodes[0]:  # noqa: PLR2004
            return None
        return _pace(len(lately) - 1, seconds=now - lately[0])

    def _cut(self, calm: float, now: float) -> float:
        """A pace below the refused one, but never far below what was answered, for that was allowed."""
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
        """The pace of what was answered in the last `seconds`, or since the first answer in them."""
        begin = min(moment for moment in (*self._answers, *self._episodes) if moment >= now - seconds)
        return _pace(sum(1 for answered in self._answers if answered > begin), seconds=now - begin)

    def _answered_since(self, moment: float) -> list[float]:
        return [answered for answered in self._answers if answered >= moment]

    def _grown(self, calm: float) -> float:
        """The pace after `calm` seconds without a refusal, or since the end of the trial."""
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

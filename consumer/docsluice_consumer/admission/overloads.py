"""What a model's refusals and time-outs say about the pace of all calls. Pure.

Some come by accident at any pace: a busy replica, a neighbour. Others come from a limit. Their number cannot tell the
two apart, but a trial can: calls go out more slowly for a while. A limit then refuses nothing, and accidents go on as
before. Their share is expected from then on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

_FEWEST_ACCIDENTS, _FIRST_ACCIDENTS, _MOST_ACCIDENTS = 0.005, 0.01, 0.2
"""The share of calls that is expected to fail by accident: at least, at first, and at most."""
_ACCIDENTS_ON_TRIAL = 0.15
"""Until a trial is over, only a share far above that of accidents slows calls down further."""
_TIMES_AT_A_LIMIT, _LEAST_AT_A_LIMIT, _MOST_AT_A_LIMIT = 4.0, 0.1, 0.5
_EVIDENCE_OF_A_LIMIT = 6.0
"""At first three in a row have it, or three with nine answers between. At half a percent hardly any ever have."""
_FIRST_EVIDENCE, _MOST_EVIDENCE = 4.0, 12.0
"""Before the first answers one overload is enough. A hundred answers end the evidence of many."""
_ANSWERS_BETWEEN_TURNS = 50
"""A pause of a second for one document then costs the others little."""
_ODDS_OF_A_TURN = 1e-5
"""A document refused this often is no accident: it needs something that it cannot get beside the others."""
_ENOUGH_TO_TELL = 3
_TOO_MANY = 1 / 6
"""A limit that is still exceeded, or an outage, refuses this many. Accidents do not."""
_MARGIN = 1.5
"""A share estimated too high costs little. One estimated too low holds calls up again and again."""
_CALLS_KNOWN = 200
"""The estimate from before a trial weighs as much as this many calls of it."""


class Verdict(Enum):
    """What a trial has shown."""

    LIMIT = "limit"
    """Going more slowly has helped."""
    ACCIDENTS = "accidents"
    """It has not helped."""
    STILL_TOO_FAST = "still too fast"


@dataclass(slots=True)
class _Trial:
    began_at: float
    length: int
    calls: int = 0
    overloads: int = 0


class Overloads:
    """Weighs each overload of a model against the answers between. Time is passed in, in seconds."""

    def __init__(self) -> None:
        self._evidence = _FIRST_EVIDENCE
        self._accidents = _FIRST_ACCIDENTS
        self._trial: _Trial | None = None
        self._answers = 0
        self._next_turn = 0

    def answered(self, *, sent_at: float) -> None:
        """A call was answered."""
        self._answers += 1
        self._weigh(sent_at, is_overload=False)

    def met(self, *, sent_at: float) -> bool:
        """Note a call that was refused for its pace, or has timed out. Returns whether that is more than accidents."""
        return self._weigh(sent_at, is_overload=True) >= _EVIDENCE_OF_A_LIMIT

    def gives_turn(self, *, times_alone: int) -> bool:
        """Whether other calls may wait for a document that alone was refused `times_alone` times.

        If so, its turn begins.
        """
        is_odd = self._accidents ** (times_alone + 1) < _ODDS_OF_A_TURN
        if not times_alone or not is_odd or self._answers < self._next_turn:
            return False
        self._next_turn = self._answers + _ANSWERS_BETWEEN_TURNS
        return True

    def begin_trial(self, *, calls: int, now: float) -> None:
        """Begin a trial: calls go out more slowly, and the next `calls` tell whether that helps."""
        self._trial, self._evidence = _Trial(began_at=now, length=calls), 0.0

    def verdict(self) -> Verdict | None:
        """The result of a trial, once, when it is over. None before, and without a trial."""
        trial = self._trial
        if trial is None or trial.calls < trial.length:
            return None
        self._trial, self._evidence = None, 0.0
        share = trial.overloads / trial.calls
        if share > _TOO_MANY:
            return Verdict.STILL_TOO_FAST
        is_limit = trial.overloads < _ENOUGH_TO_TELL or share < self._accidents
        weight = trial.calls / (trial.calls + _CALLS_KNOWN) if is_limit else 1.0
        self._accidents += weight * (_MARGIN * share - self._accidents)
        self._accidents = min(_MOST_ACCIDENTS, max(_FEWEST_ACCIDENTS, self._accidents))
        return Verdict.LIMIT if is_limit else Verdict.ACCIDENTS

    def _weigh(self, sent_at: float, *, is_overload: bool) -> float:
        """Add the log-likelihood of such an end at a limit against by accident. Return the evidence of a limit.

        A call that went out before the trial says nothing about it.
        """
        trial = self._trial
        if trial and sent_at < trial.began_at:
            return _MOST_EVIDENCE
        by_accident = max(self._accidents, _ACCIDENTS_ON_TRIAL) if trial else self._accidents
        at_a_limit = min(_MOST_AT_A_LIMIT, max(_LEAST_AT_A_LIMIT, _TIMES_AT_A_LIMIT * by_accident))
        odds = at_a_limit / by_accident if is_overload else (1 - at_a_limit) / (1 - by_accident)
        evidence = max(0.0, self._evidence + math.log(odds))
        self._evidence = min(_MOST_EVIDENCE, evidence)
        if trial:
            trial.calls += 1
            trial.overloads += is_overload
        return evidence

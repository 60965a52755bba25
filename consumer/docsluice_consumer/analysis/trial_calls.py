"""When a trial call may go out, to learn whether a model refuses everybody. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from docsluice_consumer.analysis.fault_attribution import Way

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 10.0, 60.0
"""Pauses after a trial that has shown nothing, though it may be paid for."""


@dataclass(slots=True)
class _Trial:
    is_under_way: bool = False
    next_at: float = float("-inf")
    pause_seconds: float = _FIRST_PAUSE_SECONDS


class Trials:
    """Trial calls: one at a time on each way, and few if they show nothing."""

    def __init__(self) -> None:
        self._trials: dict[Way, _Trial] = {}

    def may_begin(self, way: Way, *, now: float) -> bool:
        """Whether a trial call may go out now. If so, `ended` must follow."""
        trial = self._trials.setdefault(way, _Trial())
        if trial.is_under_way or now < trial.next_at:
            return False
        trial.is_under_way = True
        return True

    def is_under_way(self, way: Way) -> bool:
        """Whether a trial call is in flight."""
        return way in self._trials and self._trials[way].is_under_way

    def ended(self, way: Way, *, is_told: bool, now: float) -> None:
        """Note that a trial call is over. `is_told`: it was answered or refused."""
        trial = self._trials[way]
        trial.is_under_way = False
        if is_told:
            trial.pause_seconds = _FIRST_PAUSE_SECONDS
            return
        trial.next_at = now + trial.pause_seconds
        trial.pause_seconds = min(_LONGEST_PAUSE_SECONDS, trial.pause_seconds * 2)

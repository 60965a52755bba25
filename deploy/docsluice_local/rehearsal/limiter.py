"""A minute's limit as providers enforce it: in short windows. Pure: time is passed in, in seconds."""

import math

_SECONDS_PER_MINUTE = 60.0


class MinuteLimit:
    """Lets through `per_minute` units a minute, in bursts of at most `window_seconds` worth.

    A call passes while anything is left of the window and may overdraw it once, so a call larger than the window can
    pass at all. What it overdrew is missing for the next. In the long run exactly the limit passes.
    """

    def __init__(self, *, per_minute: float, window_seconds: float, now: float) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / _SECONDS_PER_MINUTE
        self._window_seconds = window_seconds
        self._window = max(1.0, self._rate * window_seconds)
        self._left = self._window
        self._filled_at = now

    def wait_seconds(self, *, now: float) -> float:
        """How long until a call may pass. 0 when one may now."""
        self._fill(now)
        # A thousandth of a unit short of it, rounding would have the call come back a moment too early.
        return 0.0 if self._left > 0 else (0.001 - self._left) / self._rate

    def take(self, amount: float, *, now: float) -> None:
        """Count a call. A negative amount gives back what was counted too much."""
        self._fill(now)
        self._left = min(self._window, self._left - amount)

    def change(self, per_minute: float, *, now: float) -> None:
        """Set another limit. What was overdrawn before stays overdrawn."""
        self._fill(now)
        self.per_minute = per_minute
        self._rate = per_minute / _SECONDS_PER_MINUTE
        self._window = max(1.0, self._rate * self._window_seconds)  # what is left above it, the next look cuts

    def remaining(self, *, now: float) -> int:
        """What the provider says is left of the minute: the limit minus recent use."""
        self._fill(now)
        return max(0, math.floor(self.per_minute - (self._window - self._left)))

    def reset_seconds(self, *, now: float) -> float:
        """How long until nothing counts as used."""
        self._fill(now)
        return (self._window - self._left) / self._rate

    def _fill(self, now: float) -> None:
        self._left = min(self._window, self._left + self._rate * (now - self._filled_at))
        self._filled_at = now

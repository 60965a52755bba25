"""A token bucket. Pure: time is passed in, in monotonic seconds."""

from __future__ import annotations

SECONDS_PER_MINUTE = 60.0
_ROUNDING_SECONDS = 1e-6
"""A shorter wait is a rounding error of a wait that is over. The bucket goes into debt for it."""


class TokenBucket:
    """Lets through `per_minute` units a minute, with a burst of at most `burst_seconds` worth.

    Providers enforce a minute's limit in windows of about a second. A bucket that started full would overshoot in its
    first minute, so this one starts empty. A burst of a whole window would fill the window. A call that is a few
    milliseconds faster than the one before it would then be refused, so half a window is enough.

    A request larger than the burst goes out when the bucket is full, and puts it into debt. Requests behind it wait
    until that is paid. Providers do the same: a request larger than their window could never pass otherwise. So in any
    span of time, at most rate times span plus one burst, or plus the last request, is taken.
    """

    def __init__(self, *, per_minute: float, now: float, burst_seconds: float = 0.5) -> None:
        self.per_minute = per_minute
        self._burst_seconds = burst_seconds
        self._rate = per_minute / SECONDS_PER_MINUTE
        self._burst = max(1.0, self._rate * burst_seconds)
        self._level = 0.0
        self._filled_at = now

    @property
    def burst(self) -> float:
        """What may pass at once."""
        return self._burst

    def set_rate(self, per_minute: float, *, now: float) -> None:
        """Go on at another rate. Saved units are cut to the new burst."""
        self._fill(now)
        self.per_minute = per_minute
        self._rate = per_minute / SECONDS_PER_MINUTE
        self._burst = max(1.0, self._rate * self._burst_seconds)
        self._level = min(self._level, self._burst)

    def wait_seconds(self, amount: float, *, now: float) -> float:
        """Seconds until `amount` may be taken. 0 if it may be now."""
        self._fill(now)
        seconds = (min(amount, self._burst) - self._level) / self._rate
        return seconds if seconds > _ROUNDING_SECONDS else 0.0

    def take(self, amount: float, *, now: float) -> None:
        """Take it, into debt if need be."""
        self._fill(now)
        self._level -= amount

    def give_back(self, amount: float, *, now: float) -> None:
        """Return what was reserved and not used. A negative amount takes the difference."""
        self._fill(now)
        self._level = min(self._burst, self._level + amount)

    def available(self, *, now: float) -> float:
        """What could be taken at once. Negative while in debt."""
        self._fill(now)
        return self._level

    def owed(self, *, now: float) -> float:
        """What was taken beyond what was available."""
        return max(0.0, -self.available(now=now))

    def _fill(self, now: float) -> None:
        if now != self._filled_at:
            self._level = min(self._burst, self._level + self._rate * (now - self._filled_at))
            self._filled_at = now

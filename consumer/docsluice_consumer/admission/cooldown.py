"""The cooldown that a provider asks for. Pure: time is passed in, in monotonic seconds."""

from __future__ import annotations

_LEAST_PAUSE_SECONDS = 0.25
_LONGEST_LEAST_SECONDS = 15.0
_NEWS_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
"""A call a minute costs nothing. Obeying a nonsensical header could cost the day."""


class Cooldown:
    """Closed for as long as the provider asked, and then opened slowly.

    Otherwise all waiting calls would go out in the same instant and be refused again. So the first `crowd` calls after
    an opening are spread evenly over `opening_seconds`. While only refusals come back, the shortest pause doubles each
    time.
    """

    def __init__(self, *, opening_seconds: float = 2.0) -> None:
        self._opening_seconds = opening_seconds
        self._opens_at = float("-inf")
        self._passed = 0
        self._refusals_in_a_row = 0

    def close(self, seconds: float, *, now: float) -> float:
        """Let no call out for about `seconds`.

        Returns for how long it is closed now, or 0 if that was known already.
        """
        if not self.is_closed(now=now):
            self._refusals_in_a_row += 1
        least = min(_LONGEST_LEAST_SECONDS, _LEAST_PAUSE_SECONDS * 2 ** min(10, self._refusals_in_a_row - 1))
        opens_at = now + min(max(seconds, least), _LONGEST_PAUSE_SECONDS)
        was_known = opens_at <= self._opens_at + _NEWS_SECONDS
        if opens_at > self._opens_at:
            self._opens_at = opens_at
            self._passed = 0
        return 0.0 if was_known else opens_at - now

    def answered(self) -> None:
        """Note an answer: the next refusal counts as the first."""
        self._refusals_in_a_row = 0

    def open(self, *, now: float) -> None:
        """Open now, slowly."""
        self._opens_at = now
        self._passed = 0

    def is_closed(self, *, now: float) -> bool:
        """Whether the pause is not over yet."""
        return now < self._opens_at

    def wait_seconds(self, *, now: float, crowd: int) -> float:
        """Seconds until the next call may go out. 0 if it may now."""
        share = self._passed / crowd if self._passed < crowd else 0.0
        return max(0.0, self._opens_at + self._opening_seconds * share - now)

    def passed(self) -> None:
        """A call has gone out."""
        self._passed += 1

"""The pause that a provider asks for. Pure: time is passed in, in seconds on any clock that never goes back."""

from __future__ import annotations

_LEAST_PAUSE_SECONDS = 0.25
_LONGEST_LEAST_SECONDS = 15.0
_NEWS_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
"""To ask once a minute costs nothing, and to believe a nonsensical word would cost the day."""


class Cooldown:
    """Closed for as long as was asked, and then opened slowly.

    All who have waited meanwhile would otherwise go out in the same instant, and be refused again. The first `crowd`
    calls after an opening are spread evenly over `opening_seconds`. While nothing but refusals comes back, the least
    pause doubles each time.
    """

    def __init__(self, *, opening_seconds: float = 2.0) -> None:
        self._opening_seconds = opening_seconds
        self._opens_at = float("-inf")
        self._passed = 0
        self._refusals_in_a_row = 0

    def close(self, seconds: float, *, now: float) -> float:
        """Let nobody out for about so long. For how many seconds it is closed now, or 0 if that was known already."""
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
        """A call was answered: the next refusal is the first of its kind."""
        self._refusals_in_a_row = 0

    def open(self, *, now: float) -> None:
        """Open now, slowly."""
        self._opens_at = now
        self._passed = 0

    def is_closed(self, *, now: float) -> bool:
        """Whether the pause is not over yet."""
        return now < self._opens_at

    def wait_seconds(self, *, now: float, crowd: int) -> float:
        """How long until the next call may go out. 0 when it may now."""
        share = self._passed / crowd if self._passed < crowd else 0.0
        return max(0.0, self._opens_at + self._opening_seconds * share - now)

    def passed(self) -> None:
        """A call has gone out."""
        self._passed += 1

"""The pause that a provider asks for. Pure: time is passed in, in seconds on any clock that never goes back."""

from __future__ import annotations


class Gate:
    """Closed for as long as was asked, and then opened slowly.

    All who have waited meanwhile would otherwise go out in the same instant, and be refused again. The first `crowd`
    calls after an opening are spread evenly over `opening_seconds`.
    """

    def __init__(self, *, opening_seconds: float = 2.0) -> None:
        self._opening_seconds = opening_seconds
        self._opens_at = float("-inf")
        self._passed = 0

    def close(self, seconds: float, *, now: float) -> None:
        """Let nobody out for so long, unless that is known already."""
        if now + seconds > self._opens_at:
            self._opens_at = now + seconds
            self._passed = 0

    def open(self, *, now: float) -> None:
        """Open now, slowly."""
        self._opens_at = now
        self._passed = 0

    def wait_seconds(self, *, now: float, crowd: int) -> float:
        """How long until the next call may go out; 0 when it may now."""
        share = self._passed / crowd if self._passed < crowd else 0.0
        return max(0.0, self._opens_at + self._opening_seconds * share - now)

    def passed(self) -> None:
        """A call has gone out."""
        self._passed += 1

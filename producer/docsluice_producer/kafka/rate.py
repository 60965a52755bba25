"""A rate that what is sent keeps to. Pure."""


class Rate:
    """A number a second that is never exceeded, even after a slow time. None sets no limit."""

    def __init__(self, *, per_second: int | None) -> None:
        self._per_second = per_second
        self._due = float("-inf")

    def left(self, *, now: float) -> float:
        """Seconds until the next may go. 0 or less if it may go now."""
        return self._due - now

    def went(self, count: int, *, now: float) -> None:
        """Count what goes now."""
        if self._per_second is not None:
            self._due = max(self._due, now) + count / self._per_second

"""How many documents end in an hour. Pure."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

WINDOW_SECONDS = 15 * 60
LEAST_DOCUMENTS = 10
LEAST_SECONDS = 10.0
_SECONDS_AN_HOUR = 3600


@dataclass(slots=True)
class _Second:
    """What ended within one second: how many, the first and the last of them as seconds since 1970."""

    documents: int
    first: float
    last: float


class Pace:
    """The rate over the last quarter of an hour, reckoned back from the latest end.

    The documents' own clocks count, not ours: the outcomes of a day that are read in a second took a day. They may come
    in any order. Memory is bounded by the window, however many documents end in it.
    """

    def __init__(self) -> None:
        self._seconds: dict[int, _Second] = {}
        self._latest: int | None = None

    def add(self, ended_at: datetime) -> None:
        """Count the end of one document."""
        moment = ended_at.timestamp()
        number = math.floor(moment)
        self._latest = number if self._latest is None else max(self._latest, number)
        second = self._seconds.setdefault(number, _Second(0, moment, moment))
        second.documents += 1
        second.first = min(second.first, moment)
        second.last = max(second.last, moment)
        if len(self._seconds) > 2 * WINDOW_SECONDS:
            self._seconds = dict(self._recent())

    @property
    def documents_per_hour(self) -> float | None:
        """None for fewer than ten documents, or within less than ten seconds: that would be chance, not a rate."""
        recent = [second for _, second in self._recent()]
        documents = sum(second.documents for second in recent)
        if documents < LEAST_DOCUMENTS:
            return None
        seconds = max(second.last for second in recent) - min(second.first for second in recent)
        if seconds < LEAST_SECONDS:
            return None
        return (documents - 1) / seconds * _SECONDS_AN_HOUR

    def _recent(self) -> Iterator[tuple[int, _Second]]:
        begin = (self._latest or 0) - WINDOW_SECONDS
        return ((number, second) for number, second in self._seconds.items() if number >= begin)

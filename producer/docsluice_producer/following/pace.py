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
    """Documents that ended within one second: how many, and the first and last in seconds since 1970."""

    documents: int
    first: float
    last: float


class Pace:
    """The rate over the last quarter of an hour before the latest end.

    The documents' own times count, not ours: a day's outcomes that are read in a second took a day. They may come in
    any order. The window bounds memory, however many documents end in it.
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
        """Documents an hour. None for fewer than ten documents or ten seconds, which would be chance."""
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

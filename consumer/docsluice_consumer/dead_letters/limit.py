"""The dead-letter limit: too many documents fail for the fault to be theirs. Pure.

A schema that no answer meets, or a producer that has changed its format, would otherwise pour a whole topic into the
dead letters. Two counts notice it: dead letters in a row, and their share of the last documents.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Literal

WINDOW = 200
"""How many of the last documents the share covers."""
JUDGED_FROM = 100
"""With fewer documents the share says nothing."""
_COMMONEST = 3


@dataclass(slots=True, eq=False)
class _Row:
    """Dead letters without a result between them, by cause. `joined` is the row that it has become a part of."""

    causes: Counter[str] = field(default_factory=Counter)
    joined: _Row | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A counted result, with the rows of dead letters on both sides. `start` is when counting began."""

    before: _Row
    after: _Row
    start: object


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The count that reached its limit: dead letters and documents. `causes` are the most common ones."""

    limit: Literal["consecutive", "ratio"]
    dead_letters: int
    ended: int
    causes: dict[str, int]

    @property
    def sentence(self) -> str:
        """The count in words, with the setting that set the limit."""
        if self.limit == "consecutive":
            return f"{self.dead_letters} dead letters in a row (DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE)"
        return f"{self.dead_letters} dead letters among {self.ended} documents (DOCSLUICE_DEAD_LETTER_MAX_RATIO)"


class DeadLetterLimit:
    """Counts documents when their end is decided. A ratio of 1, or 0 in a row, switches that limit off.

    Once `reached`, it stays so until `start_afresh`.
    """

    def __init__(self, *, max_ratio: float, max_consecutive: int) -> None:
        self.reached: Reached | None = None
        self._max_ratio = max_ratio
        self._max_consecutive = max_consecutive
        self._last: deque[Result | str] = deque(maxlen=WINDOW)
        """The documents that ended last: a result, or a dead letter's cause."""
        self._row = _Row()
        self._start = object()

    def result(self) -> Result:
        """Count a result."""
        result = Result(before=self._row, after=_Row(), start=self._start)
        self._row = result.after
        self._last.append(result)
        return result

    def dead_letter(self, cause: str, *, withdrawn: Result | None = None) -> None:
        """Count a coming dead letter. If it reaches a limit, it may not be published.

        With `withdrawn` it was counted as a result before. That result then breaks no row, whatever has ended since. If
        every result is refused, others are always on their way.
        """
        row = self._row
        if withdrawn is not None and withdrawn.start is self._start:
            row = _united(withdrawn.before, withdrawn.after)
            with contextlib.suppress(ValueError):  # it is no longer among the last
                self._last.remove(withdrawn)
        self._last.append(cause)
        row.causes[cause] += 1
        if self.reached is None:
            self.reached = self._judged(row)

    def start_afresh(self) -> None:
        """Forget what was counted."""
        self.reached = None
        self._last.clear()
        self._row = _Row()
        self._start = object()

    def _judged(self, row: _Row) -> Reached | None:
        count = row.causes.total()
        if 0 < self._max_consecutive <= count:
            return Reached(limit="consecutive", dead_letters=count, ended=count, causes=_commonest(row.causes))
        causes, ended = Counter(one for one in self._last if isinstance(one, str)), len(self._last)
        dead = causes.total()
        if self._max_ratio < 1 and ended >= JUDGED_FROM and dead >= self._max_ratio * ended:
            return Reached(limit="ratio", dead_letters=dead, ended=ended, causes=_commonest(causes))
        return None


def _united(before: _Row, after: _Row) -> _Row:
    """Join two rows that had a result between them. The later one takes the other in, because it still grows."""
    earlier, later = _whole(before), _whole(after)
    later.causes += earlier.causes
    earlier.joined = later
    return later


def _whole(row: _Row) -> _Row:
    """The row that a row is a part of. It is found faster the next time."""
    whole = row
    while whole.joined is not None:
        whole = whole.joined
    while row.joined is not None:
        row.joined, row = whole, row.joined
    return whole


def _commonest(causes: Counter[str]) -> dict[str, int]:
    return dict(causes.most_common(_COMMONEST))

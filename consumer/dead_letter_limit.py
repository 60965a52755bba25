"""When so many documents end as dead letters that the fault cannot be theirs. Pure.

A schema that no answer meets, or a producer that has changed its format, would else pour a whole topic into the dead
letters. Two counts see it: dead letters in a row, and their share of the documents that ended last.
"""

from __future__ import annotations

import contextlib
from collections import Counter, deque
from dataclasses import dataclass
from typing import Literal

WINDOW = 200
"""The share is that of so many documents, those that ended last."""
JUDGED_FROM = 100
"""Of fewer documents the share says nothing."""
_COMMONEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class Ended:
    """One document at its end; `cause` says in a word why it is a dead letter, and is None for a result."""

    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """The count that reached its limit: so many dead letters of so many documents. `causes`: the commonest of them."""

    limit: Literal["consecutive", "ratio"]
    dead_letters: int
    ended: int
    causes: dict[str, int]

    @property
    def sentence(self) -> str:
        """In words, with the setting that set the limit."""
        if self.limit == "consecutive":
            return f"{self.dead_letters} dead letters in a row (DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE)"
        return f"{self.dead_letters} dead letters among {self.ended} documents (DOCSLUICE_DEAD_LETTER_MAX_RATIO)"


class DeadLetterLimit:
    """Counts documents as it is decided how they end. A ratio of 1, or 0 in a row, means that there is no such limit.

    Once `reached`, it stays so until it starts afresh.
    """

    def __init__(self, *, max_ratio: float, max_consecutive: int) -> None:
        self.reached: Reached | None = None
        self._max_ratio = max_ratio
        self._max_consecutive = max_consecutive
        self._ended: deque[Ended] = deque(maxlen=WINDOW)
        self._row = 0

    def result(self) -> Ended:
        """A document has its result."""
        ended = Ended()
        self._ended.append(ended)
        self._row = 0
        return ended

    def withdraw(self, result: Ended) -> None:
        """That result turned out to be none, and is about to be counted as a dead letter."""
        with contextlib.suppress(ValueError):  # so many have ended since that it no longer counts
            self._ended.remove(result)

    def dead_letter(self, cause: str) -> None:
        """A document is to become a dead letter. Where that reaches a limit, it may not be published."""
        self._ended.append(Ended(cause))
        self._row += 1
        if self.reached is None:
            self.reached = self._judged()

    def start_afresh(self) -> None:
        """Forget what was counted."""
        self.reached = None
        self._ended.clear()
        self._row = 0

    def _judged(self) -> Reached | None:
        if 0 < self._max_consecutive <= self._row:
            in_a_row = list(self._ended)[-self._row :]
            return Reached(limit="consecutive", dead_letters=self._row, ended=self._row, causes=_commonest(in_a_row))
        dead, ended = sum(one.cause is not None for one in self._ended), len(self._ended)
        if self._max_ratio < 1 and ended >= JUDGED_FROM and dead >= self._max_ratio * ended:
            return Reached(limit="ratio", dead_letters=dead, ended=ended, causes=_commonest(self._ended))
        return None


def _commonest(ended: deque[Ended] | list[Ended]) -> dict[str, int]:
    return dict(Counter(one.cause for one in ended if one.cause is not None).most_common(_COMMONEST))

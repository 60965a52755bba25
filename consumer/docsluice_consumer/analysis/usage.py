"""What one document, or one step of it, has taken so far."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from docsluice.messages import Long, Usage


class CostLimitExceeded(Exception):
    """A document's calls would cost more than it may. `expected_usd` is what they would cost in all."""

    def __init__(self, expected_usd: Decimal) -> None:
        super().__init__(f"about {expected_usd:.6f} dollars")
        self.expected_usd = expected_usd


@dataclass(slots=True, kw_only=True)
class CostLimit:
    """What one document may cost, and what the calls that it is to have are expected to."""

    most_usd: Decimal | None
    reserved_usd: Decimal = Decimal(0)

    def reserve(self, cost_usd: Decimal, *, instead_of: Decimal = Decimal(0)) -> None:
        """Set aside for more calls, in place of what was set aside for one that will not be made.

        Raises:
            CostLimitExceeded: it would be too much in all. Nothing is set aside.
        """
        reserved = self.reserved_usd + cost_usd - instead_of
        if self.most_usd is not None and reserved > self.most_usd:
            raise CostLimitExceeded(reserved)
        self.reserved_usd = reserved


@dataclass(slots=True)
class DocumentUsage:
    """Failed attempts included. What is noted of a `part` is noted of the whole, too."""

    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)
    attempts: int = 0
    first_failed_at: datetime | None = None
    saved_usage: Usage = field(default_factory=Usage)
    """What answers had taken that were paid for before."""
    saved_usd: Decimal = Decimal(0)
    models: dict[str, str] = field(default_factory=dict)
    """By task, the model whose answer was taken."""
    long: dict[str, Long] = field(default_factory=dict)
    """By task, what was done about a document too large for one call."""
    invested: int = 0
    """Calls under way or answered: what would be wasted by stopping now. A document that only backs off has none."""
    place: int | None = None
    """In the order of arrival, once it was taken: of the document, and so of all its parts."""
    whole: DocumentUsage | None = None

    def part(self) -> DocumentUsage:
        """For a step of this document, or a part of this step."""
        return DocumentUsage(whole=self)

    def keep_place(self, take: Callable[[], int]) -> int:
        """The document's place in the order of arrival. `take` gives it one."""
        *_, document = self._wholes()
        if document.place is None:
            document.place = take()
        return document.place

    def invest(self, calls: int) -> None:
        """Note that so many more are under way, or fewer."""
        for one in self._wholes():
            one.invested += calls

    def count_call(self, *, usage: Usage, cost_usd: Decimal) -> None:
        """Add one call, whatever came of it."""
        for one in self._wholes():
            one.attempts += 1
            one.usage += usage
            one.cost_usd += cost_usd

    def count_saved(self, *, usage: Usage, cost_usd: Decimal) -> None:
        """Add an answer that was paid for before."""
        for one in self._wholes():
            one.saved_usage += usage
            one.saved_usd += cost_usd

    def taken(self) -> tuple[Usage, Decimal]:
        """Tokens and dollars that its answer has taken, now or before."""
        return self.usage + self.saved_usage, self.cost_usd + self.saved_usd

    def begin_again(self) -> None:
        """What was found in the store will be found there again. What was tried and spent stays."""
        self.saved_usage, self.saved_usd = Usage(), Decimal(0)
        self.invested = 0  # a call that went out in the very turn in which it was sent back was broken off

    def note_failure(self) -> None:
        """Remember when the first thing went wrong."""
        for one in self._wholes():
            one.first_failed_at = one.first_failed_at or datetime.now(UTC)

    def _wholes(self) -> Iterator[DocumentUsage]:
        one: DocumentUsage | None = self
        while one is not None:
            yield one
            one = one.whole

"""Tokens, cost and calls of one document, or of one step of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from docsluice.messages import Long, Usage


class CostLimitExceeded(Exception):
    """A document's calls would cost more than allowed. `expected_usd` is their expected sum."""

    def __init__(self, expected_usd: Decimal) -> None:
        super().__init__(f"about {expected_usd:.6f} dollars")
        self.expected_usd = expected_usd


@dataclass(slots=True, kw_only=True)
class CostLimit:
    """What one document may cost, and the expected cost of its coming calls."""

    most_usd: Decimal | None
    reserved_usd: Decimal = Decimal(0)

    def reserve(self, cost_usd: Decimal, *, instead_of: Decimal = Decimal(0)) -> None:
        """Reserve the cost of more calls, instead of what was reserved for a call that will not be made.

        Raises:
            CostLimitExceeded: the sum would be too high. Nothing is reserved.
        """
        reserved = self.reserved_usd + cost_usd - instead_of
        if self.most_usd is not None and reserved > self.most_usd:
            raise CostLimitExceeded(reserved)
        self.reserved_usd = reserved


@dataclass(slots=True)
class DocumentUsage:
    """Usage of one document, failed attempts included. What is counted for a `part` counts for the whole, too."""

    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)
    attempts: int = 0
    first_failed_at: datetime | None = None
    saved_usage: Usage = field(default_factory=Usage)
    """The usage of answers that were paid for before."""
    saved_usd: Decimal = Decimal(0)
    models: dict[str, str] = field(default_factory=dict)
    """By task, the model whose answer was taken."""
    by_step: dict[str, DocumentUsage] = field(default_factory=dict)
    """The parts of steps that have calls of their own. Empty where all tasks share a call."""
    long: dict[str, Long] = field(default_factory=dict)
    """By task, what was done about a document too large for one call."""
    invested: int = 0
    """Calls in flight or answered, which stopping now would waste. A document that only backs off has none."""
    place: int | None = None
    """The document's place in the order of arrival, once it was taken. All its parts share it."""
    whole: DocumentUsage | None = None

    def part(self) -> DocumentUsage:
        """Usage of a step of this document, or of a part of this step."""
        return DocumentUsage(whole=self)

    def keep_place(self, take: Callable[[], int]) -> int:
        """Return the document's place in the order of arrival, from `take` the first time."""
        *_, document = self._wholes()
        if document.place is None:
            document.place = take()
        return document.place

    def invest(self, calls: int) -> None:
        """Add calls in flight. A negative number removes some."""
        for one in self._wholes():
            one.invested += calls

    def count_call(self, *, usage: Usage, cost_usd: Decimal) -> None:
        """Add one call, whatever its end."""
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
        """Tokens and dollars of its answer, spent now or before."""
        return self.usage + self.saved_usage, self.cost_usd + self.saved_usd

    def begin_again(self) -> None:
        """Start over: stored answers will be found again. Attempts and spending stay."""
        self.saved_usage, self.saved_usd = Usage(), Decimal(0)
        self.invested = 0  # a call that went out in the turn in which it was sent back was broken off

    def note_failure(self) -> None:
        """Remember when the first thing went wrong."""
        for one in self._wholes():
            one.first_failed_at = one.first_failed_at or datetime.now(UTC)

    def _wholes(self) -> Iterator[DocumentUsage]:
        one: DocumentUsage | None = self
        while one is not None:
            yield one
            one = one.whole

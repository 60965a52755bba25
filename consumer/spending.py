"""What one document has taken so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from consumer.contracts import Usage


@dataclass(slots=True)
class Spending:
    """Failed attempts included."""

    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)
    attempts: int = 0
    first_failed_at: datetime | None = None
    models: dict[str, str] = field(default_factory=dict)
    """By task, the model whose answer was taken."""
    invested: int = 0
    """Calls under way or answered: what would be wasted by stopping now. A document that only backs off has none."""

    def note_failure(self) -> None:
        """Remember when the first thing went wrong."""
        self.first_failed_at = self.first_failed_at or datetime.now(UTC)

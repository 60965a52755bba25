"""How fast documents end, and so when a backlog is done and what it costs. Pure: time is passed in."""

from __future__ import annotations

import math
from collections import deque

_WINDOW_SECONDS = 120.0


class Throughput:
    """Looks back over the last two minutes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, float]] = deque()

    def note(self, *, now: float, documents: float, cost_usd: float) -> None:
        """Take a sample of two counters that only grow."""
        self._samples.append((now, documents, cost_usd))
        while now - self._samples[0][0] > _WINDOW_SECONDS and len(self._samples) > 2:  # noqa: PLR2004 - a span has two ends
            self._samples.popleft()

    def documents_per_second(self) -> float:
        """0 until two samples differ."""
        elapsed, documents, _ = self._span()
        return documents / elapsed if elapsed > 0 else 0.0

    def cost_usd_per_document(self) -> float | None:
        """None until a document has ended."""
        _, documents, cost = self._span()
        return cost / documents if documents > 0 else None

    def _span(self) -> tuple[float, float, float]:
        if not self._samples:
            return 0.0, 0.0, 0.0
        first, last = self._samples[0], self._samples[-1]
        return last[0] - first[0], last[1] - first[1], last[2] - first[2]


def useful_replicas(*, partitions: int, calls_in_flight: float) -> int:
    """How many replicas have work: each needs a partition and, on average, a call in flight."""
    return max(1, min(partitions, math.ceil(calls_in_flight)))

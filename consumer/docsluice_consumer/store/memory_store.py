"""A store in the memory of the process, and a store that keeps nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from docsluice_consumer.store.step_store import PaidStep
from docsluice_consumer.store.stored_values import MOST_STEP_BYTES, step_of

_OVERHEAD_BYTES = 400
"""What Python takes for an entry beside the step itself: the key, the objects and their places in a dict."""


@dataclass(frozen=True, slots=True)
class _Entry:
    written_at: float
    written: bytes


class MemoryStore:
    """A `StepStore` in the memory of this process. Over `max_bytes`, the oldest entries go first."""

    def __init__(self, *, max_bytes: int, max_age_seconds: float, clock: Callable[[], float] = time.time) -> None:
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._bytes = 0

    async def get(self, fingerprint: str) -> PaidStep | None:
        """See `StepStore`."""
        entry = self._entries.get(fingerprint)
        return None if entry is None or self._is_too_old(entry) else step_of(entry.written)

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """See `StepStore`. A step of more than `max_bytes` is not kept."""
        entry = _Entry(self._clock(), step.written())
        if _size(entry) > self._max_bytes or len(entry.written) > MOST_STEP_BYTES:
            return
        if fingerprint in self._entries:
            self._forget(fingerprint)
        self._entries[fingerprint] = entry
        self._bytes += _size(entry)
        while self._bytes > self._max_bytes or self._is_too_old(self._oldest()):
            self._forget(next(iter(self._entries)))

    async def close(self) -> None:
        """Forget all of it."""
        self._entries.clear()
        self._bytes = 0

    def _oldest(self) -> _Entry:
        return next(iter(self._entries.values()))

    def _forget(self, fingerprint: str) -> None:
        self._bytes -= _size(self._entries.pop(fingerprint))

    def _is_too_old(self, entry: _Entry) -> bool:
        """Too old, or as far in the future: the clock was wrong then."""
        return abs(self._clock() - entry.written_at) > self._max_age_seconds


class NoStore:
    """A `StepStore` that keeps nothing."""

    async def get(self, fingerprint: str) -> PaidStep | None:  # noqa: ARG002 - the protocol's
        """Nothing is known."""
        return None

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """Nothing is kept."""

    async def close(self) -> None:
        """Nothing is open."""


def _size(entry: _Entry) -> int:
    return len(entry.written) + _OVERHEAD_BYTES

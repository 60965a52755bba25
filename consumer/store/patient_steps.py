"""A store that may be away: waited for, for a while; or passed by, where that was asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from consumer.errors import StoreGone
from consumer.store.steps import PaidStep, StepStore, StoreAway

log = structlog.get_logger(__name__)

T = TypeVar("T")

WAIT_SECONDS = 60.0
_RETRY_SECONDS = 1.0
_PASS_BY_SECONDS = 5.0
"""For so long an optional store that was away is not tried again: each try may take a second."""
_REMEDY = "see to the store that DOCSLUICE_STORE_URL names"


class PatientSteps:
    """See `StepStore`; this one is never away. It raises `StoreGone` where waiting has not helped.

    `is_optional`: go on without it instead, paying again for what is in it, and keeping nothing meanwhile.
    """

    def __init__(
        self,
        *,
        store: StepStore,
        is_optional: bool,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._store = store
        self._is_optional = is_optional
        self._clock = clock
        self._sleep = sleep
        self._passed_by_until = float("-inf")
        self.why_away: str | None = None
        """In a few words, while it is."""

    async def get(self, fingerprint: str) -> PaidStep | None:
        """See `StepStore.get`."""
        return await self._patiently(lambda: self._store.get(fingerprint))

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """See `StepStore.put`."""
        await self._patiently(lambda: self._store.put(fingerprint, step))

    async def close(self) -> None:
        """See `StepStore.close`."""
        await self._store.close()

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T | None:
        began = self._clock()
        while True:
            if self._clock() < self._passed_by_until:
                return None
            if self.why_away is not None and self._is_optional:
                self._passed_by_until = self._clock() + _PASS_BY_SECONDS  # this one tries it, the others do not
            try:
                done = await attempt()
            except StoreAway as away:
                self._note_away(str(away))
            else:
                self._note_back()
                return done
            if self._is_optional:
                self._passed_by_until = self._clock() + _PASS_BY_SECONDS
            elif self._clock() - began >= WAIT_SECONDS:
                raise StoreGone(
                    f"the store of steps (DOCSLUICE_STORE_URL) was away for {WAIT_SECONDS:.0f} seconds: {self.why_away}"
                    "; DOCSLUICE_STORE_OPTIONAL=true goes on without it, and pays again for what is in it"
                )
            else:
                await self._sleep(_RETRY_SECONDS)

    def _note_away(self, reason: str) -> None:
        if self.why_away is None:
            meanwhile = "go on without it, and pay again" if self._is_optional else "documents wait for it"
            log.warning("store.away", reason=reason, meanwhile=meanwhile, remedy=_REMEDY)
        self.why_away = reason

    def _note_back(self) -> None:
        if self.why_away is not None:
            log.warning("store.back")
        self.why_away = None
        self._passed_by_until = float("-inf")

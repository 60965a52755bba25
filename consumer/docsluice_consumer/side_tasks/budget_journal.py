"""A budget that a restart does not renew: what is spent is written down as it is spent."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from docsluice_consumer.admission.budget import Budget, Spent
from docsluice_consumer.runtime.supervision import end, supervised
from docsluice_consumer.store.deadline import ANSWER_SECONDS, Deadline
from docsluice_consumer.store.disk_thread import DiskThread
from docsluice_consumer.store.ledger import Ledger
from docsluice_consumer.store.step_store import StoreAway
from docsluice_consumer.store.stored_values import Entry
from docsluice_consumer.telemetry.logs import Throttle

log = structlog.get_logger(__name__)

T = TypeVar("T")

_WRITE_SECONDS = 0.2
"""A `kill -9` loses at most this much of the spending. Calls in flight are unknown anyhow."""
_RETRY_SECONDS = 1.0


class BudgetJournal:
    """Restores a budget from the ledger, and keeps the ledger up with it until closed.

    `stop_because` is called with an error that would leave the ledger behind for good.
    """

    def __init__(
        self,
        *,
        budget: Budget,
        ledger: Ledger,
        stop_because: Callable[[BaseException], None],
        answer_seconds: float = ANSWER_SECONDS,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._budget = budget
        self._ledger = ledger
        self._stop_because = stop_because
        self._sleep = sleep
        self._thread = DiskThread(name="ledger")
        self._deadline = Deadline(seconds=answer_seconds)
        self._written: list[Spent] = []
        self._complaints = Throttle(seconds=60.0)
        self._task: asyncio.Task[None] | None = None
        self.why_waiting: str | None = None
        """Why the start waits for the ledger, in a few words, or None."""

    async def start(self) -> None:
        """Restore the budget from the last process of this name. Waits for a ledger that is away.

        Raises:
            ConfigurationError: only a person can fix it.
        """
        for entry in await self._read():
            self._budget.restore(Spent(*entry))
        self._written = self._budget.spent(now=time.time())
        self._task = supervised(self._keep(), name="budget.keep", stop_because=self._stop_because)

    async def close(self) -> None:
        """Write down the rest, and close the ledger. After an interrupted start the ledger stays as it is."""
        try:
            if self._task is not None:
                await end(self._task)
                await self._write()
        finally:
            with contextlib.suppress(StoreAway):
                await self._done(self._ledger.close)
            self._thread.end()

    async def _read(self) -> list[Entry]:
        while True:
            try:
                entries = await self._done(self._ledger.read)
            except StoreAway as away:
                if self.why_waiting is None:
                    log.warning(
                        "ledger.away", reason=str(away), remedy="the start waits for it; see to DOCSLUICE_STATE_DIR"
                    )
                self.why_waiting = str(away)
                await self._sleep(_RETRY_SECONDS)
            else:
                self.why_waiting = None
                return entries

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        spent = self._budget.spent(now=time.time())
        if spent == self._written:
            return
        try:
            await self._done(lambda: self._ledger.write(spent))
        except StoreAway as away:
            # The budget is still kept in memory. Only a restart would forget what cannot be written.
            if self._complaints.silenced("ledger") is not None:
                log.error(  # noqa: TRY400 - the trace of a full disk tells nobody anything
                    "ledger.failing", error=str(away), remedy="what is spent is not remembered over a restart"
                )
        else:
            self._written = spent

    async def _done(self, work: Callable[[], T]) -> T:
        """Do some work with the ledger, in its thread.

        Raises:
            StoreAway: it cannot be done now, or takes too long.
        """
        return await self._deadline.of(lambda: self._thread.run(work))

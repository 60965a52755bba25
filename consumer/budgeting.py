"""A budget that a restart does not renew: what is spent is written down as it is spent."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable

import structlog

from consumer.admission.budget import Budget, Spent
from consumer.never_ending import end, never_ending
from consumer.store.ledger import Ledger
from consumer.telemetry.logs import Throttle

log = structlog.get_logger(__name__)

_WRITE_SECONDS = 0.2
"""So much of what was spent is forgotten by a `kill -9` at the most; of the calls under way nobody knows anyhow."""


class BudgetKeeper:
    """Restores a budget from the ledger, and keeps the ledger up with it until closed.

    `stop_because` hears of what would leave the ledger behind for good.
    """

    def __init__(self, *, budget: Budget, ledger: Ledger, stop_because: Callable[[BaseException], None]) -> None:
        self._budget = budget
        self._ledger = ledger
        self._stop_because = stop_because
        self._written: list[Spent] = []
        self._complaints = Throttle(seconds=60.0)
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Go on where the last process of this name has stopped."""
        for entry in await asyncio.to_thread(self._ledger.read):
            self._budget.restore(Spent(*entry))
        self._written = self._budget.spent(now=time.time())
        self._task = never_ending(self._keep(), name="budget.keep", stop_because=self._stop_because)

    async def close(self) -> None:
        """Write down the rest; nothing after a start that came to no end: it would be less than what is there."""
        try:
            if self._task is not None:
                await end(self._task)
                await self._write()
        finally:
            self._ledger.close()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            await self._write()

    async def _write(self) -> None:
        spent = self._budget.spent(now=time.time())
        if spent == self._written:
            return
        try:
            await asyncio.to_thread(self._ledger.write, spent)
        except sqlite3.Error as error:
            # The budget is kept all the same, in memory: only a restart would forget what cannot be written.
            if self._complaints.silenced("ledger") is not None:
                log.error(  # noqa: TRY400 - the trace of a full disk tells nobody anything
                    "ledger.failing", error=str(error), remedy="what is spent is not remembered over a restart"
                )
        else:
            self._written = spent

"""Holds documents and dead letters once the dead-letter limit is reached, until a person decides.

Nothing held is lost or published: its record stays open, so a restart reads it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog

from consumer.dead_letter_limit import DeadLetterLimit, Reached, Result

log = structlog.get_logger(__name__)

PAUSE_REASON = "dead_letter_limit"
_REMEDY = "mend the cause and restart, and what is held is read again; or send SIGUSR1 to go on anyway"


class Brake:
    """On from the dead letter that reaches the limit until somebody says that it is to go on."""

    def __init__(self, *, limit: DeadLetterLimit) -> None:
        self._limit = limit
        self._off = asyncio.Event()
        self._off.set()
        self._held: set[asyncio.Task[Any] | None] = set()
        self._is_leaving = False
        self.on_reached: Callable[[], None] = lambda: None
        """Called when the limit is reached, for whoever can still keep documents from being begun."""

    def result(self) -> Result:
        """Count a document that has its result."""
        return self._limit.result()

    async def wait_to_begin(self) -> None:
        """Return when a document may be begun."""
        while not self._off.is_set():
            await self._wait()

    async def wait_to_publish(self, cause: str, *, withdrawn: Result | None = None) -> None:
        """Count the running task's dead letter, and return when it may be published. `withdrawn` is what it was before.

        What was held counts when it is let go, as if it had been decided then, so that it is never a whole queue of
        them. Only the one that had reached the limit is let go uncounted, or with a limit of one none ever would be.
        """
        while True:
            is_counted = self._off.is_set()
            if is_counted:
                self._limit.dead_letter(cause, withdrawn=withdrawn)
                if self._limit.reached is None:
                    return
                self._put_on(self._limit.reached)
            await self._hold()
            if is_counted:
                return

    def holds(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task's dead letter is held."""
        return task in self._held

    def go_on(self) -> None:
        """Let go of what is held, and begin to count afresh. Where nothing is held this changes nothing."""
        if self._off.is_set():
            log.info("dead_letter_limit.not_reached", reason="SIGUSR1 lets go of what is held, and nothing is")
            return
        log.warning("dead_letter_limit.lifted", dead_letters=len(self._held))
        self._limit.start_afresh()
        self._off.set()

    def leave(self) -> None:
        """From now on nobody waits: what would be held is let go, and read again by whoever comes next."""
        self._is_leaving = True

    def why_hold(self) -> str | None:
        """A reason to read nothing for now."""
        return None if self._off.is_set() else PAUSE_REASON

    def why_not_ready(self) -> str | None:
        """The same for a person."""
        reached = self._limit.reached
        if reached is None:
            return None
        causes = ", ".join(f"{count} {cause}" for cause, count in reached.causes.items())
        held = len(self._held)
        return f"reading is stopped after {reached.sentence}: {causes}. {held} are held back. To do: {_REMEDY}"

    def _put_on(self, reached: Reached) -> None:
        self._off.clear()
        log.critical("dead_letter_limit.reached", problem=reached.sentence, commonest=reached.causes, remedy=_REMEDY)
        self.on_reached()

    async def _hold(self) -> None:
        task = asyncio.current_task()
        self._held.add(task)
        try:
            await self._wait()
        finally:
            self._held.discard(task)

    async def _wait(self) -> None:
        if self._is_leaving and not self._off.is_set():
            raise asyncio.CancelledError("held, and there is nothing to wait for")
        await self._off.wait()

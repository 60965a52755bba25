"""Holds documents and dead letters once the dead-letter limit is reached, until a person decides.

Nothing held is lost or published: its record stays open, so a restart reads it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.dead_letters.limit import DeadLetterLimit, Reached, Result

log = structlog.get_logger(__name__)

PAUSE_REASON = "dead_letter_limit"
_REMEDY = "mend the cause and restart, and what is held is read again; or send SIGUSR1 to go on anyway"


class DeadLetterHold:
    """Holds from the dead letter that reaches the limit until `resume`.

    Each document runs in a task of its own. Its usage tells what a stop would waste.
    """

    def __init__(self, *, limit: DeadLetterLimit) -> None:
        self._limit = limit
        self._off = asyncio.Event()
        self._off.set()
        self._at_work: dict[asyncio.Task[Any], DocumentUsage] = {}
        self._held: set[asyncio.Task[Any]] = set()
        self._sent_back: set[asyncio.Task[Any]] = set()
        self._is_draining = False

    async def run(self, work: Callable[[DocumentUsage], Awaitable[None]]) -> None:
        """Run the task's work when nothing is held. Run it again if it was stopped before anything was paid."""
        task, document_usage = _this_task(), DocumentUsage()
        self._at_work[task] = document_usage
        try:
            while True:
                try:
                    while not self._off.is_set():
                        await self._wait()
                    return await work(document_usage)
                except asyncio.CancelledError:
                    if not self._is_only_sent_back(task):
                        raise
                    document_usage.begin_again()
        finally:
            del self._at_work[task]
            self._sent_back.discard(task)

    def result(self) -> Result:
        """Count a document that has its result."""
        return self._limit.result()

    async def wait_to_publish(self, cause: str, *, withdrawn: Result | None = None) -> None:
        """Count the running task's dead letter, and return when it may be published. `withdrawn` is its earlier result.

        A held dead letter counts when it is released, as if it were decided then. So a whole queue is never published
        at once. Only the one that reached the limit is released uncounted. Otherwise a limit of one would release none.
        """
        while True:
            is_counted = self._off.is_set()
            if is_counted:
                self._limit.dead_letter(cause, withdrawn=withdrawn)
                if self._limit.reached is None:
                    return
                self._engage(self._limit.reached)
            await self._hold()
            if is_counted:
                return

    def resume(self) -> None:
        """Release what is held, and count from zero. Without anything held this changes nothing."""
        if self._off.is_set():
            log.info("dead_letter_limit.not_reached", reason="SIGUSR1 releases what is held, and nothing is")
            return
        log.warning("dead_letter_limit.lifted", dead_letters=len(self._held))
        self._limit.start_afresh()
        self._off.set()

    def release_waiting(self) -> int:
        """Cancel documents without a call in flight or answered, and those with a held dead letter. Returns how many.

        For a drain: the others are paid for already, and the drain ends when their calls do. From now on nothing waits:
        what would be held is released, and the next owner reads it again.
        """
        self._is_draining = True
        waiting = [
            task for task, document_usage in self._at_work.items() if not document_usage.invested or task in self._held
        ]
        for task in waiting:
            task.cancel()
        return len(waiting)

    def pause_reason(self) -> str | None:
        """The reason to pause reading, or None."""
        return None if self._off.is_set() else PAUSE_REASON

    def why_not_ready(self) -> str | None:
        """The same for a person."""
        reached = self._limit.reached
        if reached is None:
            return None
        causes = ", ".join(f"{count} {cause}" for cause, count in reached.causes.items())
        held = len(self._held)
        return f"reading is stopped after {reached.sentence}: {causes}. {held} are held back. To do: {_REMEDY}"

    def _engage(self, reached: Reached) -> None:
        """Begin to hold. Documents without a call wait as if they had not been begun."""
        self._off.clear()
        log.critical("dead_letter_limit.reached", problem=reached.sentence, commonest=reached.causes, remedy=_REMEDY)
        for task, document_usage in self._at_work.items():
            if not document_usage.invested and task not in self._sent_back:
                self._sent_back.add(task)
                task.cancel()

    def _is_only_sent_back(self, task: asyncio.Task[Any]) -> bool:
        """Whether the running task was cancelled only because the limit was reached."""
        if task not in self._sent_back:
            return False
        self._sent_back.discard(task)
        return task.uncancel() == 0

    async def _hold(self) -> None:
        task = _this_task()
        self._held.add(task)
        try:
            await self._wait()
        finally:
            self._held.discard(task)

    async def _wait(self) -> None:
        if self._is_draining and not self._off.is_set():
            raise asyncio.CancelledError("held, and there is nothing to wait for")
        await self._off.wait()


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a document is worked on in a task of its own")
    return task

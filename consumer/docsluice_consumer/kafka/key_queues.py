"""Ordering: records of one queue end one at a time, in the order of their reading."""

from __future__ import annotations

import asyncio
from typing import Any, Literal, TypeAlias

Ordering: TypeAlias = Literal["unordered", "key", "partition"]
QueueKey: TypeAlias = bytes | None

_WHOLE_PARTITION = b""


def queue_key_of(key: bytes | None, ordering: Ordering) -> QueueKey:
    """The queue of a record within its partition. None if it waits for no other, as a record without a key."""
    match ordering:
        case "unordered":
            return None
        case "key":
            return key
        case "partition":
            return _WHOLE_PARTITION


class KeyQueues:
    """The last record of each queue. Only queues with open records are remembered."""

    def __init__(self) -> None:
        self._last: dict[bytes, asyncio.Task[bool]] = {}
        self._waiting: set[asyncio.Task[bool]] = set()

    async def turn(self, queue_key: QueueKey) -> bool:
        """Queue the running task and wait for the one before it to return True, which says that it has ended.

        False if it has not ended: the next record must not overtake it.
        """
        if queue_key is None:
            return True
        task: Any = asyncio.current_task()
        before = self._last.get(queue_key)
        self._last[queue_key] = task
        task.add_done_callback(lambda _: self._leave(queue_key, task))
        if before is None:
            return True
        self._waiting.add(task)
        try:
            await asyncio.wait([before])
        finally:
            self._waiting.discard(task)
        return not before.cancelled() and before.exception() is None and before.result()

    def release_waiting(self) -> int:
        """Cancel the records that wait for another, and return how many. Nothing was paid for them."""
        waiting = list(self._waiting)
        for task in waiting:
            task.cancel()
        return len(waiting)

    def _leave(self, queue_key: bytes, task: asyncio.Task[bool]) -> None:
        if self._last.get(queue_key) is task:
            del self._last[queue_key]

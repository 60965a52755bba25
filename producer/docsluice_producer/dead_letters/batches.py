"""Gathers entries into short transactions, at a pace that is not exceeded."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from docsluice_producer.dead_letters.journal import Entry
from docsluice_producer.kafka.rate import Rate

_BYTES = 4 * 1024 * 1024


class Batches:
    """Writes entries in transactions of at most `most` entries, about 4 MiB, or a second's worth.

    Once `stopping` is set nothing is written any more, and no wait for the pace goes on.
    """

    def __init__(
        self,
        *,
        write: Callable[[Sequence[Entry]], Awaitable[object]],
        most: int,
        per_second: int | None,
        stopping: asyncio.Event,
    ) -> None:
        self._write = write
        self._most = most if per_second is None else min(most, per_second)
        self._rate = Rate(per_second=per_second)
        self._stopping = stopping
        self._clock = asyncio.get_running_loop().time
        self._entries: list[Entry] = []
        self._bytes = 0

    async def add(self, entry: Entry) -> None:
        """Add an entry, and write what has been gathered if it is enough."""
        size = len(entry.outgoing.value or b"") if entry.outgoing else 0
        if self._entries and self._bytes + size > _BYTES:
            await self.flush()
        self._entries.append(entry)
        self._bytes += size
        if len(self._entries) >= self._most:
            await self.flush()

    async def flush(self) -> None:
        """Write what has been gathered, as soon as the pace allows it."""
        if not self._entries:
            return
        await self._pause()
        entries, self._entries, self._bytes = self._entries, [], 0
        if not self._stopping.is_set():
            self._rate.went(len(entries), now=self._clock())
            await self._write(entries)

    async def _pause(self) -> None:
        seconds = self._rate.left(now=self._clock())
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

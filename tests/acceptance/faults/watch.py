"""An onlooker that sees each outcome as it becomes visible to a subscriber."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from aiokafka.errors import KafkaError

from tests.acceptance.faults import topics
from tests.acceptance.faults.account import Place, ending_of

_POLL_MS = 100
_REST_SECONDS = 0.5


class Watch:
    """What has been seen so far on the result and the dead-letter topic."""

    def __init__(self) -> None:
        self.ended: Counter[Place] = Counter()
        self.arrivals: list[float] = []
        """When each outcome was seen, on the monotonic clock."""
        self.last_new_at = time.monotonic()
        """When a document was last seen to end for the first time."""

    @property
    def count(self) -> int:
        """How many documents have ended."""
        return len(self.ended)

    def seconds_until_next(self, moment: float) -> float | None:
        """How long after `moment` the next outcome was seen. None when none was."""
        following = next((arrival for arrival in self.arrivals if arrival >= moment), None)
        return None if following is None else following - moment

    async def look(self, bootstrap_servers: str, topic_names: Sequence[str], ready: asyncio.Event) -> None:
        """Watch until cancelled. A broker that is away is waited for."""
        async with topics.reading(bootstrap_servers, *topic_names) as reader:
            ready.set()
            while True:
                try:
                    fetched = await reader.getmany(timeout_ms=_POLL_MS)
                except KafkaError:
                    await asyncio.sleep(_REST_SECONDS)
                    continue
                now = time.monotonic()
                for record in (record for records in fetched.values() for record in records):
                    place = ending_of(record).place
                    if place not in self.ended:
                        self.last_new_at = now
                    self.ended[place] += 1
                    self.arrivals.append(now)


@contextlib.asynccontextmanager
async def watching(bootstrap_servers: str, topic_names: Sequence[str]) -> AsyncIterator[Watch]:
    """Watch the topics for the length of the block."""
    watch, ready = Watch(), asyncio.Event()
    looking = asyncio.create_task(watch.look(bootstrap_servers, topic_names, ready), name="watch")
    opened = asyncio.create_task(ready.wait())
    try:
        await asyncio.wait([looking, opened], return_when=asyncio.FIRST_COMPLETED)
        if looking.done():
            looking.result()
        yield watch
    finally:
        for task in (looking, opened):
            task.cancel()
        await asyncio.gather(looking, opened, return_exceptions=True)

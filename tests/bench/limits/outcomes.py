"""An onlooker that counts which documents have ended, and how."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import broker_session
from docsluice.kafka.reader import Reader, Start
from tests.bench.parts import TOPICS

_POLL_MS = 100
_OPEN_SECONDS = 30.0


class Outcomes:
    """The documents that have ended so far, by their keys."""

    def __init__(self) -> None:
        self.results: set[str] = set()
        self.dead_letters: set[str] = set()
        self.last_new_at = time.monotonic()
        """When a document was last seen to end."""

    @property
    def count(self) -> int:
        """How many documents have ended."""
        return len(self.results | self.dead_letters)

    async def look(self, reader: Reader) -> None:
        """Count until cancelled."""
        while True:
            records = await reader.fetch(timeout_ms=_POLL_MS)
            if records:
                self.last_new_at = time.monotonic()
            for record in records:
                (self.results if record.topic == TOPICS[1] else self.dead_letters).add(record.key.decode())


@contextlib.asynccontextmanager
async def watching(bootstrap_servers: str) -> AsyncIterator[Outcomes]:
    """Count for the length of the block."""
    outcomes = Outcomes()
    address = Broker(bootstrap_servers=bootstrap_servers)
    with broker_session(address, wait_seconds=_OPEN_SECONDS, say=lambda _: None) as session:
        # Not a plain aiokafka consumer: on the embedded broker it would spin, and take a core from what is measured.
        reader = Reader(session=session, topics=TOPICS[1:], start=Start(from_beginning=True))
        await reader.open()
        looking = asyncio.create_task(outcomes.look(reader), name="outcomes")
        try:
            yield outcomes
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await reader.close()

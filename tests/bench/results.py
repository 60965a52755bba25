"""Waits for results as a subscriber would see them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer

from docsluice_local.process import Child
from tests.bench.parts import TOPICS

_FETCH_MS = 20
_SILENT_SECONDS = 60.0


class Results:
    """The committed records of the result topic and the dead-letter topic, from their beginning."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer

    async def wait_for(self, count: int, child: Child) -> int:
        """Wait for so many, and return how many came with the last of them.

        Raises:
            RuntimeError: the process that should make them has ended, or makes none any more.
        """
        seen, last = 0, time.monotonic()
        while seen < count:
            more = len(await self.fetch(child))
            seen, last = seen + more, time.monotonic() if more else last
            if time.monotonic() - last > _SILENT_SECONDS:
                raise RuntimeError(f"{child.name} makes no results any more:\n{child.log_tail()}")
        return seen

    async def fetch(self, child: Child) -> list[Any]:
        """What has come in a moment.

        Raises:
            RuntimeError: the process that should make them has ended.
        """
        if not child.running:
            raise RuntimeError(f"it has ended:\n{child.log_tail()}")
        fetched = await self._consumer.getmany(timeout_ms=_FETCH_MS)
        return [record for records in fetched.values() for record in records]


@asynccontextmanager
async def results(servers: str) -> AsyncIterator[Results]:
    """A subscriber to topics that exist, on Apache Kafka."""
    consumer = AIOKafkaConsumer(
        *TOPICS[1:], bootstrap_servers=servers, auto_offset_reset="earliest", isolation_level="read_committed"
    )
    await consumer.start()
    try:
        yield Results(consumer)
    finally:
        await consumer.stop()

"""Documents for the input topic: one heap at the beginning, or a stream that never runs dry."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from tests.acceptance.faults.watch import Watch

_CHUNK = 50
_BACKLOG = 300
_LOOK_SECONDS = 0.1
_RETRY_SECONDS = 1.0
_WORDS = "Reefs grow a few millimetres a year, built by animals that are smaller than a fingernail."


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One document before it is sent."""

    key: str
    text: str

    @property
    def value(self) -> bytes:
        """The event as JSON."""
        return json.dumps({"document_id": self.key, "text": self.text}).encode()


class Feed:
    """Puts documents on one topic. No two have the same text, so that the provider's log tells them apart."""

    def __init__(self, *, bootstrap_servers: str, topic: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.topic = topic
        self.sent = 0
        self._numbers: Iterator[int] = iter(range(10**9))

    def event(self, *, key: str | None = None, marker: str = "") -> Event:
        """A new document. `marker` is a word to the rehearsal provider."""
        number = next(self._numbers)
        name = f"doc-{number}"
        return Event(key=key or name, text=" ".join(part for part in (f"Document {number}.", _WORDS, marker) if part))

    def events(self, count: int) -> list[Event]:
        """So many new documents."""
        return [self.event() for _ in range(count)]

    async def send(self, events: Sequence[Event], *, partition: int | None = None) -> None:
        """Send them and wait for the acknowledgements. To a broker that is away, send again when it is back.

        What is sent twice that way is two documents, and the account treats it as such.
        """
        for first in range(0, len(events), _CHUNK):
            chunk = events[first : first + _CHUNK]
            while not await self._sent(chunk, partition):
                await asyncio.sleep(_RETRY_SECONDS)
            self.sent += len(chunk)

    @contextlib.asynccontextmanager
    async def coming(self, watch: Watch) -> AsyncIterator[None]:
        """For the length of the block, send more whenever little is left to do."""
        task = asyncio.create_task(self._keep_coming(watch), name="feed")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_coming(self, watch: Watch) -> None:
        while True:
            if self.sent - watch.count < _BACKLOG:
                await self.send(self.events(_CHUNK))
            else:
                await asyncio.sleep(_LOOK_SECONDS)

    async def _sent(self, events: Sequence[Event], partition: int | None) -> bool:
        try:
            async with producing(self.bootstrap_servers) as producer:
                acknowledged = [
                    await producer.send(self.topic, value=event.value, key=event.key.encode(), partition=partition)
                    for event in events
                ]
                await asyncio.gather(*acknowledged)
        except KafkaError:
            return False
        return True


@contextlib.asynccontextmanager
async def producing(bootstrap_servers: str, **more: Any) -> AsyncIterator[Any]:
    """A producer for the length of the block."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers, enable_idempotence=True, **more)
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()

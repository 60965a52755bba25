"""An idempotent producer that goes on after a broker has refused a batch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiokafka.errors import OutOfOrderSequenceNumber, ProducerClosed, ProducerFenced, UnknownProducerId

from docsluice.kafka import broker_errors
from docsluice.kafka.clients import stopped
from docsluice.kafka.transactions import ProducerRecord

_SPENT = (OutOfOrderSequenceNumber, UnknownProducerId, ProducerFenced, ProducerClosed)
"""Errors of a producer that had a batch refused, or was replaced."""


class IdempotentProducer:
    """Sends records side by side. It repeats nothing after a lost acknowledgement.

    When a broker refuses a batch, aiokafka never uses its sequence numbers again, and the partition refuses everything
    after them as out of order. So after a refusal it goes on with a new client, which `connect` makes.
    """

    def __init__(self, client: Any, *, connect: Callable[[], Awaitable[Any]]) -> None:
        self._client = _Client(client)
        self._connect = connect
        self._replacing = asyncio.Lock()
        self._spent: dict[_Client, asyncio.Task[None]] = {}

    async def send(self, record: ProducerRecord) -> Any:
        """Send a record. Returns the broker's metadata once all replicas have it.

        Raises:
            KafkaError: `broker_errors.REFUSED` may mean another record of the same batch.
        """
        while True:
            client = self._client
            try:
                return await client.send(record)
            except _SPENT:
                await self._replace(client)
            except broker_errors.REFUSED:
                await self._replace(client)
                raise

    async def close(self) -> None:
        """Disconnect. What was not acknowledged by now may be lost."""
        spent = dict(self._spent)
        for stopping in spent.values():
            stopping.cancel()
        last = [stopped(client.client) for client in (self._client, *spent)]
        await asyncio.gather(*last, *spent.values(), return_exceptions=True)

    async def _replace(self, spent: _Client) -> None:
        """Replace a spent client, once, however many records notice it."""
        async with self._replacing:
            if self._client is not spent:
                return
            self._client = _Client(await self._connect())
        # What it has in flight to other partitions is still good, so its end is awaited elsewhere.
        self._spent[spent] = asyncio.create_task(spent.end(), name="producer.stop-spent-client")
        self._spent[spent].add_done_callback(lambda _: self._spent.pop(spent))


class _Client:
    """A client whose sends never outlive it.

    A send that waits for a topic's metadata would wait for ever if the client is stopped meanwhile.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._sendings: set[asyncio.Task[Any]] = set()
        self._has_ended = False

    async def send(self, record: ProducerRecord) -> Any:
        """Send a record, and return when it is acknowledged.

        Raises:
            ProducerClosed: the client has ended before.
        """
        if self._has_ended:
            raise ProducerClosed
        sending = asyncio.create_task(send_and_wait(self.client, record))
        self._sendings.add(sending)
        try:
            # Not with a common end: each of a thousand sends would search through its waiters.
            await asyncio.wait((sending,))
            if sending.cancelled():
                raise ProducerClosed
            return sending.result()
        finally:
            self._sendings.discard(sending)
            sending.cancel()

    async def end(self) -> None:
        """Deliver what can be delivered, and stop."""
        try:
            await stopped(self.client)
        finally:
            self._has_ended = True
            for sending in self._sendings:
                sending.cancel()


async def send_and_wait(client: Any, record: ProducerRecord) -> Any:
    """Send a record through a client. Returns the broker's metadata once all replicas have it."""
    return await client.send_and_wait(record.topic, value=record.value, key=record.key, headers=list(record.headers))

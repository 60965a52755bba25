"""Publishing at least once: an idempotent producer, and an acknowledgement from all replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiokafka import AIOKafkaProducer
from aiokafka.errors import OutOfOrderSequenceNumber, ProducerFenced, UnknownProducerId
from aiokafka.partitioner import DefaultPartitioner

from consumer.errors import RecordRejected
from consumer.kafka import faults
from consumer.kafka.connection import MAX_REQUEST_BYTES, Broker, patiently, started
from consumer.kafka.records import Outgoing

_SEQUENCE_LOST = (OutOfOrderSequenceNumber, UnknownProducerId, ProducerFenced)
_CLOSE_SECONDS = 5.0
_partition_of_key = DefaultPartitioner()

Put: TypeAlias = Callable[[Any, Outgoing], Awaitable[None]]


class AtLeastOnceOutbox:
    """After a crash an outcome may be published again, with the same result id.

    The producer itself repeats nothing on a lost acknowledgement, and waits for as long as a broker is away.

    When a broker refuses a batch, aiokafka never uses its sequence numbers again, and the partition refuses everything
    after them as out of order. So after a refusal we go on with a new producer. A batch is refused as a whole,
    whichever of its records is too large, so each of them gets a second try in a batch of its own.
    """

    def __init__(self, broker: Broker, producer: Any) -> None:
        self._broker = broker
        self._producer = producer
        self._replacing = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, broker: Broker) -> AtLeastOnceOutbox:
        """Connect, waiting for the broker."""
        return cls(broker, await _connected(broker))

    async def publish(self, outgoing: Outgoing) -> None:
        """See `Outbox.publish`."""
        doing = f"publish to {outgoing.topic}"
        try:
            await patiently(lambda: self._send(outgoing, _with_others), doing=doing)
        except RecordRejected:
            await patiently(lambda: self._send(outgoing, _alone), doing=doing)

    async def close(self) -> None:
        """Disconnect; everything published has been acknowledged already."""
        await asyncio.gather(_stop(self._producer), *self._stopping, return_exceptions=True)

    async def _send(self, outgoing: Outgoing, put: Put) -> None:
        while True:
            producer = self._producer
            try:
                return await put(producer, outgoing)
            except _SEQUENCE_LOST:
                await self._replace(producer)
            except faults.TOO_LARGE:
                await self._replace(producer)
                raise

    async def _replace(self, spent: Any) -> None:
        """Go on with a new producer, once, however many records find that the old one is spent."""
        async with self._replacing:
            if self._producer is not spent:
                return
            self._producer = await _connected(self._broker)
        # What it has on its way to other partitions is still good, so its end is waited for elsewhere.
        stopping = asyncio.create_task(_stop(spent), name="outbox.stop-spent-producer")
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)


async def _connected(broker: Broker) -> Any:
    return await started(
        lambda: AIOKafkaProducer(
            **broker.client_arguments(),
            enable_idempotence=True,
            acks="all",
            max_request_size=MAX_REQUEST_BYTES,
            # What fitted the input topic because its producer compressed it must fit the dead-letter topic too.
            compression_type="gzip",
        ),
        doing="connect the producer",
    )


async def _stop(producer: Any) -> None:
    """Its own stop waits for everything to be delivered, and to a broker that is away that is for ever."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await producer.stop()
    except TimeoutError:
        await producer.client.close()


async def _with_others(producer: Any, outgoing: Outgoing) -> None:
    await producer.send_and_wait(outgoing.topic, value=outgoing.value, key=outgoing.key, headers=list(outgoing.headers))


async def _alone(producer: Any, outgoing: Outgoing) -> None:
    batch = producer.create_batch()
    batch.append(timestamp=None, key=outgoing.key, value=outgoing.value, headers=list(outgoing.headers))
    batch.close()
    partitions = sorted(await producer.partitions_for(outgoing.topic))
    acknowledgement = await producer.send_batch(
        batch, outgoing.topic, partition=_partition_of_key(outgoing.key, partitions, partitions)
    )
    await acknowledgement

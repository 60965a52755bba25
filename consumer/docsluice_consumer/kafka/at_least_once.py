"""Publishing at least once: an idempotent producer, and an acknowledgement from all replicas."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import OutOfOrderSequenceNumber, ProducerClosed, ProducerFenced, UnknownProducerId

from docsluice.kafka import broker_errors
from docsluice.kafka.broker import Broker
from docsluice.kafka.clients import stopped
from docsluice.kafka.transactions import MAX_REQUEST_BYTES
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.codecs import Codecs
from docsluice_consumer.kafka.connection import most_bytes_of, started
from docsluice_consumer.kafka.records import Compression, OutgoingRecord, Record
from docsluice_consumer.kafka.retry import with_retries
from docsluice_consumer.kafka.topic_limits import TopicLimits

_SPENT = (OutOfOrderSequenceNumber, UnknownProducerId, ProducerFenced, ProducerClosed)
"""Errors of a producer that had a batch refused, or was replaced."""


class AtLeastOnceSink:
    """Publishes at least once: after a crash an outcome may come again, with the same result id.

    The producer repeats nothing after a lost acknowledgement, and waits while a broker is away.

    When a broker refuses a batch, aiokafka never uses its sequence numbers again, and the partition refuses everything
    after them as out of order. So after a refusal we go on with a new producer. A batch is refused as a whole,
    whichever of its records is too large, so each of them gets a second try by itself.
    """

    def __init__(self, broker: Broker, client: Any) -> None:
        self._broker = broker
        self._producer = _Producer(client)
        self._limits = TopicLimits(lambda topic: most_bytes_of(broker, topic))
        self._codecs = Codecs()
        self._replacing = asyncio.Lock()
        self._spent: dict[_Producer, asyncio.Task[None]] = {}
        self._lone_producers: dict[Compression, Any] = {}
        self._alone = asyncio.Lock()

    @classmethod
    async def open(cls, broker: Broker) -> AtLeastOnceSink:
        """Connect, waiting for the broker."""
        return cls(broker, await _connected(broker, "gzip"))

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:  # noqa: ARG002 - the offset is committed later
        """See `Sink.publish`."""
        await self._limits.check(outgoing)
        doing = f"publish to {outgoing.topic}"
        if not outgoing.alone:
            with contextlib.suppress(RecordRejected):  # the refusal may have meant another record of the batch
                await with_retries(lambda: self._send_with_others(outgoing), doing=doing)
                return
        async with self._alone:
            await with_retries(lambda: self._send_alone(outgoing), doing=doing)

    async def close(self) -> None:
        """Disconnect. Everything published has been acknowledged already."""
        spent = dict(self._spent)
        for stopping in spent.values():
            stopping.cancel()
        clients = [producer.client for producer in (self._producer, *spent)]
        last = [stopped(client) for client in (*clients, *self._lone_producers.values())]
        await asyncio.gather(*last, *spent.values(), return_exceptions=True)

    async def _send_with_others(self, outgoing: OutgoingRecord) -> None:
        while True:
            producer = self._producer
            try:
                return await producer.send(outgoing)
            except _SPENT:
                await self._replace(producer)
            except broker_errors.REFUSED:
                await self._replace(producer)
                raise

    async def _send_alone(self, outgoing: OutgoingRecord) -> None:
        """Send through a producer of its own. aiokafka's own way to send a batch of one may wait for ever."""
        while True:
            codec = self._codecs.taken(outgoing.compression)
            if codec not in self._lone_producers:
                self._lone_producers[codec] = await _connected(self._broker, codec)
            try:
                return await _send(self._lone_producers[codec], outgoing)
            except BaseException as error:
                await stopped(self._lone_producers.pop(codec))
                if isinstance(error, broker_errors.TOO_LARGE):
                    self._limits.note_refused(outgoing)
                if not (isinstance(error, broker_errors.CodecRefused) and self._codecs.note_refused(codec)):
                    raise

    async def _replace(self, spent: _Producer) -> None:
        """Replace a spent producer, once, however many records notice it."""
        async with self._replacing:
            if self._producer is not spent:
                return
            self._producer = _Producer(await _connected(self._broker, "gzip"))
        # What it has in flight to other partitions is still good, so its end is awaited elsewhere.
        self._spent[spent] = asyncio.create_task(spent.end(), name="sink.stop-spent-producer")
        self._spent[spent].add_done_callback(lambda _: self._spent.pop(spent))


class _Producer:
    """A producer whose sends never outlive it.

    A send that waits for a topic's metadata would wait for ever if the producer is stopped meanwhile.
    """

    def __init__(self, client: Any) -> None:
        self.client = client
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def send(self, outgoing: OutgoingRecord) -> None:
        """Send a record, and return when it is acknowledged.

        Raises:
            ProducerClosed: the producer has ended before.
        """
        sending = asyncio.create_task(_send(self.client, outgoing))
        try:
            await asyncio.wait((sending, self._end), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                return sending.result()
            raise ProducerClosed
        finally:
            sending.cancel()

    async def end(self) -> None:
        """Deliver what can be delivered, and stop."""
        try:
            await stopped(self.client)
        finally:
            self._end.set_result(None)


async def _connected(broker: Broker, codec: Compression) -> Any:
    return await started(
        lambda: AIOKafkaProducer(
            **broker.client_arguments(),
            enable_idempotence=True,
            acks="all",
            max_request_size=MAX_REQUEST_BYTES,
            # What fitted the input topic because its producer compressed it must fit the dead-letter topic too.
            compression_type=codec,
        ),
        broker=broker,
        doing="connect the producer",
    )


async def _send(producer: Any, outgoing: OutgoingRecord) -> None:
    await producer.send_and_wait(outgoing.topic, value=outgoing.value, key=outgoing.key, headers=list(outgoing.headers))

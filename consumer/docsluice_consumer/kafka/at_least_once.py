"""Publishing at least once: an idempotent producer, and an acknowledgement from all replicas."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from aiokafka import AIOKafkaProducer

from docsluice.kafka import broker_errors
from docsluice.kafka.broker import Broker
from docsluice.kafka.clients import stopped
from docsluice.kafka.idempotent_producer import IdempotentProducer, send_and_wait
from docsluice.kafka.transactions import MAX_REQUEST_BYTES
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.codecs import Codecs
from docsluice_consumer.kafka.connection import most_bytes_of, started
from docsluice_consumer.kafka.records import Compression, OutgoingRecord, Record
from docsluice_consumer.kafka.retry import with_retries
from docsluice_consumer.kafka.topic_limits import TopicLimits


class AtLeastOnceSink:
    """Publishes at least once: after a crash an outcome may come again, with the same result id.

    The producer repeats nothing after a lost acknowledgement, and waits while a broker is away.

    A batch is refused as a whole, whichever of its records is too large, so each of them gets a second try by itself.
    """

    def __init__(self, broker: Broker, client: Any) -> None:
        self._broker = broker
        self._producer = IdempotentProducer(client, connect=lambda: _connected(broker, "gzip"))
        self._limits = TopicLimits(lambda topic: most_bytes_of(broker, topic))
        self._codecs = Codecs()
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
                await with_retries(lambda: self._producer.send(outgoing), doing=doing)
                return
        async with self._alone:
            await with_retries(lambda: self._send_alone(outgoing), doing=doing)

    async def close(self) -> None:
        """Disconnect. Everything published has been acknowledged already."""
        last = [stopped(client) for client in self._lone_producers.values()]
        await asyncio.gather(self._producer.close(), *last, return_exceptions=True)

    async def _send_alone(self, outgoing: OutgoingRecord) -> None:
        """Send through a producer of its own. aiokafka's own way to send a batch of one may wait for ever."""
        while True:
            codec = self._codecs.taken(outgoing.compression)
            if codec not in self._lone_producers:
                self._lone_producers[codec] = await _connected(self._broker, codec)
            try:
                await send_and_wait(self._lone_producers[codec], outgoing)
            except BaseException as error:
                await stopped(self._lone_producers.pop(codec))
                if isinstance(error, broker_errors.TOO_LARGE):
                    self._limits.note_refused(outgoing)
                if not (isinstance(error, broker_errors.CodecRefused) and self._codecs.note_refused(codec)):
                    raise
            else:
                return


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

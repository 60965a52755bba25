"""Publishing at least once: an idempotent producer, and an acknowledgement from all replicas."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaProducer

from consumer.kafka.connection import MAX_REQUEST_BYTES, Broker, patiently, started
from consumer.kafka.records import Outgoing


class AtLeastOnceOutbox:
    """After a crash an outcome may be published again, with the same result id.

    The producer itself repeats nothing on a lost acknowledgement, and waits for as long as a broker is away.
    """

    def __init__(self, producer: Any) -> None:
        self._producer = producer

    @classmethod
    async def open(cls, broker: Broker) -> AtLeastOnceOutbox:
        """Connect, waiting for the broker."""
        producer = await started(
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
        return cls(producer)

    async def publish(self, outgoing: Outgoing) -> None:
        """See `Outbox.publish`."""
        await patiently(
            lambda: self._producer.send_and_wait(
                outgoing.topic, value=outgoing.value, key=outgoing.key, headers=list(outgoing.headers)
            ),
            doing=f"publish to {outgoing.topic}",
        )

    async def close(self) -> None:
        """Disconnect; everything published has been acknowledged already."""
        await self._producer.stop()

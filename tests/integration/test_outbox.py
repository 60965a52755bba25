"""The real outbox keeps the contract that the fake one keeps."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from consumer.kafka.connection import Broker
from consumer.kafka.outbox import AtLeastOnceOutbox
from consumer.kafka.records import Outbox, Outgoing
from tests.fakes.contracts import OutboxContract
from tests.integration.wire import Wire


@pytest.mark.kafka
class TestAtLeastOnceOutbox(OutboxContract):
    """On Apache Kafka, which knows limits of topics."""

    _wire: Wire

    @pytest.fixture(autouse=True)
    async def _topics(self, kafka_wire: Wire) -> None:
        self._wire = kafka_wire
        self.topic, self.small_topic = kafka_wire.topics["result"], kafka_wire.topics["dead_letter"]
        await kafka_wire.create_topics(max_message_bytes={"dead_letter": 10_000})

    @contextlib.asynccontextmanager
    async def outbox(self) -> AsyncIterator[Outbox]:
        outbox = await AtLeastOnceOutbox.open(Broker(bootstrap_servers=self._wire.bootstrap_servers))
        try:
            yield outbox
        finally:
            await outbox.close()

    async def read(self, topic: str, count: int) -> Sequence[Outgoing]:
        return [
            Outgoing(topic=record.topic, key=record.key, value=record.value, headers=list(record.headers))
            async for record in self._wire.read(topic, count=count)
        ]

"""Tells when a consumer group has ended every document that was in the input topic."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.clients import connected, left
from docsluice.kafka.committed_offsets import committed_offsets
from docsluice.kafka.topic_reading import OffsetRange, present_range, read_only_consumer


@dataclass(slots=True, kw_only=True)
class Completion:
    """What was in the input topic when `begin` was called, and how much of it the group has not committed yet.

    The group commits an offset only when every document below it has ended. So it does not matter how a document ends:
    with a result, with a dead letter, or passed over.
    """

    session: BrokerSession
    topic: str
    group_id: str
    _there: OffsetRange = field(default_factory=lambda: OffsetRange(first={}, end={}))

    async def begin(self) -> None:
        """Note what is in the topic now.

        Raises:
            BrokerAway: the broker did not answer in time.
            BrokerRefused: the topic is missing, or may not be read.
        """
        topics = await self.session.topics(input_topic=self.topic)
        partitions = [TopicPartition(self.topic, number) for number in topics[self.topic]]
        self._there = await self.session.with_retries(lambda: self._present(partitions))

    async def remaining(self) -> int:
        """How many of its offsets are not committed. At least as many as documents that have not ended.

        Raises:
            BrokerAway: the broker did not answer in time.
            BrokerRefused: the group's offsets may not be read.
        """
        committed = await self.session.with_retries(self._committed)
        first = {one: max(begin, committed.get(one, 0)) for one, begin in self._there.first.items()}
        return OffsetRange(first=first, end=self._there.end).offsets

    async def _present(self, partitions: list[TopicPartition]) -> OffsetRange:
        consumer = await connected(read_only_consumer(self.session.broker))
        try:
            return await present_range(consumer, partitions)
        finally:
            await left(consumer)

    async def _committed(self) -> dict[TopicPartition, int]:
        admin = await connected(AIOKafkaAdminClient(**self.session.broker.client_arguments()))
        try:
            found = await committed_offsets(admin, self.group_id, self._there.end)
        finally:
            await admin.close()
        return {partition: offset for partition, (offset, _) in found.items()}

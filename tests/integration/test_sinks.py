"""The real sink keeps the contract that the fake one keeps."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.at_least_once import AtLeastOnceSink
from docsluice_consumer.kafka.connection import committed_points
from docsluice_consumer.kafka.exactly_once import ExactlyOnceSink
from docsluice_consumer.kafka.offsets import CommitPoint, Run, encode
from docsluice_consumer.kafka.partitions import PartitionState
from docsluice_consumer.kafka.records import OutgoingRecord, Record, Sink
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.contracts import SinkContract
from tests.fakes.samples import record
from tests.fakes.timer import settled
from tests.integration.wire import Wire


class OnApacheKafka(SinkContract):
    """Which knows limits of topics. Read as a reader with read_committed sees it."""

    _wire: Wire

    @pytest.fixture(autouse=True)
    async def _topics(self, kafka_wire: Wire) -> None:
        self._wire = kafka_wire
        self.topic, self.small_topic = kafka_wire.topics["result"], kafka_wire.topics["dead_letter"]
        await kafka_wire.create_topics(max_message_bytes={"dead_letter": 10_000})

    async def read(self, topic: str, count: int) -> Sequence[OutgoingRecord]:
        return [
            OutgoingRecord(topic=record.topic, key=record.key, value=record.value, headers=list(record.headers))
            async for record in self._wire.read(topic, count=count)
        ]


@pytest.mark.kafka
class TestAtLeastOnceOutbox(OnApacheKafka):
    """By an idempotent producer."""

    @contextlib.asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        sink = await AtLeastOnceSink.open(Broker(bootstrap_servers=self._wire.bootstrap_servers))
        try:
            yield sink
        finally:
            await sink.close()


@pytest.mark.kafka
class TestExactlyOnceOutbox(OnApacheKafka):
    """In transactions."""

    _life: PartitionState

    @contextlib.asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        async with committing(self._wire) as (sink, self._life):
            yield sink

    def ending(self) -> Record:
        return opened(self._life)

    async def test_a_rejected_record_stays_open_and_the_others_end(self) -> None:
        """What was too large is committed as open: its dead letter is still to come."""
        large = OutgoingRecord(topic=self.small_topic, key=b"k", value=random.Random(1).randbytes(50_000), headers=[])
        small = OutgoingRecord(topic=self.small_topic, key=b"k", value=b"x", headers=[])
        async with self.sink() as sink:
            with pytest.raises(RecordRejected):
                await sink.publish(large, ending=self.ending())
            await sink.publish(small, ending=self.ending())
            assert self._life.committed == CommitPoint(0, encode(0, [Run(1, 2)]))


class Member:
    """A member of the group that owns these partitions."""

    def __init__(self, *partitions: TopicPartition) -> None:
        self._partitions = set(partitions)

    def owns(self, partition: TopicPartition) -> bool:
        return partition in self._partitions

    async def commit_offsets(self, points: Mapping[TopicPartition, CommitPoint]) -> None:
        raise AssertionError("a transaction commits its offsets itself")


@contextlib.asynccontextmanager
async def committing(
    wire: Wire, *, epoch: int = 1, committed: CommitPoint | None = None
) -> AsyncIterator[tuple[ExactlyOnceSink, PartitionState]]:
    """A sink that has taken over partition 0, and commits again and again as the source would."""
    partition = TopicPartition(wire.topics["input"], 0)
    broker = Broker(bootstrap_servers=wire.bootstrap_servers)
    sink = ExactlyOnceSink(broker=broker, group_id=f"{wire.name}.group", metrics=Metrics())
    state = PartitionState(partition, epoch=epoch, committed=committed)
    await sink.acquire(partition, epoch=epoch)

    async def commit_for_ever() -> None:
        while True:
            await asyncio.sleep(0.02)
            await sink.commit([state], Member(partition))

    commits = asyncio.create_task(commit_for_ever())
    try:
        yield sink, state
    finally:
        commits.cancel()
        await asyncio.gather(commits, return_exceptions=True)
        await sink.close()


def opened(state: PartitionState) -> Record:
    """The next record of the partition, open."""
    offset = state.offsets.next_offset or 0
    state.offsets.opened(offset)
    fresh = record(b"{}", offset=offset)
    return replace(fresh, topic=state.partition.topic, partition=state.partition.partition, epoch=state.epoch)


@pytest.mark.kafka
async def test_the_next_owner_shuts_out_the_last(kafka_wire: Wire) -> None:
    """A zombie that wakes up publishes nothing and moves no offset, and learns that its partition is gone."""
    wire = kafka_wire
    await wire.create_topics()
    partition = TopicPartition(wire.topics["input"], 0)
    broker = Broker(bootstrap_servers=wire.bootstrap_servers)
    zombie = ExactlyOnceSink(broker=broker, group_id=f"{wire.name}.group", metrics=Metrics())
    await zombie.acquire(partition, epoch=1)
    state = PartitionState(partition, epoch=1)
    outgoing = OutgoingRecord(topic=wire.topics["result"], key=b"k", value=b"the zombie's", headers=[])
    late = asyncio.create_task(zombie.publish(outgoing, ending=opened(state)))
    async with committing(wire) as (owner, its_life):
        for value in (b"the owner's", b"the owner's too"):
            await owner.publish(replace(outgoing, value=value), ending=opened(its_life))
        assert await zombie.commit([state], Member()) == []
        assert not late.done()
    # Had it still been assigned, it would have asked the broker, and have found the owner's commit there.
    assert await zombie.commit([state], Member(partition)) == [state]
    await zombie.close()
    await asyncio.gather(late, return_exceptions=True)
    assert late.cancelled()
    assert [r.value async for r in wire.read(wire.topics["result"], count=2)] == [b"the owner's", b"the owner's too"]
    assert await wire.committed() == 2


@pytest.mark.kafka
async def test_a_record_of_an_earlier_life_is_not_published(kafka_wire: Wire) -> None:
    """A late finisher of a partition that went away and came back."""
    await kafka_wire.create_topics()
    outgoing = OutgoingRecord(topic=kafka_wire.topics["result"], key=b"k", value=b"late", headers=[])
    async with committing(kafka_wire, epoch=2) as (sink, state):
        with pytest.raises(asyncio.CancelledError):
            await sink.publish(outgoing, ending=replace(opened(state), epoch=1))


class Cut:
    """A real producer of which one answer is lost: the call has its effect, and then fails."""

    def __init__(self, producer: Any, *, after: str) -> None:
        self._producer = producer
        self._after = after

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._producer, name)
        return self._lost(real) if name == self._after else real

    def _lost(self, real: Any) -> Any:
        async def call(*arguments: Any, **more: Any) -> None:
            await real(*arguments, **more)
            raise KafkaConnectionError("the answer was lost")

        return call


@pytest.mark.kafka
@pytest.mark.parametrize("after", ["begin_transaction", "send", "send_offsets_to_transaction", "commit_transaction"])
async def test_a_transaction_of_unknown_end_is_made_up_for(kafka_wire: Wire, after: str) -> None:
    """Whether the broker had committed it or not: each outcome is there once, and its offset committed."""
    wire = kafka_wire
    await wire.create_topics()
    partition, topic = TopicPartition(wire.topics["input"], 0), wire.topics["result"]
    broker = Broker(bootstrap_servers=wire.bootstrap_servers)
    sink = ExactlyOnceSink(broker=broker, group_id=f"{wire.name}.group", metrics=Metrics())
    await sink.acquire(partition, epoch=1)
    state = PartitionState(partition, epoch=1)
    for value in (b"0", b"1", b"2"):
        outgoing = OutgoingRecord(topic=topic, key=b"k", value=value, headers=[])
        publishing = asyncio.create_task(sink.publish(outgoing, ending=opened(state)))
        await settled()
        writer = sink._writers[partition]
        writer.producer = Cut(writer.producer, after=after)
        assert await sink.commit([state], Member(partition)) == []
        await publishing
    # One more, without a cut: had one of them been repeated, it would stand before this one.
    last = asyncio.create_task(
        sink.publish(OutgoingRecord(topic=topic, key=b"k", value=b"3", headers=[]), ending=opened(state))
    )
    await settled()
    await sink.commit([state], Member(partition))
    await last
    await sink.close()
    assert [r.value async for r in wire.read(topic, count=4)] == [b"0", b"1", b"2", b"3"]
    assert await wire.committed() == 4


@pytest.mark.kafka
@pytest.mark.parametrize("after", ["send", "send_offsets_to_transaction", "commit_transaction"])
async def test_a_transaction_that_was_cut_in_a_rebalance_is_made_up_for_after_it(kafka_wire: Wire, after: str) -> None:
    """The partition comes back: it is known for ours, its work goes on, and each outcome is there once."""
    wire = kafka_wire
    await wire.create_topics()
    partition, topic = TopicPartition(wire.topics["input"], 0), wire.topics["result"]
    broker = Broker(bootstrap_servers=wire.bootstrap_servers)
    sink = ExactlyOnceSink(broker=broker, group_id=f"{wire.name}.group", metrics=Metrics())
    await sink.acquire(partition, epoch=1)
    state = PartitionState(partition, epoch=1)
    values = [b"0", b"1", b"2"]
    publishing = []
    for value in values:
        outgoing = OutgoingRecord(topic=topic, key=b"k", value=value, headers=[])
        publishing.append(asyncio.create_task(sink.publish(outgoing, ending=opened(state))))
        await settled()
        writer = sink._writers[partition]
        writer.producer = Cut(writer.producer, after=after)
        assert await sink.commit([state], Member()) == []
        stored = await committed_points(broker, f"{wire.name}.group", [partition])
        assert state.is_at(stored.get(partition))
        assert await sink.commit([state], Member(partition)) == []
    await asyncio.gather(*publishing)
    await sink.close()
    assert await wire.count("result") == 3
    assert [r.value async for r in wire.read(topic, count=3)] == values
    assert await wire.committed() == 3

"""What one round of transactions takes, and what becomes of a transaction of which the end is not known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from consumer.errors import RecordRejected
from consumer.kafka import transactions
from consumer.kafka.connection import Broker
from consumer.kafka.offsets import CommitPoint, Run, encode
from consumer.kafka.partitions import PartitionLife
from consumer.kafka.records import Outgoing, Record
from consumer.kafka.transactions import ExactlyOnceOutbox
from consumer.telemetry.metrics import Metrics
from tests.fakes.samples import record
from tests.fakes.timer import settled

PARTITION = TopicPartition("documents", 0)
_MOST_TRANSACTIONS = 20


@dataclass(kw_only=True)
class _Cluster:
    """A broker with one partition: what was published for good, and what the group has stored.

    `loses` is what is cut at the next commit: the request before it has its effect, or the answer after it.
    `meanwhile` happens during each commit. A batch of which a record is in `too_large` is refused.
    """

    stored: CommitPoint | None = None
    published: list[bytes] = field(default_factory=list)
    transactions: list[list[bytes]] = field(default_factory=list)
    too_large: frozenset[bytes] = frozenset()
    loses: str = ""
    meanwhile: Callable[[], object] = lambda: None

    def producer(self, **_: Any) -> _Producer:
        return _Producer(self)

    async def committed_points(self, *_: Any) -> Mapping[TopicPartition, CommitPoint]:
        return {} if self.stored is None else {PARTITION: self.stored}


class _Producer:
    """A transactional producer on it."""

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster
        self._values: list[bytes] = []
        self._point: CommitPoint | None = None
        self.client = self

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None: ...

    async def begin_transaction(self) -> None:
        self._values, self._point = [], None

    async def send(self, _topic: str, *, value: bytes, **_: Any) -> asyncio.Future[None]:
        self._values.append(value)
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, tuple[int, str]], _: str) -> None:
        if self._cluster.too_large.intersection(self._values):
            raise MessageSizeTooLargeError
        self._point = CommitPoint(*offsets[PARTITION])

    async def commit_transaction(self) -> None:
        cluster = self._cluster
        loses, cluster.loses = cluster.loses, ""
        if loses != "request":
            cluster.transactions.append(self._values)
            cluster.published += self._values
            cluster.stored = self._point
        cluster.meanwhile()
        await settled()
        assert len(cluster.transactions) < _MOST_TRANSACTIONS, "one round goes on without end"
        if loses:
            raise KafkaConnectionError("the connection was cut")


class _Member:
    """A member of the group; `rebalancing` while it is not known whose the partition is."""

    def __init__(self, *, rebalancing: bool = False) -> None:
        self.rebalancing = rebalancing

    def owns(self, _: TopicPartition) -> bool:
        return not self.rebalancing

    async def commit_offsets(self, _: Mapping[TopicPartition, CommitPoint]) -> None:
        raise AssertionError("a transaction commits its offsets itself")


class _Owner:
    """Whoever has the partition: reads records and publishes what they end as."""

    def __init__(self, outbox: ExactlyOnceOutbox, cluster: _Cluster) -> None:
        self.outbox = outbox
        self.cluster = cluster
        self.life = PartitionLife(PARTITION, epoch=1)
        self.tasks: list[asyncio.Task[None]] = []

    def reads(self) -> Record:
        offset = self.life.offsets.next_offset or 0
        self.life.offsets.opened(offset)
        return replace(record(b"{}", offset=offset), topic=PARTITION.topic, partition=PARTITION.partition, epoch=1)

    def ends(self, value: bytes, *, ending: Record | None = None) -> asyncio.Task[None]:
        outgoing = Outgoing(topic="results", key=b"k", value=value, headers=[])
        task = asyncio.create_task(self.outbox.publish(outgoing, ending=ending or self.reads()))
        self.tasks.append(task)
        return task

    async def commits(self, member: _Member | None = None) -> Sequence[PartitionLife]:
        await settled()
        over = await self.outbox.commit([self.life], member or _Member())
        await settled()
        return over


@pytest.fixture
async def owner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Owner]:
    cluster = _Cluster()
    monkeypatch.setattr(transactions, "AIOKafkaProducer", cluster.producer)
    monkeypatch.setattr(transactions, "committed_points", cluster.committed_points)
    monkeypatch.setattr(transactions, "_PAUSE_SECONDS", 0)
    outbox = ExactlyOnceOutbox(broker=Broker(bootstrap_servers="nowhere:1"), group_id="g", metrics=Metrics())
    await outbox.take_over(PARTITION, epoch=1)
    owner = _Owner(outbox, cluster)
    yield owner
    await outbox.close()
    await asyncio.gather(*owner.tasks, return_exceptions=True)


async def test_a_round_takes_what_had_finished_when_it_began(owner: _Owner) -> None:
    """What finishes meanwhile is the next round's: else one round goes on for as long as there is work."""
    owner.cluster.meanwhile = lambda: owner.ends(b"later")
    first, second = owner.ends(b"first"), owner.ends(b"second")
    assert await owner.commits() == []
    assert owner.cluster.transactions == [[b"first", b"second"]]
    assert first.done()
    assert second.done()
    owner.ends(b"third")
    await owner.commits()
    assert owner.cluster.transactions[1:] == [[b"later", b"third"]]


async def test_a_round_of_records_without_outcomes_is_one_transaction(owner: _Owner) -> None:
    """Tombstones and what is passed over end without one, and the offset moves on during each transaction too."""

    def tombstone() -> None:
        owner.life.ended(owner.reads().offset)

    tombstone()
    owner.cluster.meanwhile = tombstone
    await owner.commits()
    assert owner.cluster.transactions == [[]]
    assert owner.cluster.stored == CommitPoint(1)


async def test_a_round_tries_again_with_what_it_has(owner: _Owner) -> None:
    """A transaction that failed is made up for at once, and what has finished meanwhile waits for its own round."""
    owner.cluster.loses = "request"
    owner.cluster.meanwhile = lambda: owner.ends(b"later")
    owner.ends(b"first")
    await owner.commits()
    assert owner.cluster.transactions == [[b"first"]]


async def test_the_records_of_a_refused_batch_are_tried_one_by_one(owner: _Owner) -> None:
    """Those that came with the one that is too large, and no others: they go together again."""
    owner.cluster.too_large = frozenset({b"large"})
    owner.cluster.meanwhile = lambda: owner.ends(b"later")
    owner.ends(b"first")
    large = owner.reads()
    rejected = owner.ends(b"large", ending=large)
    owner.ends(b"last")
    await owner.commits()
    assert owner.cluster.transactions == [[b"first"], [b"last"]]
    assert isinstance(rejected.exception(), RecordRejected)
    assert owner.life.committed == CommitPoint(1, encode(1, [Run(2, 3)]))
    owner.ends(b"dead letter", ending=large)
    await owner.commits()
    assert owner.cluster.transactions[2:] == [[b"later", b"later", b"dead letter"]]


async def test_a_rejected_record_alone_is_no_endless_round(owner: _Owner) -> None:
    """Its dead letter finishes while the round goes on, and is the next one's."""
    owner.cluster.too_large = frozenset({b"large"})
    large = owner.reads()
    rejected = owner.ends(b"large", ending=large)
    await owner.commits()
    assert isinstance(rejected.exception(), RecordRejected)
    assert owner.cluster.published == []
    owner.ends(b"dead letter", ending=large)
    await owner.commits()
    assert owner.cluster.published == [b"dead letter"]
    assert owner.cluster.stored == CommitPoint(1)

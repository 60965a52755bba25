"""A broker with one partition, a transactional producer on it, and whoever owns the partition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError

from docsluice.kafka.broker_errors import CodecRefused
from docsluice_consumer.kafka.exactly_once import ExactlyOnceSink
from docsluice_consumer.kafka.offsets import CommitPoint
from docsluice_consumer.kafka.partitions import PartitionState
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from tests.fakes.samples import record
from tests.fakes.timer import settled

PARTITION = TopicPartition("documents", 0)
_MOST_TRANSACTIONS = 20


@dataclass(kw_only=True)
class Cluster:
    """A broker with one partition: what was published for good, and what the group has stored.

    `loses` is what is cut at the next commit: the request before it has its effect, or the answer after it. Its client
    is told so by `error`.
    `meanwhile` happens during each commit. A batch of which a record is in `too_large` is refused.
    """

    stored: CommitPoint | None = None
    published: list[bytes] = field(default_factory=list)
    transactions: list[list[bytes]] = field(default_factory=list)
    codecs: list[str] = field(default_factory=list)
    too_large: frozenset[bytes] = frozenset()
    refused_codecs: frozenset[str] = frozenset()
    loses: str = ""
    error: KafkaError = field(default_factory=lambda: KafkaConnectionError("the connection was cut"))
    sender_error: KafkaError | None = None
    meanwhile: Callable[[], object] = lambda: None

    def producer(self, *, compression_type: str, **_: Any) -> _Producer:
        return _Producer(self, compression_type)

    async def most_bytes_of(self, *_: Any) -> None:
        return None

    async def committed_points(self, *_: Any) -> Mapping[TopicPartition, CommitPoint]:
        return {} if self.stored is None else {PARTITION: self.stored}


class _Producer:
    """A transactional producer on it."""

    def __init__(self, cluster: Cluster, codec: str) -> None:
        self._cluster = cluster
        self._codec = codec
        self._values: list[bytes] = []
        self._point: CommitPoint | None = None
        self.client = self._txn_manager = self._sender = self
        self.sender_task: asyncio.Future[None] | None = None
        self._end: asyncio.Future[None] | None = None

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def close(self) -> None: ...

    async def begin_transaction(self) -> None:
        self._values, self._point = [], None
        self._end = asyncio.get_running_loop().create_future()

    def wait_for_transaction_end(self) -> asyncio.Future[None]:
        assert self._end is not None
        return self._end

    def _fail(self, error: KafkaError) -> None:
        self.wait_for_transaction_end().set_exception(error)
        raise error

    async def send(self, _topic: str, *, value: bytes, **_: Any) -> asyncio.Future[None]:
        self._values.append(value)
        sent = asyncio.get_running_loop().create_future()
        sent.set_result(None)
        return sent

    async def send_offsets_to_transaction(self, offsets: Mapping[TopicPartition, tuple[int, str]], _: str) -> None:
        if self._cluster.too_large.intersection(self._values):
            self._fail(MessageSizeTooLargeError())
        if self._codec in self._cluster.refused_codecs:
            self._fail(CodecRefused())
        self._point = CommitPoint(*offsets[PARTITION])

    async def commit_transaction(self) -> None:
        cluster = self._cluster
        loses, cluster.loses = cluster.loses, ""
        if loses != "request":
            cluster.transactions.append(self._values)
            cluster.published += self._values
            cluster.codecs.append(self._codec)
            cluster.stored = self._point
        cluster.meanwhile()
        await settled()
        assert len(cluster.transactions) < _MOST_TRANSACTIONS, "one round goes on without end"
        if loses and cluster.sender_error is not None:
            self.sender_task = asyncio.get_running_loop().create_future()
            self.sender_task.set_exception(cluster.sender_error)
        if loses:
            raise cluster.error


class Member:
    """A member of the group. `rebalancing` while it is not known whose the partition is."""

    def __init__(self, *, rebalancing: bool = False) -> None:
        self.rebalancing = rebalancing

    def owns(self, _: TopicPartition) -> bool:
        return not self.rebalancing

    async def commit_offsets(self, _: Mapping[TopicPartition, CommitPoint]) -> None:
        raise AssertionError("a transaction commits its offsets itself")


class Owner:
    """An owner of the partition: reads records and publishes their outcomes."""

    def __init__(self, sink: ExactlyOnceSink, cluster: Cluster) -> None:
        self.sink = sink
        self.cluster = cluster
        self.state = PartitionState(PARTITION, epoch=1)
        self.tasks: list[asyncio.Task[None]] = []

    def reads(self) -> Record:
        offset = self.state.offsets.next_offset or 0
        self.state.offsets.opened(offset)
        return replace(record(b"{}", offset=offset), topic=PARTITION.topic, partition=PARTITION.partition, epoch=1)

    def ends(self, value: bytes, *, ending: Record | None = None, alone: bool = False) -> asyncio.Task[None]:
        outgoing = OutgoingRecord(
            topic="results", key=b"k", value=value, headers=[], alone=alone, compression="zstd" if alone else "gzip"
        )
        task = asyncio.create_task(self.sink.publish(outgoing, ending=ending or self.reads()))
        self.tasks.append(task)
        return task

    async def commits(self, member: Member | None = None) -> Sequence[PartitionState]:
        await settled()
        over = await self.sink.commit([self.state], member or Member())
        await settled()
        return over

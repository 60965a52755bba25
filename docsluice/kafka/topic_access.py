"""A broker's topics as a program uses them: writers, readers, and what is there now."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

from docsluice.errors import BrokerRefused
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import BrokerSession, broker_session
from docsluice.kafka.group_reader import GroupReader
from docsluice.kafka.passing import Say
from docsluice.kafka.reader import Reader, Start
from docsluice.kafka.topic_scan import Scan
from docsluice.kafka.transactions import ProducerRecord
from docsluice.kafka.writers import IdempotentWriter, TransactionalWriter
from docsluice.messages import SourcePosition

Finished: TypeAlias = Mapping[tuple[str, int], int]
"""The next offset to be read, by topic and partition."""

_ELSEWHERE = "KAFKA_BOOTSTRAP_SERVERS or bootstrap_servers="


class TopicWriter(Protocol):
    """Writes records to topics."""

    async def write(self, record: ProducerRecord, *, document_id: str) -> SourcePosition:
        """Write a record. Returns where it is once all replicas have it. Several may be under way.

        Raises:
            DocumentTooLarge: the topic does not take it. It names `document_id`.
            BrokerAway: no acknowledgement came in time. The record may still arrive.
            BrokerRefused: the broker does not let us write.
        """
        ...

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """Write what is written inside all or not at all.

        Raises:
            BrokerRefused: the broker does not let us, or another writer has taken our place.
            BrokerAway: its end is unknown.
        """
        ...


class TopicReader(Protocol):
    """Reads committed records."""

    async def fetch(self, *, timeout_ms: int) -> Sequence[Any]:
        """The next records, in order within a partition. Empty if none came in time.

        Raises:
            BrokerRefused: the broker does not let us read.
        """
        ...

    async def commit(self, finished: Finished) -> None:
        """Remember for the group how far it has come. Nothing for a reader without a group."""
        ...


class Topics(Protocol):
    """Topics of one broker: Kafka's, or those in memory."""

    def writing(self, topic: str, *, transactional_id: str | None) -> AbstractAsyncContextManager[TopicWriter]:
        """A writer for the length of a block.

        Raises:
            BrokerAway: the broker does not answer.
            BrokerRefused: it refuses us, or the topic is missing.
        """
        ...

    def reading(self, topic: str, *, start: Start, group_id: str | None) -> AbstractAsyncContextManager[TopicReader]:
        """A reader for the length of a block. `start` counts where the group has not committed.

        Raises:
            BrokerAway: the broker does not answer.
            BrokerRefused: it refuses us.
        """
        ...

    def present(self, topic: str, *, since: timedelta | None) -> AsyncIterator[Sequence[Any]]:
        """Committed records from the beginning, or from an age, to the present end.

        Raises:
            BrokerAway: the broker does not answer.
            BrokerRefused: it refuses us, or the topic is missing.
        """
        ...


class KafkaTopics:
    """The topics of a Kafka broker. `say` is told of a broker that is away."""

    def __init__(self, broker: Broker, *, wait_seconds: float, say: Say) -> None:
        self._broker = broker
        self._wait_seconds = wait_seconds
        self._say = say

    @asynccontextmanager
    async def writing(self, topic: str, *, transactional_id: str | None) -> AsyncIterator[TopicWriter]:
        """See `Topics`."""
        with self._session() as session:
            await self._partitions(session, topic)
            writer = (
                IdempotentWriter(session)
                if transactional_id is None
                else TransactionalWriter(session, transactional_id)
            )
            await session.with_retries(writer.open)
            try:
                yield writer
            finally:
                await writer.close()

    @asynccontextmanager
    async def reading(self, topic: str, *, start: Start, group_id: str | None) -> AsyncIterator[TopicReader]:
        """See `Topics`."""
        with self._session() as session:
            reader: Reader | GroupReader = (
                Reader(session=session, topics=(topic,), start=start)
                if group_id is None
                else GroupReader(session=session, topic=topic, start=start, group_id=group_id)
            )
            try:
                await reader.open()
                yield reader
            finally:
                await reader.close()

    async def present(self, topic: str, *, since: timedelta | None) -> AsyncIterator[Sequence[Any]]:
        """See `Topics`."""
        with self._session() as session:
            partitions = await self._partitions(session, topic)
            async with Scan(session=session, topic=topic, partitions=partitions) as scan:
                async for records in scan.pieces(await scan.offset_range(since=since)):
                    yield records

    def _session(self) -> Any:
        return broker_session(self._broker, wait_seconds=self._wait_seconds, say=self._say, elsewhere=_ELSEWHERE)

    async def _partitions(self, session: BrokerSession, topic: str) -> Sequence[int]:
        there = await session.topics()
        if topic not in there:
            servers = self._broker.bootstrap_servers
            raise BrokerRefused(
                f"there is no topic {topic} on {servers}: the service makes its topics when it first runs"
            )
        return there[topic]

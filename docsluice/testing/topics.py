"""Topics in memory, which do what a broker's do: partitions, transactions, groups, a limit on size."""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Literal

from docsluice.errors import BrokerRefused, ConfigurationError
from docsluice.kafka.reader import Start
from docsluice.kafka.topic_access import TopicReader, TopicWriter
from docsluice.kafka.transactions import ProducerRecord
from docsluice.kafka.writers import NO_TRANSACTIONS, ONE_TRANSACTION, ONLY_TRANSACTIONS, too_large
from docsluice.messages import Headers, SourcePosition

_NAMES: Final = ("documents", "documents.results", "documents.dlq")
_MOST_BYTES: Final = 1_048_588
"""A broker's default."""


@dataclass(slots=True, kw_only=True)
class MemoryRecord:
    """One entry of a partition. `state` is how its transaction stands. A marker of its end is an aborted entry."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    state: Literal["open", "committed", "aborted"]
    checksum: Any = None


@dataclass(slots=True)
class _Topic:
    partitions: list[list[MemoryRecord]]
    readers: dict[str, list[_Reader]] = field(default_factory=dict)
    """By group."""


class MemoryTopics:
    """Topics for tests, on no broker. Give them to a producer and to a subscriber as `topics=`.

    `names` are the topics that there are, each with so many partitions. `most_bytes` is the largest value and key.
    """

    def __init__(self, names: Sequence[str] = _NAMES, *, partitions: int = 1, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._topics = {name: _Topic([[] for _ in range(partitions)]) for name in names}
        self._committed: dict[tuple[str, str, int], int] = {}
        self._writers: dict[str, _Writer] = {}

    def records(self, topic: str) -> list[MemoryRecord]:
        """All committed records of a topic, partition by partition."""
        return [one for partition in self._of(topic).partitions for one in partition if _is_readable(one)]

    def append(self, record: ProducerRecord, *, document_id: str = "") -> SourcePosition:
        """Write a record that needs no transaction.

        Raises:
            DocumentTooLarge: it is larger than a topic takes.
            BrokerRefused: there is no such topic.
        """
        entry = self._append(record, document_id=document_id, state="committed")
        return SourcePosition(topic=entry.topic, partition=entry.partition, offset=entry.offset)

    @asynccontextmanager
    async def writing(self, topic: str, *, transactional_id: str | None) -> AsyncIterator[TopicWriter]:
        """See `docsluice.kafka.topic_access.Topics`."""
        self._of(topic)
        writer = _Writer(self, transactional_id)
        if transactional_id is not None:
            if (earlier := self._writers.get(transactional_id)) is not None:
                earlier.fence()
            self._writers[transactional_id] = writer
        yield writer

    @asynccontextmanager
    async def reading(self, topic: str, *, start: Start, group_id: str | None) -> AsyncIterator[TopicReader]:
        """See `docsluice.kafka.topic_access.Topics`."""
        found, reader = self._of(topic), _Reader(self, topic, start, group_id)
        members = found.readers.setdefault(group_id, []) if group_id is not None else [reader]
        if reader not in members:
            members.append(reader)
        for member in members:
            member.take_up(members)
        try:
            yield reader
        finally:
            members.remove(reader)
            for member in members:
                member.take_up(members)

    async def present(self, topic: str, *, since: timedelta | None) -> AsyncIterator[Sequence[Any]]:
        """See `docsluice.kafka.topic_access.Topics`."""
        since_ms = None if since is None else _now_ms() - since // timedelta(milliseconds=1)
        found = [one for one in self.records(topic) if since_ms is None or one.timestamp >= since_ms]
        if found:
            yield found

    def _of(self, topic: str) -> _Topic:
        if topic not in self._topics:
            raise BrokerRefused(f"there is no topic {topic}; there are {', '.join(self._topics)}")
        return self._topics[topic]

    def _append(self, record: ProducerRecord, *, document_id: str, state: Literal["open", "committed"]) -> MemoryRecord:
        partitions = self._of(record.topic).partitions
        if len(record.value or b"") + len(record.key or b"") > self._most_bytes:
            raise too_large(record, document_id)
        number = record.partition if record.partition is not None else zlib.crc32(record.key or b"") % len(partitions)
        entry = MemoryRecord(
            topic=record.topic,
            partition=number,
            offset=len(partitions[number]),
            timestamp=_now_ms(),
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            state=state,
        )
        partitions[number].append(entry)
        return entry

    def _end(self, entries: Sequence[MemoryRecord], state: Literal["committed", "aborted"]) -> None:
        """End a transaction: a marker in each partition takes an offset, as a broker's does."""
        for entry in entries:
            entry.state = state
        for topic, number in {(entry.topic, entry.partition) for entry in entries}:
            partition = self._of(topic).partitions[number]
            marker = MemoryRecord(
                topic=topic,
                partition=number,
                offset=len(partition),
                timestamp=_now_ms(),
                key=None,
                value=None,
                headers=(),
                state="aborted",
            )
            partition.append(marker)


class _Writer:
    def __init__(self, topics: MemoryTopics, transactional_id: str | None) -> None:
        self._topics = topics
        self._id = transactional_id
        self._written: list[MemoryRecord] | None = None
        self._is_fenced = False

    async def write(self, record: ProducerRecord, *, document_id: str) -> SourcePosition:
        await asyncio.sleep(0)
        if self._id is None:
            return self._topics.append(record, document_id=document_id)
        self._check()
        if self._written is None:
            raise ConfigurationError([ONLY_TRANSACTIONS])
        entry = self._topics._append(record, document_id=document_id, state="open")  # noqa: SLF001 - its own part
        self._written.append(entry)
        return SourcePosition(topic=entry.topic, partition=entry.partition, offset=entry.offset)

    def transaction(self) -> AbstractAsyncContextManager[None]:
        if self._id is None:
            raise ConfigurationError([NO_TRANSACTIONS])
        return self._transaction()

    def fence(self) -> None:
        """End what this writer has begun, and let it write no more."""
        self._is_fenced = True
        self._end("aborted")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[None]:
        if self._written is not None:
            raise ConfigurationError([ONE_TRANSACTION])
        self._check()
        self._written = []
        try:
            yield
            self._check()
            self._end("committed")
        finally:
            self._end("aborted")

    def _end(self, state: Literal["committed", "aborted"]) -> None:
        written, self._written = self._written, None
        self._topics._end(written or [], state)  # noqa: SLF001 - its own part

    def _check(self) -> None:
        if self._is_fenced:
            raise BrokerRefused(f"another producer has begun under the transactional id {self._id}")


class _Reader:
    def __init__(self, topics: MemoryTopics, topic: str, start: Start, group_id: str | None) -> None:
        self._topics = topics
        self._topic = topic
        self._start = start
        self._group_id = group_id
        self._positions: dict[int, int] = {}

    def take_up(self, members: Sequence[_Reader]) -> None:
        """Read this member's share of the partitions, from where the group is."""
        partitions = self._topics._of(self._topic).partitions  # noqa: SLF001 - its own part
        share = range(members.index(self), len(partitions), len(members))
        self._positions = {number: self._begin(number, partitions[number]) for number in share}

    async def fetch(self, *, timeout_ms: int) -> Sequence[MemoryRecord]:
        await asyncio.sleep(0)
        if found := next(self._ready(), None):
            return [found]
        await asyncio.sleep(timeout_ms / 1000)
        return []

    async def commit(self, finished: Mapping[tuple[str, int], int]) -> None:
        for (topic, partition), offset in finished.items():
            if self._group_id is not None and partition in self._positions:
                self._topics._committed[self._group_id, topic, partition] = offset  # noqa: SLF001 - its own part

    def _ready(self) -> Iterator[MemoryRecord]:
        partitions = self._topics._of(self._topic).partitions  # noqa: SLF001 - its own part
        for number in self._positions:
            for entry in partitions[number][self._positions[number] :]:
                if entry.state == "open":
                    break
                self._positions[number] = entry.offset + 1
                if _is_readable(entry):
                    yield entry

    def _begin(self, number: int, partition: Sequence[MemoryRecord]) -> int:
        committed = self._topics._committed  # noqa: SLF001 - its own part
        place = (self._group_id or "", self._topic, number)
        if self._group_id is None or place not in committed:
            first = self._first(partition)
            if self._group_id is not None:
                committed[place] = first
            return first
        return committed[place]

    def _first(self, partition: Sequence[MemoryRecord]) -> int:
        if self._start.from_beginning:
            return 0
        if self._start.since is None:
            return len(partition)
        since_ms = _now_ms() - self._start.since // timedelta(milliseconds=1)
        return next((one.offset for one in partition if one.timestamp >= since_ms), len(partition))


def _is_readable(entry: MemoryRecord) -> bool:
    return entry.state == "committed"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

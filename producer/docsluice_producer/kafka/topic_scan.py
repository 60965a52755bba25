"""Reads a topic to its present end: committed records only, in pieces of bounded size."""

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from docsluice.kafka.batch_reading import TAKEN_BYTES, DamagedBatch, taken
from docsluice.kafka.client_log import cause_in_words
from docsluice.kafka.stopping import left
from docsluice_producer.command_line.ages import timestamp_ms
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.errors import BrokerAway, BrokerRefused
from docsluice_producer.kafka.broker_session import STOP_SECONDS, BrokerSession
from docsluice_producer.kafka.read_only_client import read_only_consumer

_FETCH_MS = 100
_RECORDS = 1_000
_EMPTY_ANSWERS = 5
_POSITION_SECONDS = 1.0
_NOTICE_SECONDS = 3.0

Offsets = Mapping[TopicPartition, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetRange:
    """A part of a topic: from `first` to before `end`, by partition."""

    first: Offsets
    end: Offsets

    @property
    def offsets(self) -> int:
        """The number of offsets. There are as many records at most."""
        return sum(max(0, end - self.first[partition]) for partition, end in self.end.items())

    def at(self, partition: TopicPartition, offset: int) -> "OffsetRange":
        """The part with one offset. Empty if that is not in the range."""
        if not self.first.get(partition, 0) <= offset < self.end.get(partition, 0):
            return OffsetRange(first={}, end={})
        return OffsetRange(first={partition: offset}, end={partition: offset + 1})


class Scan:
    """Reads committed records of one topic, without a consumer group.

    `passed` counts the offsets behind the last reading.
    """

    def __init__(self, *, session: BrokerSession, topic: str, partitions: Sequence[int]) -> None:
        self.passed = 0
        self._session = session
        self._topic = topic
        self._partitions = [TopicPartition(topic, partition) for partition in partitions]
        self._consumer: Any = None

    async def __aenter__(self) -> Self:
        self._consumer = await self._session.with_retries(self._connected)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await left(self._consumer, seconds=STOP_SECONDS)

    async def offset_range(self, *, since: timedelta | None = None) -> OffsetRange:
        """The topic from its beginning, or from an age, to the present end of what is committed.

        Records that cannot be read yet are reported. Otherwise they would seem not to exist.
        """
        there = await self._session.with_retries(self._all_ends)
        offset_range = await self._session.with_retries(lambda: self._bounds(since))
        withheld = sum(max(0, end - offset_range.end[partition]) for partition, end in there.items())
        if withheld:
            self._session.say(
                f"not looked at, for a transaction before it has not ended: up to {counted(withheld, 'record')} of"
                f" {self._topic}; run this again in a minute"
            )
        return offset_range

    async def pieces(
        self, offset_range: OffsetRange, *, stopped: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[list[Any]]:
        """The records of a range, in order within their partitions, until its end or until `stopped`.

        The last offset before an end may be invisible: a transaction marker, an aborted record, or removed by
        compaction. So a partition is at its end once our position is. It is also at its end once the broker has said
        several times in a row that it has nothing more before that end.

        Raises:
            BrokerAway: no answer came within the wait.
            BrokerRefused: it does not let us read.
        """
        self.passed = 0
        left = {one: offset_range.first[one] for one, end in offset_range.end.items() if offset_range.first[one] < end}
        if left:
            self._go_to(left)
        silence, emptiness = _Silence(self._session, self._topic), _Emptiness(self._consumer, offset_range.end)
        while left and not stopped():
            records = await self._fetched()
            positions = await self._positions(left)
            if positions != left:
                emptiness.forget(left)
                silence.broken()
            elif emptiness.is_told_again(left):
                silence.broken()
            else:
                silence.goes_on()
            self._leave_behind(
                left, positions | {one: offset_range.end[one] for one in emptiness.sure}, offset_range.end
            )
            within = [one for one in records if one.offset < offset_range.end[TopicPartition(one.topic, one.partition)]]
            if within:
                yield within
                silence.broken()  # however long our caller took

    async def _connected(self) -> Any:
        consumer = read_only_consumer(self._session.broker, fetch_max_wait_ms=_FETCH_MS, fetch_max_bytes=TAKEN_BYTES)
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _all_ends(self) -> Offsets:
        """Where the topic ends for readers of uncommitted records."""
        consumer = AIOKafkaConsumer(
            group_id=None, isolation_level="read_uncommitted", **self._session.broker.client_arguments()
        )
        try:
            await consumer.start()
            return dict(await consumer.end_offsets(self._partitions)) if self._partitions else {}
        finally:
            await consumer.stop()

    async def _bounds(self, since: timedelta | None) -> OffsetRange:
        if not self._partitions:
            return OffsetRange(first={}, end={})
        end = dict(await self._consumer.end_offsets(self._partitions))
        first = dict(await self._consumer.beginning_offsets(self._partitions))
        if since is not None:
            since_ms = timestamp_ms(since, now=datetime.now(UTC))
            found = await self._consumer.offsets_for_times(dict.fromkeys(self._partitions, since_ms))
            # A partition without records this young has no such offset.
            first = {one: found[one].offset if found.get(one) else end[one] for one in self._partitions}
        return OffsetRange(first=first, end=end)

    def _go_to(self, positions: Offsets) -> None:
        self._consumer.assign(list(positions))
        for partition, offset in positions.items():
            self._consumer.seek(partition, offset)

    async def _fetched(self) -> list[Any]:
        """The next records: in order within a partition, and oldest first as far as possible.

        Unreadable records are among them, with their flaw.
        """
        try:
            fetched = await taken(self._consumer, timeout_ms=_FETCH_MS, most_records=_RECORDS)
        except DamagedBatch:
            return []  # it is fetched once more, and then skipped
        except KafkaError as error:
            where = f"{self._topic} on {self._session.broker.bootstrap_servers}"
            raise BrokerRefused(f"{where} cannot be read: {cause_in_words(error)}") from error
        return list(heapq.merge(*fetched.values(), key=lambda one: one.timestamp))

    async def _positions(self, left: Offsets) -> dict[TopicPartition, int]:
        positions = dict(left)
        deadline = asyncio.get_running_loop().time() + _POSITION_SECONDS
        for partition in left:
            # If retention has deleted the next records, the client is still looking up the first one left. Not
            # `wait_for`, which before Python 3.12 may swallow that we are cancelled.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    positions[partition] = await self._consumer.position(partition)
        return positions

    def _leave_behind(self, left: dict[TopicPartition, int], positions: Offsets, ends: Offsets) -> None:
        for partition, before in tuple(left.items()):
            position = left[partition] = min(positions[partition], ends[partition])
            self.passed += position - before
            if position == ends[partition]:
                del left[partition]
                self._consumer.pause(partition)


class _Emptiness:
    """Counts empty answers in a row, by partition.

    `sure` are the partitions with enough of them.
    """

    def __init__(self, consumer: Any, ends: Offsets) -> None:
        self._consumer = consumer
        self._ends = ends
        self._answered_at: dict[TopicPartition, int | None] = {}
        self._answers: Counter[TopicPartition] = Counter()

    @property
    def sure(self) -> list[TopicPartition]:
        return [partition for partition, count in self._answers.items() if count >= _EMPTY_ANSWERS]

    def forget(self, left: Offsets) -> None:
        """Begin again: while one partition fills the answers, empty ones of others mean nothing."""
        self._answers.clear()
        self._answered_at = {partition: self._consumer.last_poll_timestamp(partition) for partition in left}

    def is_told_again(self, left: Offsets) -> bool:
        """Count the answers since the last call. Returns whether there are any."""
        told = False
        for partition in left:
            answered_at = self._consumer.last_poll_timestamp(partition)
            if answered_at is None or answered_at == self._answered_at.get(partition):
                continue
            self._answered_at[partition] = answered_at
            stable_to = self._consumer.last_stable_offset(partition)
            # A new leader may not know for a moment how much is committed.
            if stable_to is None or stable_to >= self._ends[partition]:
                self._answers[partition] += 1
                told = True
        return told


class _Silence:
    """Reports once that the broker is silent, and ends the wait if it stays silent."""

    def __init__(self, session: BrokerSession, topic: str) -> None:
        self._session = session
        self._whose = f"from {session.broker.bootstrap_servers} about {topic}"
        self.broken()

    def broken(self) -> None:
        self._since = monotonic()
        self._told = False
        self._session.client_log.forget()

    def goes_on(self) -> None:
        session, quiet_seconds = self._session, monotonic() - self._since
        why = f" ({cause_in_words(session.client_log.last)})" if session.client_log.last else ""
        if quiet_seconds > session.patience_seconds:
            raise BrokerAway(f"no answer {self._whose} for {session.patience_seconds:g} s{why}")
        if quiet_seconds > _NOTICE_SECONDS and not self._told:
            self._told = True
            session.say(f"no answer {self._whose}{why}: waiting for up to {session.patience_seconds:g} s")

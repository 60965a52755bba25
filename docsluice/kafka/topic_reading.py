"""Reads parts of topics without a consumer group: committed records only, in pieces of bounded size."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from docsluice.kafka.batch_reading import TAKEN_BYTES, DamagedBatch, read_past_flaws, taken
from docsluice.kafka.broker import Broker

_FETCH_MS = 100
_RECORDS = 1_000
_EMPTY_ANSWERS = 5
_POSITION_SECONDS = 1.0

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

    def at(self, partition: TopicPartition, offset: int) -> OffsetRange:
        """The part with one offset. Empty if that is not in the range."""
        if not self.first.get(partition, 0) <= offset < self.end.get(partition, 0):
            return OffsetRange(first={}, end={})
        return OffsetRange(first={partition: offset}, end={partition: offset + 1})

    def last(self, count: int) -> OffsetRange:
        """The part with the last `count` offsets of each partition."""
        return OffsetRange(
            first={one: max(self.first[one], end - count) for one, end in self.end.items()}, end=self.end
        )


def read_only_consumer(broker: Broker, *, isolation_level: str = "read_committed", **fetching: Any) -> AIOKafkaConsumer:
    """A consumer without a group, not started yet. Unreadable records come with their flaw."""
    read_past_flaws()
    return AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # after retention has deleted records, the nearest that is left
        isolation_level=isolation_level,
        **fetching,
        **broker.client_arguments(),
    )


def range_consumer(broker: Broker) -> AIOKafkaConsumer:
    """A consumer for a `RangeReading`, not started yet."""
    return read_only_consumer(broker, fetch_max_wait_ms=_FETCH_MS, fetch_max_bytes=TAKEN_BYTES)


async def present_range(
    consumer: Any, partitions: Collection[TopicPartition], *, since_ms: int | None = None
) -> OffsetRange:
    """The partitions from their beginning, or from a time (ms since 1970), to the present end of what is committed."""
    if not partitions:
        return OffsetRange(first={}, end={})
    end = dict(await consumer.end_offsets(partitions))
    if since_ms is None:
        return OffsetRange(first=dict(await consumer.beginning_offsets(partitions)), end=end)
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
    # A partition without records this young has no such offset.
    return OffsetRange(first={one: found[one].offset if found.get(one) else end[one] for one in partitions}, end=end)


async def next_records(consumer: Any, *, timeout_ms: int, most_records: int) -> list[Any]:
    """The next records: in order within a partition, and oldest first as far as possible.

    Unreadable records are among them, with their flaw. Empty if none came in time.

    Raises:
        KafkaError: the broker does not let us read.
    """
    try:
        fetched = await taken(consumer, timeout_ms=timeout_ms, most_records=most_records)
    except DamagedBatch:
        return []  # it is fetched once more, and then skipped
    return list(heapq.merge(*fetched.values(), key=lambda one: one.timestamp))


class RangeReading:
    """Reads the records of a range once.

    The last offset before an end may be invisible: a transaction marker, an aborted record, or removed by compaction.
    So a partition is at its end once our position is. It is also at its end once the broker has said several times in a
    row that it has nothing more before that end.

    `passed` counts the offsets behind the reading. `was_answered` tells whether the broker answered the last fetch.
    """

    def __init__(self, consumer: Any, offset_range: OffsetRange) -> None:
        self.passed = 0
        self.was_answered = True
        self._consumer = consumer
        self._ends, first = offset_range.end, offset_range.first
        self._left = {one: first[one] for one, end in self._ends.items() if first[one] < end}
        self._emptiness = _Emptiness(consumer, self._ends)
        if self._left:
            consumer.assign(list(self._left))
        for partition, offset in self._left.items():
            consumer.seek(partition, offset)

    @property
    def is_over(self) -> bool:
        """Whether every partition is at its end."""
        return not self._left

    async def next(self) -> list[Any]:
        """See `next_records`."""
        records = await next_records(self._consumer, timeout_ms=_FETCH_MS, most_records=_RECORDS)
        positions = await self._positions()
        if positions != self._left:
            self._emptiness.forget(self._left)
            self.was_answered = True
        else:
            self.was_answered = self._emptiness.is_told_again(self._left)
        self._leave_behind(positions | {one: self._ends[one] for one in self._emptiness.sure})
        return [one for one in records if one.offset < self._ends[TopicPartition(one.topic, one.partition)]]

    async def _positions(self) -> dict[TopicPartition, int]:
        positions = dict(self._left)
        deadline = asyncio.get_running_loop().time() + _POSITION_SECONDS
        for partition in self._left:
            # If retention has deleted the next records, the client is still looking up the first one left. Not
            # `wait_for`, which before Python 3.12 may swallow that we are cancelled.
            with suppress(TimeoutError):
                async with asyncio.timeout_at(deadline):
                    positions[partition] = await self._consumer.position(partition)
        return positions

    def _leave_behind(self, positions: Offsets) -> None:
        for partition, before in tuple(self._left.items()):
            position = self._left[partition] = min(positions[partition], self._ends[partition])
            self.passed += position - before
            if position == self._ends[partition]:
                del self._left[partition]
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

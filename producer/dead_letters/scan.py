"""A topic read from its beginning to its end as it is now, by an onlooker, in pieces of bounded size."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from producer.connection import explained, stopped
from producer.dead_letters.link import STOP_SECONDS, Link
from producer.faults import BrokerAway, BrokerRefused

_FETCH_MS = 500
_RECORDS = 1_000
_FETCH_BYTES = 8 * 1024 * 1024
_NOTICE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A part of a topic: from `first` to before `end`, by partition."""

    first: Mapping[TopicPartition, int]
    end: Mapping[TopicPartition, int]

    @property
    def offsets(self) -> int:
        """How many offsets it has; some are no records, but ends of transactions."""
        return sum(max(0, end - self.first[partition]) for partition, end in self.end.items())

    def at(self, partition: TopicPartition, offset: int) -> "Stretch":
        """The part of it that is one offset; empty when that is not in it."""
        if not self.first.get(partition, 0) <= offset < self.end.get(partition, 0):
            return Stretch(first={}, end={})
        return Stretch(first={partition: offset}, end={partition: offset + 1})


class Scan:
    """Reads committed records of one topic, without a consumer group.

    `passed` counts the offsets that the last reading has left behind.
    """

    def __init__(self, *, link: Link, topic: str, partitions: Sequence[int]) -> None:
        self.passed = 0
        self._link = link
        self._partitions = [TopicPartition(topic, partition) for partition in partitions]
        self._consumer: Any = None

    async def __aenter__(self) -> Self:
        self._consumer = await self._link.patiently(self._connected)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stopped(self._consumer, seconds=STOP_SECONDS)

    async def stretch(self, *, since: timedelta | None = None) -> Stretch:
        """The topic from its beginning, or from so long ago, to the end of what is committed now."""
        return await self._link.patiently(lambda: self._bounds(since))

    async def pieces(
        self, stretch: Stretch, *, stopped: Callable[[], bool] = lambda: False
    ) -> AsyncIterator[list[Any]]:
        """The records of a stretch, in order within their partitions, until its end or until `stopped`.

        What ends a transaction has an offset and is no record: only the position tells that the end is reached.

        Raises:
            BrokerAway: nothing came for as long as we were told to wait.
            BrokerRefused: it does not let us read.
        """
        self.passed = 0
        positions = {partition: stretch.first[partition] for partition in stretch.end}
        patience = _Patience(self._link)
        assigned: set[TopicPartition] = set()
        while not stopped():
            left = {one: position for one, position in positions.items() if position < stretch.end[one]}
            if not left:
                return
            if left.keys() != assigned:
                assigned = set(left)
                self._go_to(left)
            records = await self._fetched()
            moved = await self._moved(left, patience)
            positions |= moved
            self.passed += sum(min(moved[one], stretch.end[one]) - left[one] for one in moved)
            if moved == left:
                patience.nothing_came()
                continue
            patience.something_came()
            within = [one for one in records if one.offset < stretch.end[TopicPartition(one.topic, one.partition)]]
            if within:
                yield within
                patience.something_came()  # however long our caller took

    async def _connected(self) -> Any:
        consumer = AIOKafkaConsumer(
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # of what retention has deleted under us, the nearest that is left
            isolation_level="read_committed",
            fetch_max_bytes=_FETCH_BYTES,
            **self._link.broker.arguments(),
        )
        try:
            await consumer.start()
        except BaseException:
            await consumer.stop()
            raise
        return consumer

    async def _bounds(self, since: timedelta | None) -> Stretch:
        end = dict(await self._consumer.end_offsets(self._partitions))
        first = dict(await self._consumer.beginning_offsets(self._partitions))
        if since is not None:
            since_ms = int((datetime.now(UTC) - since).timestamp() * 1000)
            found = await self._consumer.offsets_for_times(dict.fromkeys(self._partitions, since_ms))
            # A partition with nothing so young has no such offset.
            first = {one: found[one].offset if found.get(one) else end[one] for one in self._partitions}
        return Stretch(first=first, end=end)

    def _go_to(self, positions: Mapping[TopicPartition, int]) -> None:
        self._consumer.assign(list(positions))
        for partition, offset in positions.items():
            self._consumer.seek(partition, offset)

    async def _fetched(self) -> list[Any]:
        """The next records: those of a partition in their order, and the oldest first as far as that allows."""
        try:
            fetched = await self._consumer.getmany(timeout_ms=_FETCH_MS, max_records=_RECORDS)
        except KafkaError as error:
            raise BrokerRefused(f"{self._link.broker.bootstrap_servers}: {explained(error)}") from error
        return list(heapq.merge(*fetched.values(), key=lambda one: one.timestamp))

    async def _moved(self, positions: Mapping[TopicPartition, int], patience: "_Patience") -> dict[TopicPartition, int]:
        try:
            # Where retention has deleted what we were to read, the broker is asked for a new position first.
            async with asyncio.timeout(patience.left_seconds):
                return {one: await self._consumer.position(one) for one in positions}
        except TimeoutError:
            return dict(positions)


class _Patience:
    """Says once that the broker is silent, and ends the waiting when it stays so."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()
        self._told = False

    @property
    def left_seconds(self) -> float:
        return self._since + self._link.patience_seconds - self._loop.time()

    def something_came(self) -> None:
        self._since = self._loop.time()
        self._told = False

    def nothing_came(self) -> None:
        link = self._link
        servers = link.broker.bootstrap_servers
        why = f" ({explained(link.client_log.last)})" if link.client_log.last else ""
        if self.left_seconds <= 0:
            raise BrokerAway(f"nothing from {servers} for {link.patience_seconds:g} s{why}")
        if not self._told and self._loop.time() - self._since > _NOTICE_SECONDS:
            self._told = True
            link.say(f"nothing from {servers}{why}: waiting for up to {link.patience_seconds:g} s")

"""A topic read once, to the end that it has when we begin: committed records only, and without a consumer group."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from producer.connection import REQUEST_TIMEOUT_MS, Broker, ClientLog, Say, explained, patiently
from producer.faults import BrokerAway, BrokerRefused
from producer.topics import partitions_of_topics

_FETCH_MS = 100
_EMPTY_ANSWERS = 5
_NOTICE_SECONDS = 3.0
_LEAST_PATIENCE_SECONDS = 5.0
"""However short the wait for a connection, an answer gets as long as this."""
_POSITION_SECONDS = 1.0
_STOP_SECONDS = 5.0

Offsets = Mapping[TopicPartition, int]


@asynccontextmanager
async def scanning(
    topic: str, *, broker: Broker, client_log: ClientLog, wait_seconds: float, say: Say
) -> AsyncIterator["Scan"]:
    """Connect, and settle on the end to read to; disconnect with the block.

    Raises:
        BrokerAway: no broker was there in `wait_seconds`.
        BrokerRefused: it will not serve us.
    """
    consumer, first, ends = await patiently(
        lambda: asyncio.wait_for(_opened(topic, broker), 2 * REQUEST_TIMEOUT_MS / 1000),
        broker=broker,
        client_log=client_log,
        wait_seconds=wait_seconds,
        say=say,
    )
    patience_seconds = max(wait_seconds, _LEAST_PATIENCE_SECONDS)
    where = f"{topic} on {broker.bootstrap_servers}"
    try:
        yield Scan(consumer=consumer, first=first, ends=ends, where=where, patience_seconds=patience_seconds, say=say)
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(consumer.stop(), _STOP_SECONDS)


async def _opened(topic: str, broker: Broker) -> tuple[AIOKafkaConsumer, Offsets, Offsets]:
    """A consumer at the beginning of the topic, and the offsets of beginning and end; none where there is no topic."""
    consumer = AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # of what retention has deleted under us, the nearest that is left
        isolation_level="read_committed",
        fetch_max_wait_ms=_FETCH_MS,
        **broker.arguments(),
    )
    try:
        await consumer.start()
        partitions = [TopicPartition(topic, one) for one in (await partitions_of_topics(broker)).get(topic, ())]
        if not partitions:
            return consumer, {}, {}
        first = dict(await consumer.beginning_offsets(partitions))
        ends = dict(await consumer.end_offsets(partitions))
        consumer.assign(partitions)
        for partition, offset in first.items():
            consumer.seek(partition, offset)
    except BaseException:
        await consumer.stop()
        raise
    return consumer, first, ends


class Scan:
    """An asynchronous iterator over the records, to be gone through once; of each partition, they come in order.

    An end is an offset, and what is before it need not be a record that we get to see: it may be the mark that ends a
    transaction, belong to one that is open or was aborted, or have been removed by compaction. So a partition is at its
    end, too, once the broker has answered several times in a row that it has nothing.
    """

    def __init__(
        self,
        *,
        consumer: AIOKafkaConsumer,
        first: Offsets,
        ends: Offsets,
        where: str,
        patience_seconds: float,
        say: Say,
    ) -> None:
        self.is_there = bool(ends)
        self._consumer = consumer
        self._first = first
        self._ends = ends
        self._where = where
        self._patience_seconds = patience_seconds
        self._say = say
        self._positions: dict[TopicPartition, int] = dict(first)
        self._open = {partition for partition, end in ends.items() if first[partition] < end}
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._is_told = False
        self._answered_at: dict[TopicPartition, int] = {}
        self._empty_answers: Counter[TopicPartition] = Counter()

    @property
    def total(self) -> int:
        """How many offsets there are to read; there are as many records at most."""
        return sum(end - self._first[partition] for partition, end in self._ends.items())

    @property
    def done(self) -> int:
        """How many of them have been read."""
        return sum(min(self._positions[one], end) - self._first[one] for one, end in self._ends.items())

    async def __aiter__(self) -> AsyncIterator[Any]:
        """The records as aiokafka has them.

        Raises:
            BrokerAway: the broker went away, and was waited for in vain.
            BrokerRefused: it does not let us read.
        """
        while self._open:
            try:
                fetched = await self._consumer.getmany(timeout_ms=_FETCH_MS)
            except KafkaError as error:
                raise BrokerRefused(f"{self._where} cannot be read: {explained(error)}") from error
            for partition, records in fetched.items():
                for record in records:
                    if record.offset < self._ends[partition]:
                        yield record
            await self._take_stock()

    async def _take_stock(self) -> None:
        has_moved = False
        for partition in tuple(self._open):
            position = await self._position(partition)
            if position != self._positions[partition]:
                has_moved = True
                self._positions[partition] = position
            if position >= self._ends[partition]:
                self._end(partition)
        if has_moved:
            # An answer has room for so many bytes. While one partition fills it, the others' emptiness says nothing.
            self._empty_answers.clear()
            self._heard()
        else:
            self._note_silence()

    async def _position(self, partition: TopicPartition) -> int:
        try:
            # Not `wait_for`, which before Python 3.12 may swallow that we are cancelled.
            async with asyncio.timeout(_POSITION_SECONDS):
                position: int = await self._consumer.position(partition)
        except TimeoutError:
            # The record there is no more, and which is the first one now is still being asked.
            return self._positions[partition]
        return position

    def _note_silence(self) -> None:
        for partition in tuple(self._open):
            answered_at = self._consumer.last_poll_timestamp(partition)
            if answered_at is not None and answered_at != self._answered_at.get(partition):
                self._answered_at[partition] = answered_at
                self._heard()
                self._empty_answers[partition] += 1
                if self._empty_answers[partition] == _EMPTY_ANSWERS:
                    self._end(partition)
        quiet_seconds = self._loop.time() - self._heard_at
        if quiet_seconds > self._patience_seconds:
            raise BrokerAway(f"{self._where}: no answer for {self._patience_seconds:g} s")
        if quiet_seconds > _NOTICE_SECONDS and not self._is_told:
            self._is_told = True
            self._say(
                f"{self._where}: no answer for {quiet_seconds:.0f} s, waiting for up to {self._patience_seconds:g} s"
            )

    def _heard(self) -> None:
        self._heard_at = self._loop.time()
        self._is_told = False

    def _end(self, partition: TopicPartition) -> None:
        self._open.discard(partition)
        self._consumer.pause(partition)

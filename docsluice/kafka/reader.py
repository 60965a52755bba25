"""Reads topics without a consumer group, so that no offsets move and no group is rebalanced."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from docsluice.errors import BrokerRefused
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.client_log import cause_in_words
from docsluice.kafka.clients import connected, left
from docsluice.kafka.topic_reading import Offsets, next_records, present_range, read_only_consumer
from docsluice.kafka.topics import partitions_of_topics
from docsluice.text.ages import ago, timestamp_ms

_LOOK_SOON_SECONDS = 2.0
_LOOK_SECONDS = 30.0
_REST_SECONDS = 0.2
_RECORDS = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where to begin: at the beginning, at an age, or (neither) now."""

    from_beginning: bool = False
    since: timedelta | None = None

    def __str__(self) -> str:
        if self.from_beginning:
            return "from the beginning"
        return "from now on" if self.since is None else f"from {ago(self.since)}"


class Reader:
    """Every committed record of some topics, from `start` on.

    A missing topic is looked for repeatedly, and read from its beginning once it exists. So is a partition that is
    added later. A broker that goes away is waited for, and its absence and return are reported.
    """

    def __init__(self, *, session: BrokerSession, topics: Sequence[str], start: Start) -> None:
        self._session = session
        self._topics = tuple(dict.fromkeys(topics))
        self._start = start
        self._loop = asyncio.get_running_loop()
        self._consumer: AIOKafkaConsumer | None = None
        self._positions: dict[TopicPartition, int] = {}
        self._look: asyncio.Task[None] | None = None
        self._looked_at = 0.0
        self._is_away = False
        self._failed_at = 0.0

    async def open(self) -> None:
        """Connect, and find where to begin.

        Raises:
            BrokerAway: no broker was there within the session's wait.
            BrokerRefused: it will not serve us.
        """
        await self._session.with_retries(self._connect)
        self._session.client_log.forget()
        self._looked_at = self._loop.time()
        if self._missing():
            self._session.say(f"not there yet, and looked for again: {', '.join(self._missing())}")

    async def fetch(self, *, timeout_ms: int) -> list[Any]:
        """The next records, oldest first. Empty if none came in time. Waits for a broker that is away.

        Raises:
            BrokerRefused: it does not let us read.
        """
        self._note_failures()
        self._look_again()
        if self._consumer is None or not self._positions:
            await asyncio.sleep(timeout_ms / 1000)
            return []
        try:
            records = await next_records(self._consumer, timeout_ms=timeout_ms, most_records=_RECORDS)
        except KafkaError as error:
            raise BrokerRefused(f"{self._session.broker.bootstrap_servers}: {cause_in_words(error)}") from error
        for record in records:
            self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
        if not records:
            await self._rest()
        return records

    async def _rest(self) -> None:
        """Pause polling: a broker that answers an empty fetch at once would be polled in a spin."""
        if self._consumer is not None:
            self._consumer.pause(*self._positions)
            await asyncio.sleep(_REST_SECONDS)
            if self._consumer is not None:
                self._consumer.resume(*self._positions)

    @property
    def positions(self) -> Offsets:
        """The offset of the next record to show, of each partition."""
        return dict(self._positions)

    async def commit(self, finished: Mapping[tuple[str, int], int]) -> None:
        """Do nothing: there is no group to remember anything for."""

    async def close(self) -> None:
        """Disconnect."""
        look, self._look = self._look, None
        if look is not None:
            look.cancel()
            await asyncio.wait([look])
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await left(consumer)

    async def _connect(self) -> None:
        consumer = await connected(read_only_consumer(self._session.broker))
        try:
            await self._take_up(consumer, self._start)
        except BaseException:
            await left(consumer)
            raise
        self._consumer = consumer

    def _missing(self) -> list[str]:
        there = {partition.topic for partition in self._positions}
        return [topic for topic in self._topics if topic not in there]

    def _look_again(self) -> None:
        """Look for new topics when it is time, beside the reading: a broker may take long to answer."""
        if self._look is not None:
            if not self._look.done():
                return
            self._look.result()
            self._look = None
        pause_seconds = _LOOK_SOON_SECONDS if self._missing() or self._is_away else _LOOK_SECONDS
        if self._consumer is not None and self._loop.time() - self._looked_at >= pause_seconds:
            self._looked_at = self._loop.time()
            self._look = asyncio.create_task(self._look_around(self._consumer), name="look-for-partitions")

    async def _look_around(self, consumer: AIOKafkaConsumer) -> None:
        # While the broker is away there is nothing to find. The next look is soon enough.
        with suppress(KafkaError, OSError):
            # Everything in a partition that is newer than our start is new.
            await self._take_up(consumer, Start(from_beginning=True))
            # One broker may answer us while the client still tries another.
            if self._is_away and self._loop.time() - self._failed_at >= _LOOK_SOON_SECONDS:
                self._is_away = False
                self._session.say(f"the broker at {self._session.broker.bootstrap_servers} is back")

    async def _take_up(self, consumer: AIOKafkaConsumer, start: Start) -> None:
        """Read new partitions beside the present ones."""
        topics = await partitions_of_topics(self._session.broker)
        there = [TopicPartition(topic, partition) for topic in self._topics for partition in topics.get(topic, ())]
        fresh = [partition for partition in there if partition not in self._positions]
        if not fresh:
            return
        first = await first_offsets(consumer, fresh, start)
        # No other task may run between these: an assignment replaces the one before it, with its positions.
        self._positions.update(first)
        consumer.assign(list(self._positions))
        for partition, offset in self._positions.items():
            consumer.seek(partition, offset)

    def _note_failures(self) -> None:
        """Report once that the broker has gone. The client keeps trying by itself."""
        failure = self._session.client_log.last
        if failure is None:
            return
        self._session.client_log.forget()
        self._failed_at = self._loop.time()
        if not self._is_away:
            self._is_away = True
            servers = self._session.broker.bootstrap_servers
            self._session.say(f"lost the broker at {servers} ({cause_in_words(failure)}): waiting for it")


async def first_offsets(consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], start: Start) -> Offsets:
    """Where to begin in each partition."""
    since_ms = None if start.since is None else timestamp_ms(start.since, now=datetime.now(UTC))
    there = await present_range(consumer, partitions, since_ms=since_ms)
    return there.end if since_ms is None and not start.from_beginning else there.first

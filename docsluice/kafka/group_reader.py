"""Reads a topic as a member of a consumer group, one record at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)

from docsluice.errors import BrokerRefused
from docsluice.kafka import broker_errors
from docsluice.kafka.batch_reading import read_past_flaws
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.client_log import cause_in_words
from docsluice.kafka.clients import connected, left
from docsluice.kafka.reader import Start, first_offsets
from docsluice.kafka.topic_reading import next_records

_LOOK_SECONDS = 2.0
_REST_SECONDS = 0.2
_MOVED = (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    RebalanceInProgressError,
    UnknownMemberIdError,
)
"""Errors of a commit whose partitions have moved, or are about to."""


class GroupReader:
    """The committed records of one topic, shared with the group's other members.

    It hands out one record at a time, and commits what it is told. So a partition that moves takes no record along that
    was handed out and finished. A record in hand is read again by the next owner.
    """

    def __init__(self, *, session: BrokerSession, topic: str, start: Start, group_id: str) -> None:
        self._session = session
        self._topic = topic
        self._start = start
        self._group_id = group_id
        self._consumer: Any = None

    async def open(self) -> None:
        """Connect and join the group. Waits for a topic that is missing.

        Raises:
            BrokerAway: no broker was there within the session's wait.
            BrokerRefused: it will not serve us.
        """
        is_said = False
        while self._topic not in await self._session.topics():
            if not is_said:
                self._session.say(f"not there yet, and looked for again: {self._topic}")
                is_said = True
            await asyncio.sleep(_LOOK_SECONDS)
        self._consumer = await self._session.with_retries(self._connected)
        self._session.client_log.forget()

    async def fetch(self, *, timeout_ms: int) -> list[Any]:
        """The next record. Empty if none came in time.

        Raises:
            BrokerRefused: the broker does not let us read.
        """
        try:
            records = await next_records(self._consumer, timeout_ms=timeout_ms, most_records=1)
        except KafkaError as error:
            raise self._refusal(error) from None
        if not records:
            await self._rest()
        return records

    async def _rest(self) -> None:
        """Pause polling: a broker that answers an empty fetch at once would be polled in a spin."""
        paused = self._consumer.assignment()
        self._consumer.pause(*paused)
        await asyncio.sleep(_REST_SECONDS)
        self._consumer.resume(*(paused & self._consumer.assignment()))

    async def commit(self, finished: Mapping[tuple[str, int], int]) -> None:
        """Commit the next offsets to be read, of partitions that are still ours.

        Raises:
            BrokerRefused: the broker does not let us commit.
        """
        ours = self._consumer.assignment()
        named = {TopicPartition(*place): offset for place, offset in finished.items()}
        offsets = {partition: offset for partition, offset in named.items() if partition in ours}
        if not offsets:
            return
        try:
            await self._consumer.commit(offsets)
        except _MOVED:
            self._session.say(f"group {self._group_id}: a partition has moved, and its last record may be read again")
        except KafkaError as error:
            if not broker_errors.is_passing(error):
                raise self._refusal(error) from None

    async def close(self) -> None:
        """Leave the group."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await left(consumer)

    async def _connected(self) -> Any:
        read_past_flaws()
        consumer = AIOKafkaConsumer(
            group_id=self._group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # after retention has deleted records, the nearest that is left
            isolation_level="read_committed",
            **self._session.broker.client_arguments(),
        )
        consumer.subscribe([self._topic], listener=_Begin(consumer, self._start))
        return await connected(consumer)

    def _refusal(self, error: KafkaError) -> BrokerRefused:
        return BrokerRefused(f"{self._session.broker.bootstrap_servers}: {cause_in_words(error)}")


class _Begin(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Sets partitions that the group has never committed to the start, and commits that.

    Otherwise a record that comes while no member is there would be passed over by the next one.
    """

    def __init__(self, consumer: Any, start: Start) -> None:
        self._consumer = consumer
        self._start = start

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Nothing: what is finished is committed already."""

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Begin where the group has left off, or else at the start."""
        fresh = [one for one in assigned if await self._consumer.committed(one) is None]
        if not fresh:
            return
        first = await first_offsets(self._consumer, fresh, self._start)
        for partition, offset in first.items():
            self._consumer.seek(partition, offset)
        await self._consumer.commit(dict(first))

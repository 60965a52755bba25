"""Reads a topic to its present end, with retries, and reports a broker that is silent."""

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from time import monotonic
from types import TracebackType
from typing import Any, Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from docsluice.errors import BrokerAway, BrokerRefused
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.client_log import cause_in_words
from docsluice.kafka.clients import connected, left
from docsluice.kafka.topic_reading import (
    OffsetRange,
    Offsets,
    RangeReading,
    present_range,
    range_consumer,
    read_only_consumer,
)
from docsluice.text.ages import timestamp_ms
from docsluice.text.printable import counted

_NOTICE_SECONDS = 3.0


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
        await left(self._consumer)

    async def offset_range(self, *, since: timedelta | None = None) -> OffsetRange:
        """The topic from its beginning, or from an age, to the present end of what is committed.

        Records that cannot be read yet are reported. Otherwise they would seem not to exist.
        """
        there = await self._session.with_retries(self._all_ends)
        offset_range = await self._session.with_retries(lambda: self._present(since))
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

        Raises:
            BrokerAway: no answer came within the wait.
            BrokerRefused: it does not let us read.
        """
        self.passed = 0
        reading, silence = RangeReading(self._consumer, offset_range), _Silence(self._session, self._topic)
        while not (reading.is_over or stopped()):
            try:
                records = await reading.next()
            except KafkaError as error:
                where = f"{self._topic} on {self._session.broker.bootstrap_servers}"
                raise BrokerRefused(f"{where} cannot be read: {cause_in_words(error)}") from error
            self.passed = reading.passed
            if reading.was_answered:
                silence.broken()
            else:
                silence.goes_on()
            if records:
                yield records
                silence.broken()  # however long our caller took

    async def _connected(self) -> Any:
        return await connected(range_consumer(self._session.broker))

    async def _all_ends(self) -> Offsets:
        """Where the topic ends for readers of uncommitted records."""
        consumer = await connected(read_only_consumer(self._session.broker, isolation_level="read_uncommitted"))
        try:
            return dict(await consumer.end_offsets(self._partitions)) if self._partitions else {}
        finally:
            await left(consumer)

    async def _present(self, since: timedelta | None) -> OffsetRange:
        since_ms = None if since is None else timestamp_ms(since, now=datetime.now(UTC))
        return await present_range(self._consumer, self._partitions, since_ms=since_ms)


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
        if quiet_seconds > session.timeout_seconds:
            raise BrokerAway(f"no answer {self._whose} for {session.timeout_seconds:g} s{why}")
        if quiet_seconds > _NOTICE_SECONDS and not self._told:
            self._told = True
            session.say(f"no answer {self._whose}{why}: waiting for up to {session.timeout_seconds:g} s")

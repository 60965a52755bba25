"""The topic of marks and its writer: records and the marks of their dead letters go in one transaction.

The transactional id is that of the dead-letter topic. So a new writer makes the broker end what another had begun, and
refuse it from then on. Only then are the marks read. Whatever is killed, a record is redriven and marked, or neither.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiokafka.errors import KafkaError, ProducerFenced

from docsluice.kafka.broker_errors import TOO_LARGE
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.clients import connected, stopped
from docsluice.kafka.passing import raise_unless_passing, unretrieved
from docsluice.kafka.topic_reading import OffsetRange
from docsluice.kafka.topic_scan import Scan
from docsluice.kafka.topics import create
from docsluice.kafka.transactions import MENDED, ProducerRecord, transact, transactional_producer
from docsluice_producer.dead_letters.marks import Handled, Mark, Marks, Place, mark_of
from docsluice_producer.errors import BrokerAway, BrokerRefused, TakenOver

_SUFFIX = ".handled"
_CONFIGS = {"cleanup.policy": "compact"}
_TRANSACTION_SECONDS_BEYOND_TIMEOUT = 30.0
"""The broker must not give up a transaction while we still wait. It would look as if another writer had taken over."""
_LONGEST_TRANSACTION_SECONDS = 900.0
_USUAL, _SMALLEST = "gzip", "zstd"
"""The service's codecs for dead letters: what fitted with one fits with it again."""
_TRIES = 5
_PAUSE_SECONDS = 0.5
_NOTICE_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A mark, and the record that is written with it."""

    mark: Mark
    outgoing: ProducerRecord | None = None


def topic_of_marks(dead_letter_topic: str) -> str:
    """The topic of marks that belongs to a dead-letter topic."""
    return dead_letter_topic + _SUFFIX


async def marks_as_they_are(session: BrokerSession, dead_letter_topic: str) -> Marks:
    """The marks, for a command that only reads. None without a topic of marks."""
    reading = _Reading(session, topic_of_marks(dead_letter_topic))
    if reading.topic in await session.topics():
        await reading.catch_up()
    return reading.marks


class Journal:
    """Writes the marks of a dead-letter topic, alone. Creates the topic of marks if it is missing.

    `written` counts entries that are certainly committed.
    """

    def __init__(self, *, session: BrokerSession, dead_letter_topic: str) -> None:
        self.written = 0
        self._session = session
        self._dead_letter_topic = dead_letter_topic
        self._reading = _Reading(session, topic_of_marks(dead_letter_topic))
        self._producer: Any = None
        self._codec = _USUAL

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_exception_handler(unretrieved)
        topic = self._reading.topic
        if topic not in await self._session.topics():
            await self._session.with_retries(
                lambda: create(self._session.broker, topic, partitions=1, configs=_CONFIGS)
            )
        await self._renew()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    def handled(self, place: Place, timestamp_ms: int) -> Handled | None:
        """See `Marks.handled`. This journal's own entries are included only after a failure."""
        return self._reading.marks.handled(place, timestamp_ms)

    async def write(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write the entries, all of them in one transaction. Return those that the topic does not take.

        Raises:
            TakenOver: another writer has begun. All of these entries are written, or none, and the marks tell.
            BrokerAway: no answer within the wait. The same holds.
            BrokerRefused: it refuses them for another reason than their content.
        """
        for _ in range(_TRIES):
            # After a renewal the marks tell whether it went through and only the answer was lost.
            left = [entry for entry in entries if not self._is_marked(entry)]
            try:
                if left:
                    await self._transact(left)
            except TOO_LARGE:
                await self._renew()
                return await self._write_apart(left)
            except ProducerFenced as error:
                raise self._taken_over() from error
            except KafkaError as error:
                if type(error) is not KafkaError:  # aiokafka raises a plain one for its own bugs
                    raise_unless_passing(error, mended=MENDED)
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._renew()
            else:
                self.written += len(entries)
                return []
        raise BrokerRefused(f"the broker has refused a transaction {_TRIES} times")

    async def _write_apart(self, entries: Sequence[Entry]) -> list[Entry]:
        """Halve a batch until the record that is too large stands alone: a batch is refused as a whole."""
        if len(entries) == 1:
            return await self._write_smaller(entries)
        half = len(entries) // 2
        return [*await self.write(entries[:half]), *await self.write(entries[half:])]

    async def _write_smaller(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write with zstd: a dead letter that was written with it may fit only that way."""
        if self._codec == _SMALLEST:
            return list(entries)
        self._codec = _SMALLEST
        try:
            await self._renew()
            return await self.write(entries)
        except BrokerRefused:
            return list(entries)
        finally:
            self._codec = _USUAL
            await self._renew()

    async def _transact(self, entries: Sequence[Entry]) -> None:
        loop, seconds = asyncio.get_running_loop(), self._session.timeout_seconds
        servers = self._session.broker.bootstrap_servers
        notice = loop.call_later(
            _NOTICE_SECONDS, self._session.say, f"no answer from {servers}: waiting for up to {seconds:g} s"
        )
        try:
            async with asyncio.timeout(seconds):
                await transact(self._producer, self._records_of(entries))
        except TimeoutError as error:
            raise BrokerAway(f"no answer from {servers} for {seconds:g} s") from error
        finally:
            notice.cancel()

    def _records_of(self, entries: Sequence[Entry]) -> Iterator[ProducerRecord]:
        now = datetime.now(UTC)
        for entry in entries:
            if entry.outgoing is not None:
                yield entry.outgoing
            mark = entry.mark
            yield ProducerRecord(
                topic=self._reading.topic, partition=0, key=mark.key, value=mark.value(at=now), headers=()
            )

    def _is_marked(self, entry: Entry) -> bool:
        return self.handled(entry.mark.place, entry.mark.timestamp_ms) is not None

    async def _renew(self) -> None:
        """Start a new producer, which ends whatever was begun under its id. Then read the marks."""
        await self._stop()
        try:
            self._producer = await self._session.with_retries(self._started)
        except BrokerAway as away:
            raise BrokerAway(
                f"{away}; or no broker of the cluster coordinates transactions: are there as many brokers as"
                " transaction.state.log.replication.factor says?"
            ) from away
        await self._reading.catch_up()

    async def _started(self) -> Any:
        seconds = min(self._session.timeout_seconds + _TRANSACTION_SECONDS_BEYOND_TIMEOUT, _LONGEST_TRANSACTION_SECONDS)
        return await connected(
            transactional_producer(
                self._session.broker,
                transactional_id=f"docsluice.redrive.{self._dead_letter_topic}",
                timeout_seconds=seconds,
                codec=self._codec,
            )
        )

    async def _stop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await stopped(producer)

    def _taken_over(self) -> TakenOver:
        return TakenOver(
            f"another redrive or drop of {self._dead_letter_topic} has begun, so this one ends:"
            " what it has done is marked, and what neither has done stays open"
        )


class _Reading:
    """The marks as far as they have been read."""

    def __init__(self, session: BrokerSession, topic: str) -> None:
        self.topic = topic
        self.marks = Marks()
        self._session = session
        self._read_to: OffsetRange | None = None

    async def catch_up(self) -> None:
        """Read on to the end of what is committed now."""
        async with Scan(session=self._session, topic=self.topic, partitions=[0]) as scan:
            there = await scan.offset_range()
            first = there.first if self._read_to is None else self._read_to.end
            async for records in scan.pieces(OffsetRange(first=first, end=there.end)):
                for record in records:
                    if (mark := mark_of(record)) is not None:
                        self.marks.add(mark, at_ms=record.timestamp)
            self._read_to = there

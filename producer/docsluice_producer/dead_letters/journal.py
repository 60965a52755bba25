"""The topic of marks, and the one who writes it: records and the marks of their dead letters in one transaction.

The transactional id is that of the dead-letter topic. So who begins makes the broker end what another had begun and
refuse it from then on. Only then are the marks read. Whatever is
killed when, a record is redriven and marked, or neither.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    IllegalOperation,
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    ProducerFenced,
    RecordListTooLargeError,
    UnknownProducerId,
)

from docsluice.kafka.client_log import cause_in_words
from docsluice.kafka.stopping import stopped
from docsluice.messages import Headers
from docsluice_producer.dead_letters.marks import Handled, Mark, Marks, Place, mark_of
from docsluice_producer.errors import BrokerAway, BrokerRefused, TakenOver
from docsluice_producer.kafka.broker_session import BrokerSession
from docsluice_producer.kafka.topic_scan import OffsetRange, Scan
from docsluice_producer.kafka.topics import create

_SUFFIX = ".handled"
_CONFIGS = {"cleanup.policy": "compact"}
_MAX_REQUEST_BYTES = 2**31 - 1
"""A bound on bytes not compressed yet: the topic's `max.message.bytes` is to decide, not the client."""
_TRANSACTION_SECONDS_BEYOND_PATIENCE = 30.0
"""The broker must not give a transaction up while we still wait: it would look as if another had taken our place."""
_LONGEST_TRANSACTION_SECONDS = 900.0
_USUAL, _SMALLEST = "gzip", "zstd"
"""As the service writes dead letters: what fitted so fits so again."""
_TRIES = 5
_PAUSE_SECONDS = 0.5
_NOTICE_SECONDS = 3.0
_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)
_MENDED = (
    InvalidProducerEpoch,
    InvalidProducerIdMapping,
    InvalidTxnState,
    KafkaTimeoutError,
    OutOfOrderSequenceNumber,
    ProducerClosed,
    UnknownProducerId,
)
"""Said of a producer that is spent: a new one helps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRecord:
    """A record to be sent. `partition` None leaves it to the key."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A mark, and the record that goes with it."""

    mark: Mark
    outgoing: OutgoingRecord | None = None


def topic_of_marks(dead_letter_topic: str) -> str:
    """The topic of marks that belongs to a dead-letter topic."""
    return dead_letter_topic + _SUFFIX


async def marks_as_they_are(session: BrokerSession, dead_letter_topic: str) -> Marks:
    """The marks, for who only looks. None when there is no topic of them."""
    reading = _Reading(session, topic_of_marks(dead_letter_topic))
    if reading.topic in await session.topics():
        await reading.catch_up()
    return reading.marks


class Journal:
    """The marks of a dead-letter topic, which nobody else writes while we do. Makes the topic of marks if need be.

    `written` counts the entries that are known to be committed.
    """

    def __init__(self, *, session: BrokerSession, dead_letter_topic: str) -> None:
        self.written = 0
        self._session = session
        self._dead_letter_topic = dead_letter_topic
        self._reading = _Reading(session, topic_of_marks(dead_letter_topic))
        self._producer: Any = None
        self._codec = _USUAL

    async def __aenter__(self) -> Self:
        asyncio.get_running_loop().set_exception_handler(_unseen)
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
        """See `Marks.handled`. What this journal has written itself is in it only after something went wrong."""
        return self._reading.marks.handled(place, timestamp_ms)

    async def write(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write the entries, all of them in one transaction. Return those that the topic does not take.

        Raises:
            TakenOver: another has begun. Of these entries all are written, or none, and the marks tell.
            BrokerAway: no answer for as long as we were told to wait. The same holds.
            BrokerRefused: it will not take them, for a reason that is not theirs.
        """
        for _ in range(_TRIES):
            # After a renewal the marks tell whether it had gone through, and only the answer was lost.
            left = [entry for entry in entries if not self._is_marked(entry)]
            try:
                if left:
                    await self._transact(left)
            except _TOO_LARGE:
                await self._renew()
                return await self._write_apart(left)
            except ProducerFenced as error:
                raise self._taken_over() from error
            except KafkaError as error:
                _raise_unless_passing(error)
                await asyncio.sleep(_PAUSE_SECONDS)
                await self._renew()
            else:
                self.written += len(entries)
                return []
        raise BrokerRefused(f"the broker has refused a transaction {_TRIES} times")

    async def _write_apart(self, entries: Sequence[Entry]) -> list[Entry]:
        """A batch is refused as a whole: halve it until the one that is too large stands alone."""
        if len(entries) == 1:
            return await self._write_smaller(entries)
        half = len(entries) // 2
        return [*await self.write(entries[:half]), *await self.write(entries[half:])]

    async def _write_smaller(self, entries: Sequence[Entry]) -> list[Entry]:
        """What was written with zstd may fit so only. A broker that does not take zstd takes no such record."""
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
        loop, seconds = asyncio.get_running_loop(), self._session.patience_seconds
        servers = self._session.broker.bootstrap_servers
        notice = loop.call_later(
            _NOTICE_SECONDS, self._session.say, f"no answer from {servers}: waiting for up to {seconds:g} s"
        )
        try:
            async with asyncio.timeout(seconds):
                await self._producer.begin_transaction()
                await self._send(entries)
                await self._producer.commit_transaction()
        except TimeoutError as error:
            raise BrokerAway(f"no answer from {servers} for {seconds:g} s") from error
        finally:
            notice.cancel()

    async def _send(self, entries: Sequence[Entry]) -> None:
        now = datetime.now(UTC)
        sent: list[asyncio.Future[Any]] = []
        try:
            for entry in entries:
                if entry.outgoing is not None:
                    sent.append(await self._on_its_way(entry.outgoing))
                sent.append(await self._on_its_way(self._of_mark(entry.mark, now)))
        except IllegalOperation:
            if not sent:
                raise
            # The transaction has failed already, and what is on its way tells of what.
        await asyncio.wait(sent)
        errors = [error for one in sent if (error := one.exception()) is not None]
        if errors:
            raise next((error for error in errors if isinstance(error, ProducerFenced)), errors[0])

    def _of_mark(self, mark: Mark, now: datetime) -> OutgoingRecord:
        return OutgoingRecord(
            topic=self._reading.topic, partition=0, key=mark.key, value=mark.value(at=now), headers=()
        )

    async def _on_its_way(self, out: OutgoingRecord) -> "asyncio.Future[Any]":
        sent: asyncio.Future[Any] = await self._producer.send(
            out.topic, value=out.value, key=out.key, partition=out.partition, headers=list(out.headers)
        )
        sent.add_done_callback(_seen)  # though an error of a later one may be all that is told of it
        return sent

    def _is_marked(self, entry: Entry) -> bool:
        return self.handled(entry.mark.place, entry.mark.timestamp_ms) is not None

    async def _renew(self) -> None:
        """Begin with a new producer, which ends whatever was begun under its name, and read the marks after that."""
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
        seconds = min(
            self._session.patience_seconds + _TRANSACTION_SECONDS_BEYOND_PATIENCE, _LONGEST_TRANSACTION_SECONDS
        )
        producer = AIOKafkaProducer(
            transactional_id=f"docsluice.redrive.{self._dead_letter_topic}",
            transaction_timeout_ms=int(seconds * 1000),
            acks="all",
            max_request_size=_MAX_REQUEST_BYTES,
            compression_type=self._codec,
            **self._session.broker.client_arguments(),
        )
        try:
            await producer.start()
        except BaseException:
            await stopped(producer)
            raise
        return producer

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


def _unseen(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Let asyncio complain of errors that nobody has looked at, but not of aiokafka's.

    Of a transaction that fails it leaves several futures, out of our reach, that all tell the error that we were told.
    """
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)


def _seen(sent: "asyncio.Future[Any]") -> None:
    """Look at how it ended, lest asyncio complains that nobody has."""
    if not sent.cancelled():
        sent.exception()


def _raise_unless_passing(error: KafkaError) -> None:
    """Whether it may pass is the error's own word, or that of its kind. aiokafka has a plain one for its own bugs."""
    if isinstance(error, _MENDED) or getattr(error, "retriable", False) or type(error) is KafkaError:
        return
    raise BrokerRefused(f"the broker refuses: {cause_in_words(error)}") from error

"""Publishing exactly once: outcomes and the offsets that they end, in one transaction of each partition.

aiokafka sends only the group's id with transactional offsets, not its generation. So a producer shared by all
partitions would not fence a member that was thought dead. Here each assigned partition has a producer of its own, with
the partition's transactional id. The next owner's start makes the broker refuse the last one.

    finished outcomes ─► begin ─► outcomes ─► offsets and map ─► commit ─► close ─► begin …

A transaction is short: it holds what has finished since the last one. If its end is unknown, starting a new producer
makes the broker decide, and the committed offset then tells how.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError, ProducerFenced

from docsluice.kafka import broker_errors
from docsluice.kafka.broker import Broker
from docsluice.kafka.clients import stopped
from docsluice.kafka.transactions import MENDED, transact, transactional_producer
from docsluice_consumer.kafka import error_mapping
from docsluice_consumer.kafka.codecs import Codecs
from docsluice_consumer.kafka.commits import Membership
from docsluice_consumer.kafka.connection import committed_points, most_bytes_of, started
from docsluice_consumer.kafka.offsets import CommitPoint
from docsluice_consumer.kafka.partitions import PartitionState
from docsluice_consumer.kafka.records import Compression, OutgoingRecord, Record
from docsluice_consumer.kafka.slow_start import slow_start
from docsluice_consumer.kafka.topic_limits import TopicLimits
from docsluice_consumer.telemetry.logs import Throttle
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_TRANSACTION_SECONDS = 60.0
_FENCED_PAUSES = 12
"""Half seconds, two heartbeats in all. By then a member that was thought dead has heard of it."""
_PAUSE_SECONDS = 0.5
_NOTICE_SECONDS = 10.0


@dataclass(eq=False, slots=True, kw_only=True)
class _Finished:
    """An outcome that waits to be published, and the record that it ends."""

    outgoing: OutgoingRecord
    offset: int
    done: asyncio.Future[None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attempt:
    """A transaction whose end is not known yet. `since` is what was committed before it."""

    finished: Sequence[_Finished]
    point: CommitPoint | None
    since: CommitPoint | None

    def is_told_by(self, stored: CommitPoint | None) -> bool:
        """Whether the group's stored offset shows that it was committed. A map cut at its cap may not have changed."""
        return stored is not None and stored == self.point != self.since


@dataclass(eq=False, slots=True)
class _Writer:
    """One partition's producer, for one partition state."""

    epoch: int
    producer: Any
    codec: Compression = "gzip"
    """The producer's codec."""
    finished: list[_Finished] = field(default_factory=list)
    """Outcomes for the next round."""
    due: list[_Finished] = field(default_factory=list)
    """Outcomes of this round that are not committed yet."""
    unresolved: _Attempt | None = None
    one_by_one: bool = False
    """Set while a search goes on for the record that made a batch too large."""
    has_died: bool = False
    """Whether a producer has ended unexpectedly since the last committed transaction."""

    def is_mended_by_a_new_producer(self, error: KafkaError) -> bool:
        """Whether a new producer helps: an unnamed error may mean a forgotten producer id, but not twice in a row."""
        return isinstance(error, MENDED) or (type(error) is KafkaError and not self.has_died)

    @property
    def wished_codec(self) -> Compression:
        """The codec of what is due next. Outcomes that share a transaction have the same."""
        return next((one.outgoing.compression for one in self.due if not one.done.cancelled()), self.codec)

    def begin_round(self) -> None:
        """Take what has finished by now, after what an interrupted round may have left."""
        self.one_by_one = self.one_by_one and bool(self.due)
        self.due, self.finished = [*self.due, *self.finished], []

    @property
    def is_done(self) -> bool:
        """Whether everything of this round is committed or rejected."""
        return not self.due and self.unresolved is None


class ExactlyOnceSink:
    """Both the sink and the committer of `exactly_once`."""

    def __init__(self, *, broker: Broker, group_id: str, metrics: Metrics) -> None:
        self._broker = broker
        self._group_id = group_id
        self._metrics = metrics
        metrics.expect_commits(("ok", "failed"))
        self._writers: dict[TopicPartition, _Writer] = {}
        self._limits = TopicLimits(lambda topic: most_bytes_of(broker, topic))
        self._codecs = Codecs()
        self._complaints = Throttle(seconds=10.0)

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:
        """See `Sink.publish`. Returns when the transaction has been committed, with the record's offset in it."""
        await self._limits.check(outgoing)
        writer = self._writers.get(TopicPartition(ending.topic, ending.partition))
        if writer is None or writer.epoch != ending.epoch:
            raise asyncio.CancelledError("the partition is not ours any more, and the record someone else's")
        finished = _Finished(outgoing=outgoing, offset=ending.offset, done=asyncio.get_running_loop().create_future())
        writer.finished.append(finished)
        await finished.done

    async def close(self) -> None:
        """Disconnect. The next owner repeats what was not committed."""
        await asyncio.gather(*(self.release(partition) for partition in list(self._writers)))

    async def acquire(self, partition: TopicPartition, *, epoch: int) -> None:
        """See `Committer.acquire`. The broker ends what the last owner has begun, and refuses it from now on."""
        await self.release(partition)
        self._writers[partition] = _Writer(epoch, await self._started(partition, "gzip"))

    async def release(self, partition: TopicPartition) -> None:
        """See `Committer.release`."""
        writer = self._writers.pop(partition, None)
        if writer is None:
            return
        for finished in [*writer.finished, *writer.due, *(writer.unresolved.finished if writer.unresolved else ())]:
            finished.done.cancel()
        await stopped(writer.producer)

    async def commit(self, states: Sequence[PartitionState], membership: Membership) -> list[PartitionState]:
        """See `Committer.commit`. Each partition in which something has ended has one transaction, side by side."""
        ours = [state for state in states if self._writer(state) is not None]
        are_over = await asyncio.gather(*(self._commit(state, membership) for state in ours))
        return [state for state, is_over in zip(ours, are_over, strict=True) if is_over]

    def _writer(self, state: PartitionState) -> _Writer | None:
        writer = self._writers.get(state.partition)
        return writer if writer is not None and writer.epoch == state.epoch else None

    async def _commit(self, state: PartitionState, membership: Membership) -> bool:
        """Commit what has ended by now, with retries. Returns whether the partition state turned out to be over.

        What ends meanwhile waits for the next round. Otherwise a busy partition would never finish its round.
        """
        if (writer := self._writer(state)) is None:
            return False
        writer.begin_round()
        while self._writer(state) is writer:
            if writer.unresolved is not None:
                if not membership.owns(state.partition):
                    return False  # a new producer would fence the rightful owner. The next assignment will tell
                if not await self._resolve(state, writer):
                    return True
            if writer.codec != (codec := self._codecs.taken(writer.wished_codec)):
                if not membership.owns(state.partition):
                    return False
                await self._renew(state, writer, codec)
                continue
            attempt = _next_attempt(state, writer)
            if attempt is None:
                return False
            writer.unresolved = attempt
            state.attempted = attempt.point
            await self._try(state, writer, attempt, membership)
            if writer.is_done:
                return False
        return False

    async def _try(self, state: PartitionState, writer: _Writer, attempt: _Attempt, membership: Membership) -> None:
        try:
            await transact(
                writer.producer,
                [finished.outgoing for finished in attempt.finished],
                offsets={state.partition: attempt.point} if attempt.point is not None else None,
                group_id=self._group_id,
            )
        except ProducerFenced:
            log.warning("transaction.fenced", partition=state.partition.partition)
            await _until_the_group_has_spoken(state.partition, membership)
        except KafkaError as error:
            await self._failed(state, writer, attempt, error)
        else:
            self._settle(state, writer, attempt)

    async def _failed(self, state: PartitionState, writer: _Writer, attempt: _Attempt, error: KafkaError) -> None:
        """Decide what a transaction's error means. It is retried with the same outcomes."""
        self._metrics.commit_finished("failed")
        error = _with_its_cause(error, writer.producer)
        if isinstance(error, broker_errors.CodecRefused) and self._codecs.note_refused(writer.codec):
            return
        if isinstance(error, broker_errors.REFUSED):
            if len(attempt.finished) > 1:
                writer.one_by_one = True
            else:
                self._reject(state, writer, attempt, error)
            return
        fault = error_mapping.translate(error, doing="commit a transaction")
        if fault is not None and not writer.is_mended_by_a_new_producer(error):
            raise fault from error
        writer.has_died |= fault is not None and type(error) is KafkaError
        words = broker_errors.in_words(error)
        if (silenced := self._complaints.silenced(f"{state.partition} {words}")) is not None:
            log.warning("transaction.failed", partition=state.partition.partition, error=words, not_shown=silenced)
        await asyncio.sleep(_PAUSE_SECONDS)

    async def _renew(self, state: PartitionState, writer: _Writer, codec: Compression) -> None:
        """Replace the partition's producer by one with another codec: a producer compresses everything alike."""
        await stopped(writer.producer)
        writer.producer, writer.codec = await self._started(state.partition, codec), codec

    async def _resolve(self, state: PartitionState, writer: _Writer) -> bool:
        """Find out how a transaction ended. False if another member has had the partition since."""
        attempt = writer.unresolved
        assert attempt is not None, "there is something to resolve"  # noqa: S101
        await self._renew(state, writer, writer.codec)
        stored = (await committed_points(self._broker, self._group_id, [state.partition])).get(state.partition)
        if attempt.is_told_by(stored):  # check this first: a rebalance may have found it, and moved `committed` there
            self._settle(state, writer, attempt)
            return True
        if stored != state.committed:
            return False
        writer.unresolved = state.attempted = None
        writer.due[:0] = attempt.finished
        return True

    def _settle(self, state: PartitionState, writer: _Writer, attempt: _Attempt) -> None:
        """Note that the transaction has been committed."""
        self._metrics.commit_finished("ok")
        writer.unresolved, writer.has_died = None, False
        state.committed = attempt.point
        for finished in attempt.finished:
            state.ended(finished.offset)
            if not finished.done.done():
                finished.done.set_result(None)

    def _reject(self, state: PartitionState, writer: _Writer, attempt: _Attempt, error: KafkaError) -> None:
        # Its point counts the record as ended. If it is found stored, another member has ended it.
        state.attempted = None
        writer.unresolved = _Attempt(finished=(), point=attempt.since, since=attempt.since)
        for finished in attempt.finished:
            if isinstance(error, broker_errors.TOO_LARGE):
                self._limits.note_refused(finished.outgoing)
            if not finished.done.done():
                finished.done.set_exception(error_mapping.translate(error, doing="publish") or error)

    async def _started(self, partition: TopicPartition, codec: Compression) -> Any:
        """Start a producer that is the partition's only one from now on."""
        transactional_id = transactional_id_of(self._group_id, partition.topic, partition.partition)
        say = functools.partial(_say_waiting, transactional_id)
        async with slow_start(self._broker, after_seconds=_NOTICE_SECONDS, say=say):
            return await started(
                lambda: transactional_producer(
                    self._broker,
                    transactional_id=transactional_id,
                    timeout_seconds=_TRANSACTION_SECONDS,
                    codec=codec,
                ),
                broker=self._broker,
                doing=f"start the transactional producer of {partition.topic}/{partition.partition}",
            )


def transactional_id_of(group_id: str, topic: str, partition: int) -> str:
    """A partition's transactional id. A topic's name holds no slash, so no two partitions of any groups share one."""
    return f"{group_id}/{topic}/{partition}"


def _say_waiting(transactional_id: str) -> None:
    """Log that no broker coordinates transactions. aiokafka would retry silently, without end."""
    log.warning(
        "transaction.waiting",
        transactional_id=transactional_id,
        remedy="the cluster has not begun to coordinate transactions: are there as many brokers as"
        " transaction.state.log.replication.factor and min.isr say? DOCSLUICE_DELIVERY=at_least_once needs none",
    )


async def _until_the_group_has_spoken(partition: TopicPartition, membership: Membership) -> None:
    """Wait for the heartbeat to tell whether the partition has gone to another member."""
    for _ in range(_FENCED_PAUSES):
        if not membership.owns(partition):
            return
        await asyncio.sleep(_PAUSE_SECONDS)


def _with_its_cause(error: KafkaError, producer: Any) -> KafkaError:
    """The error that ended a producer's sender. Each record gets a copy, and a copy has no cause."""
    sender = producer._sender.sender_task  # noqa: SLF001 - nobody else has it
    is_a_copy = type(error) is KafkaError and error.__cause__ is None
    return (is_a_copy and sender and sender.done() and not sender.cancelled() and sender.exception()) or error


def _next_attempt(state: PartitionState, writer: _Writer) -> _Attempt | None:
    """The next transaction: what is due, and the offset to commit. None if nothing has ended since the last one."""
    waiting = [finished for finished in writer.due if not finished.done.cancelled()]
    count = 1 if writer.one_by_one else _count_together(waiting)
    finished, writer.due = waiting[:count], waiting[count:]
    point = state.offsets.committable(closing={one.offset for one in finished})
    if not finished and (point is None or point == state.committed):
        return None
    return _Attempt(finished=finished, point=point, since=state.committed)


def _count_together(waiting: Sequence[_Finished]) -> int:
    """How many of the first outcomes may share a transaction. An outcome that is `alone` has its own."""
    if waiting and waiting[0].outgoing.alone:
        return 1
    return next((count for count, one in enumerate(waiting) if one.outgoing.alone), len(waiting))

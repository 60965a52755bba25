"""Which partitions are ours, from where they are read, and how far they are committed, through every rebalance.

aiokafka revokes everything each time, and mostly gives it back. So work is not stopped on a revoke. On the next
assignment, partitions that nobody else has touched carry on, and the others begin again.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from aiokafka import ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import IllegalStateError, KafkaError

from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import UnknownCommitMap
from docsluice_consumer.kafka.commits import Committer
from docsluice_consumer.kafka.connection import committed_points
from docsluice_consumer.kafka.offsets import CommitPoint, ForeignMetadataError, Run, UnknownMapError, decode
from docsluice_consumer.kafka.partitions import Partitions, PartitionState
from docsluice_consumer.kafka.retry import with_retries
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_LAST_COMMIT_SECONDS = 10.0
_UNSETTLED_REBALANCES = 8
_UNSETTLED_SECONDS = 60.0


class Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types
    """Our membership in the group. `consumer` is the aiokafka consumer, once there is one.

    `stop_because` is called with an error that must stop the service, `on_share` with our share of all partitions.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        group_id: str,
        committer: Committer,
        metrics: Metrics,
        stop_because: Callable[[BaseException], None],
        on_share: Callable[[float], None] = lambda _share: None,
        refuses_unknown_maps: bool = False,
    ) -> None:
        self._refuses_unknown_maps = refuses_unknown_maps
        self.consumer: Any = None
        self.partitions = Partitions()
        self.draining = False
        self.reading_paused = False
        """Whether reading is paused, whatever room there is."""
        self._broker = broker
        self._group_id = group_id
        self._committer = committer
        self._metrics = metrics
        self._stop_because = stop_because
        self._on_share = on_share
        self._committing = asyncio.Lock()
        self._rebalancing = False
        self._recreated: set[TopicPartition] = set()
        self._unplaced: set[TopicPartition] = set()
        """Partitions without a known place to read from.

        aiokafka would begin at the committed offset, below open ones.
        """
        self._rebalanced_at: deque[float] = deque(maxlen=_UNSETTLED_REBALANCES)

    def owns(self, partition: TopicPartition) -> bool:
        """See `Membership.owns`."""
        return not self._rebalancing and partition in self.consumer.assignment()

    async def commit_offsets(self, points: Mapping[TopicPartition, CommitPoint]) -> None:
        """See `Membership.commit_offsets`."""
        await self.consumer.commit({partition: tuple(point) for partition, point in points.items()})

    async def commit(self) -> None:
        """Commit what has ended. Begin again with partitions that another member has had meanwhile."""
        async with self._committing:
            assigned = self.consumer.assignment()
            states = [state for state in self.partitions if state.partition in assigned]
            for state in await self._committer.commit(states, self):
                log.warning("partition.taken_by_another", partition=state.partition.partition)
                await self._forget(state)
            if not self.draining and not self._rebalancing:
                await self._begin([partition for partition in assigned if self.partitions.find(partition) is None])

    async def commit_at_last(self) -> None:
        """Commit for the last time, without waiting for a broker that is away."""
        try:
            async with asyncio.timeout(_LAST_COMMIT_SECONDS):
                await self.commit()
        except TimeoutError:
            self._metrics.commit_finished("failed")
            log.warning("commit.skipped", reason="the broker did not answer; what ended since the last commit repeats")
        except Exception as error:  # noqa: BLE001 - aiokafka swallows what a listener raises, so it is kept here
            self._stop_because(error)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Commit at once. Work goes on, because most partitions come straight back."""
        self._rebalancing = True
        if revoked:
            log.info("partitions.revoked", partitions=_numbers(revoked))
            await self.commit_at_last()

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Carry on with partitions that came back untouched, and begin again with the others."""
        kept: list[TopicPartition] = []
        # aiokafka logs and swallows whatever is raised here, so the error is kept for the service.
        try:
            # Read nothing until the place is known. A fetch for a new assignment cannot have been sent yet.
            self.consumer.pause(*assigned)
            self._unplaced = set(assigned)
            # At once: work in hand goes on, and others have begun on what is no longer our share.
            if (share := self._share()) is not None:
                self._on_share(share)
            async with self._committing:
                self._rebalancing = False
                kept = await self._reconcile(list(assigned))
        except Exception as error:  # noqa: BLE001 - see above
            self._stop_because(error)
        self._metrics.rebalanced()
        self._note_rebalance(time.monotonic())
        log.info("partitions.assigned", partitions=_numbers(assigned), kept=_numbers(kept))
        if not list(assigned) and self.partition_count():
            log.warning("partitions.none", remedy="others of the group have all of them, and this one nothing to do")
        for topic in self.consumer.subscription():
            if not self.consumer.partitions_for_topic(topic):
                log.error(
                    "topic.gone", topic=topic, remedy="it was deleted; once it is made anew it is read on its own"
                )

    def note_positions(self) -> None:
        """Note how far the client has read: past all markers and gaps behind the last record.

        Call this in the turn of the loop in which all records that it handed out were opened.
        """
        if self.draining or self._rebalancing:
            return
        for state in self.partitions:
            position = self._position_of(state.partition)
            if position is not None and position > state.reads_from:
                state.offsets.passed(position)

    async def out_of_range(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go on where the log begins, because the log lacks these offsets. Log what is lost.

        Raises:
            KafkaError: the broker cannot tell now where its logs begin.
        """
        starts = await self.consumer.beginning_offsets(list(offsets))
        for partition, offset in offsets.items():
            state, start = self.partitions.find(partition), starts[partition]
            if state is None or self._position_of(partition) != offset:
                continue  # an answer to an older question
            if start < offset:
                self.log_truncated(state, start)
                continue
            self._say_lost(state, offset, start)
            state.offsets.passed(start)
            self.read_from(state, start)

    def _say_lost(self, state: PartitionState, first: int, start: int) -> None:
        count = state.offsets.unread_between(first, start)
        if not count:
            return
        topic, number = state.partition.topic, state.partition.partition
        self._metrics.records_lost(topic, number, count=count)
        log.error(
            "records.lost",
            partition=number,
            records=count,
            first_offset=first,
            last_offset=start - 1,
            goes_on_at=start,
            remedy="the topic's retention, or somebody, deleted them before they were read; raise retention.ms or"
            " retention.bytes of the topic above the time that a backlog takes",
        )

    def _position_of(self, partition: TopicPartition) -> int | None:
        """The offset that the client reads next. None while the client does not know."""
        if partition in self._unplaced:
            return None
        asking = self.consumer.position(partition)
        try:
            asking.send(None)  # it waits only if there is no answer yet
        except StopIteration as answer:
            position: int = answer.value
            return position
        except (IllegalStateError, KafkaError):
            return None
        asking.close()
        return None

    def log_truncated(self, state: PartitionState, offset: int) -> None:
        """The log was truncated or recreated. It now holds other records than those that have ended."""
        log.error(
            "partition.went_back",
            partition=state.partition.partition,
            expected=state.reads_from,
            found=offset,
            remedy="the topic was recreated or truncated; it is read from its beginning, and may repeat what is left",
        )
        self._recreated.add(state.partition)
        self.partitions.forget(state.partition)  # the next commit round begins again with it

    def awake(self) -> list[PartitionState]:
        """The partition states that are read now."""
        assigned = self.consumer.assignment()
        return [
            state
            for state in self.partitions
            if not state.paused and state.partition in assigned and state.partition not in self._unplaced
        ]

    def pause(self, states: Iterable[PartitionState]) -> None:
        """Pause reading of these partitions."""
        for state in states:
            state.paused = True
            with contextlib.suppress(IllegalStateError):  # in the middle of a rebalance it is not ours
                self.consumer.pause(state.partition)

    def resume(self, state: PartitionState) -> None:
        """Resume reading, unless all reading is paused: at once, or as soon as the place is known."""
        if self.draining or self.reading_paused:
            state.paused = True
            return
        state.paused = False
        if state.partition in self._unplaced:
            return
        with contextlib.suppress(IllegalStateError):
            self.consumer.resume(state.partition)

    def read_from(self, state: PartitionState, offset: int) -> None:
        """Go on reading at an offset. A paused partition stays paused."""
        with contextlib.suppress(IllegalStateError):  # gone again already. The next assignment will tell
            self.consumer.seek(state.partition, offset)
            self._unplaced.discard(state.partition)
            if not state.paused:
                self.resume(state)

    @property
    def is_complete(self) -> bool:
        """Whether the place to read from is known for each of our partitions."""
        assigned = self.consumer.assignment()
        return not self._unplaced and all(self.partitions.find(partition) is not None for partition in assigned)

    def partition_count(self) -> int:
        """How many partitions the topic has."""
        if self.consumer is None:
            return 0
        return sum(len(self.consumer.partitions_for_topic(topic) or ()) for topic in self.consumer.subscription())

    def _share(self) -> float | None:
        """Our share of the topic's partitions. None without partitions."""
        everyones, ours = self.partition_count(), len(self.consumer.assignment())
        return ours / everyones if ours and everyones else None

    def _note_rebalance(self, now: float) -> None:
        """Log, once in a while, that the group does not settle."""
        self._rebalanced_at.append(now)
        is_full = len(self._rebalanced_at) == _UNSETTLED_REBALANCES
        if is_full and now - self._rebalanced_at[0] < _UNSETTLED_SECONDS:
            self._rebalanced_at.clear()
            log.warning(
                "group.unsettled",
                rebalances=_UNSETTLED_REBALANCES,
                seconds=_UNSETTLED_SECONDS,
                remedy="replicas come and go; or two of them have the same DOCSLUICE_GROUP_INSTANCE_ID and push each"
                " other out of the group: give each its own",
            )

    async def _reconcile(self, assigned: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Find and return the partitions that nobody else has touched."""
        stored = await committed_points(self._broker, self._group_id, assigned)
        kept = [
            state
            for state in self.partitions
            if state.partition in assigned and state.is_at(stored.get(state.partition))
        ]
        for state in self.partitions:
            if state not in kept:
                await self._forget(state)
        for state in kept:
            self.read_from(state, state.reads_from)
        partitions = [state.partition for state in kept]
        await self._begin([partition for partition in assigned if partition not in partitions])
        return partitions

    async def _begin(self, partitions: Sequence[TopicPartition]) -> None:
        """Begin partitions where their last owner left off, once that owner can no longer change anything."""
        epochs = {partition: self.partitions.next_epoch() for partition in partitions}
        await asyncio.gather(*(self._committer.acquire(p, epoch=epoch) for p, epoch in epochs.items()))
        stored = await committed_points(self._broker, self._group_id, partitions)
        # Decode all maps before the first record is read: if one is refused, nothing may be read.
        ends = await self._ends_of([partition for partition, point in stored.items() if point.metadata])
        maps_of_ended = {
            partition: self._ended_before(partition, point, log_end=ends.get(partition, 0))
            for partition, point in stored.items()
        }
        for partition, epoch in epochs.items():
            self._metrics.expect_losses(partition.topic, partition.partition)
            point, is_recreated = stored.get(partition), partition in self._recreated
            if point is None or is_recreated:
                await self._seek_to_beginning(partition)
                self._unplaced.discard(partition)
                state = self.partitions.begin(partition, epoch=epoch, committed=point, is_recreated=is_recreated)
                self._recreated.discard(partition)
                self.resume(state)
            else:
                ended = maps_of_ended[partition]
                state = self.partitions.begin(partition, epoch=epoch, committed=point, ended_before=ended)
                self.read_from(state, point.offset)

    async def _ends_of(self, partitions: Sequence[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Up to where the logs can be read."""
        if not partitions:
            return {}
        ends: Mapping[TopicPartition, int] = await with_retries(
            lambda: self.consumer.end_offsets(partitions), doing="look up the ends of the partitions"
        )
        return ends

    async def _seek_to_beginning(self, partition: TopicPartition) -> None:
        with contextlib.suppress(IllegalStateError):
            await with_retries(
                lambda: self.consumer.seek_to_beginning(partition), doing=f"read topic {partition.topic}"
            )

    async def _forget(self, state: PartitionState) -> None:
        self.partitions.forget(state.partition)
        self._metrics.partition_released(state.partition.topic, state.partition.partition)
        await self._committer.release(state.partition)

    def _ended_before(self, partition: TopicPartition, point: CommitPoint, *, log_end: int) -> list[Run]:
        """The runs that the last owner's commit names.

        Without its map some records may be worked on again, and none is lost.

        The log says how many records are skipped. Nothing else would tell.

        Raises:
            UnknownCommitMap: a later release has written it, and nothing may be repeated.
        """
        try:
            ended = decode(point, log_end=log_end)
        except ForeignMetadataError as problem:
            if self._refuses_unknown_maps and isinstance(problem, UnknownMapError):
                raise UnknownCommitMap(
                    f"the commit of {partition.topic}/{partition.partition} holds {problem}: a later release of"
                    " docsluice was here, and its records that have ended would be repeated. Run that release again"
                    " until it has drained with nothing open, or set DOCSLUICE_UNKNOWN_COMMIT_MAP=ignore to repeat them"
                ) from None
            log.warning("commit.foreign_metadata", partition=partition.partition, problem=str(problem))
            return []
        if ended:
            log.info(
                "commit.map",
                partition=partition.partition,
                committed=point.offset,
                passes_over=sum(run.end - run.start for run in ended),
                last_offset=ended[-1].end - 1,
                log_end=log_end,
            )
        return ended


def _numbers(partitions: Iterable[TopicPartition]) -> list[int]:
    return sorted(partition.partition for partition in partitions)

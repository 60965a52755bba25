"""What the source makes of the records that it is handed."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaConnectionError, NoOffsetForPartitionError, OffsetOutOfRangeError

from docsluice.kafka.broker import Broker
from docsluice.kafka.flaw import Flaw
from docsluice_consumer.kafka import source as source_module
from docsluice_consumer.kafka.backpressure import OpenLimits
from docsluice_consumer.kafka.commits import GroupCommitter
from docsluice_consumer.kafka.key_queues import Ordering
from docsluice_consumer.kafka.offsets import CommitPoint, Run
from docsluice_consumer.kafka.records import Record
from docsluice_consumer.kafka.records import read as read_record
from docsluice_consumer.kafka.source import Drained, Source
from docsluice_consumer.kafka.subscription import Subscription
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.timer import settled

P0, P1 = TopicPartition("documents", 0), TopicPartition("documents", 1)


class Desk:
    """A source without a broker: records are handed to it, and it is noted which are worked on."""

    def __init__(self, *, records_per_partition: int = 100, ordering: Ordering = "unordered") -> None:
        self.never_ends: set[int] = set()
        self.worked_on: list[int] = []
        self.may_end = asyncio.Event()
        self.may_end.set()
        self.problem: Exception | None = KafkaConnectionError("the broker is away")
        self.asked: list[tuple[TopicPartition, ...]] = []
        self.metrics = metrics = Metrics()
        self.source = Source(
            broker=Broker(bootstrap_servers="nowhere:1"),
            subscription=Subscription(
                topic="documents",
                group_id="g",
                group_instance_id=None,
                ordering=ordering,
                open_limits=OpenLimits(records_per_partition=records_per_partition, records=1_000, bytes=1_000_000),
                commit_interval_seconds=1.0,
                drain_seconds=1.0,
                kept_record_bytes=1_000_000,
            ),
            process=self._process,
            committer=GroupCommitter(metrics=metrics),
            metrics=metrics,
        )
        self.source._assignment.consumer = self
        self.sought: list[int] = []
        self.paused = 0
        self.reads_next: int | None = None
        self.log_starts = 0

    async def _process(self, record: Record) -> None:
        self.worked_on.append(record.offset)
        await self.may_end.wait()
        if record.offset in self.never_ends:
            await asyncio.Event().wait()

    def seek(self, _partition: TopicPartition, offset: int) -> None:
        self.sought.append(offset)

    def pause(self, *partitions: TopicPartition) -> None:
        self.paused += len(partitions)

    def resume(self, *partitions: TopicPartition) -> None:
        self.paused -= len(partitions)

    async def getmany(self, *partitions: TopicPartition, **_: int) -> dict[TopicPartition, list[object]]:
        self.asked.append(partitions)
        if self.problem is None:
            return {}
        raise self.problem

    def assignment(self) -> set[TopicPartition]:
        return {P0, P1}

    async def position(self, _partition: TopicPartition) -> int:
        while self.reads_next is None:
            await asyncio.sleep(0)
        return self.reads_next

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.log_starts)

    @property
    def lost(self) -> float:
        return self.metrics.total("records_lost_total", topic=P0.topic, partition="0")

    async def hand(self, *offsets: int) -> None:
        self.source._open(P0, [_record(offset) for offset in offsets])
        await settled()


def _record(offset: int) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord(
        topic=P0.topic,
        partition=P0.partition,
        offset=offset,
        timestamp=1,
        timestamp_type=0,
        key=b"k",
        value=b"v",
        checksum=None,
        serialized_key_size=1,
        serialized_value_size=1,
        headers=(),
    )


async def test_each_record_is_worked_on_once() -> None:
    """With gaps as they come."""
    desk = Desk()
    state = desk.source._assignment.partitions.begin(P0, committed=CommitPoint(5))
    await desk.hand(5, 6, 9)
    await desk.hand(12)
    assert desk.worked_on == [5, 6, 9, 12]
    assert state.to_commit() == CommitPoint(13)


async def test_a_record_of_a_partition_without_a_life_is_left_alone() -> None:
    """It is read again once it is known from where."""
    desk = Desk()
    await desk.hand(0)
    assert desk.worked_on == []


async def test_offsets_that_come_again_are_other_records() -> None:
    """The log was truncated or recreated: nothing is skipped, the partition begins again, and the log says so."""
    for read in ((), (20, 21)):
        desk = Desk()
        desk.source._assignment.partitions.begin(P0, committed=CommitPoint(20))
        await desk.hand(*read)
        with structlog.testing.capture_logs() as logs:
            await desk.hand(3, 4)
        assert desk.source._assignment.partitions.find(P0) is None
        assert desk.source._assignment._recreated == {P0}
        assert [(entry["event"], entry["found"]) for entry in logs] == [("partition.went_back", 3)]


async def test_a_batch_is_opened_as_far_as_there_is_room() -> None:
    """The rest of it is read again when there is."""
    desk = Desk(records_per_partition=3)
    state = desk.source._assignment.partitions.begin(P0)
    desk.source._open(P0, [_record(offset) for offset in range(10)])
    assert state.offsets.open_count == 3
    assert (state.paused, desk.paused) == (True, 1)
    assert desk.sought == [3]
    await settled()
    assert desk.worked_on == [0, 1, 2]
    assert not state.paused


async def test_a_record_with_a_flaw_is_worked_on_like_any_other() -> None:
    """It comes with its flaw, and its offset ends when its dead letter is published. A gap before it has ended."""
    desk = Desk()
    state = desk.source._assignment.partitions.begin(P0, committed=CommitPoint(5))
    flawed = replace(_record(9), checksum=Flaw(problem="damaged", first_offset=5), value=b"")
    with structlog.testing.capture_logs() as logs:
        desk.source._open(P0, [flawed])
    await settled()
    (said,) = [line for line in logs if line["event"] == "records.unreadable"]
    assert (said["log_level"], said["first_offset"], said["last_offset"]) == ("error", 5, 9)
    assert desk.worked_on == [9]
    assert read_record(flawed).flaw == Flaw(problem="damaged", first_offset=5)
    assert state.to_commit() == CommitPoint(10)


async def test_a_loop_that_dies_stops_the_service() -> None:
    """Whether by a bug or by coming to an end, for nothing would be read, or committed, any more."""
    bug = TypeError("a bug")

    async def work(error: Exception | None) -> None:
        if error:
            raise error

    for error, found in ((bug, "a bug"), (None, "source.poll ended by itself")):
        desk = Desk()
        desk.source._supervised(work(error), name="source.poll")
        await settled()
        with pytest.raises((TypeError, RuntimeError), match=found):
            desk.source.fault.result()


async def test_a_loop_that_is_told_to_end_stops_nothing() -> None:
    """Neither one that is cancelled, nor one that has seen that all of it is to stop."""
    desk = Desk()
    desk.source._supervised(asyncio.sleep(3600), name="source.commit").cancel()
    await settled()
    desk.source._stopped = True
    desk.source._supervised(asyncio.sleep(0), name="source.poll")
    await settled()
    assert not desk.source.fault.done()


async def test_what_holds_the_commit_back_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that stays open for minutes is told by its place, and the next one when it is that one's turn."""
    desk = Desk()
    monkeypatch.setattr(source_module, "_STUCK_SECONDS", -1.0)
    desk.may_end.clear()
    desk.source._assignment.partitions.begin(P0)
    with structlog.testing.capture_logs() as logs:
        desk.source._say_stuck()
        await desk.hand(4, 5)
        desk.source._say_stuck()
        desk.source._say_stuck()
    assert [(entry["event"], entry["source"]) for entry in logs] == [("record.stuck", "documents/0@4")]
    desk.may_end.set()
    await settled()


async def test_a_drain_commits_before_it_cuts_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some records may have all that they need, and wait for nothing but their transaction."""
    desk = Desk()
    desk.may_end.clear()
    desk.source._assignment.partitions.begin(P0)
    await desk.hand(1, 2)

    async def commit() -> None:
        desk.may_end.set()

    monkeypatch.setattr(desk.source._assignment, "commit_at_last", commit)
    assert await desk.source.drain(seconds=0) == Drained(finished=2)
    assert desk.worked_on == [1, 2]


async def test_a_drain_tells_apart_what_was_finished_given_back_and_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those given back were cancelled by others, or stood behind such a one: nothing of them was broken off."""
    desk = Desk()
    desk.may_end.clear()
    desk.never_ends = {3, 4}
    desk.source._assignment.partitions.begin(P0)
    await desk.hand(1, 2, 3, 4, 5)

    async def commit() -> None:
        desk.may_end.set()

    monkeypatch.setattr(desk.source._assignment, "commit_at_last", commit)
    for task in desk.source._assignment.partitions.tasks():
        if task.get_name().endswith(("@2", "@5")):
            task.cancel()  # as the pipeline cancels what was not begun
    drained = await desk.source.drain(seconds=0)
    assert drained == Drained(finished=1, released=2, unfinished=("documents/0@3", "documents/0@4"))


async def test_what_waits_for_its_turn_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a key's records only the first was begun."""
    desk = Desk(ordering="key")
    desk.may_end.clear()
    desk.never_ends = {1}
    desk.source._assignment.partitions.begin(P0)
    await desk.hand(1, 2, 3)

    async def commit() -> None:
        desk.may_end.set()

    monkeypatch.setattr(desk.source._assignment, "commit_at_last", commit)
    assert await desk.source.drain(seconds=0) == Drained(released=2, unfinished=("documents/0@1",))


def test_a_record_is_read_as_it_is() -> None:
    """Byte for byte: a null key, value or header stays null, and an empty one empty."""
    headers = (("null", None), ("empty", b""), ("twice", b"1"), ("twice", b"\xff"))
    fetched = ConsumerRecord(
        topic="documents",
        partition=0,
        offset=7,
        timestamp=-1,
        timestamp_type=0,
        key=None,
        value=None,
        checksum=None,
        serialized_key_size=-1,
        serialized_value_size=-1,
        headers=headers,
    )
    read = read_record(fetched, epoch=3)
    assert (read.key, read.value, tuple(read.headers), read.timestamp_ms) == (None, None, headers, -1)
    assert read.size_bytes == len("null" + "empty" + "twice" * 2) + 2


async def test_what_the_client_has_passed_is_committed() -> None:
    """Also where the last thing in the partition is no record. No open record is passed."""
    desk = Desk()
    desk.may_end.clear()
    state = desk.source._assignment.partitions.begin(P0, committed=CommitPoint(5))
    await desk.hand(5, 6)
    desk.reads_next = 12
    desk.source._assignment.note_positions()
    assert (state.to_commit() or CommitPoint(0)).offset == 5
    desk.may_end.set()
    await settled()
    assert state.to_commit() == CommitPoint(12)


async def test_a_position_that_is_not_known_is_not_waited_for() -> None:
    """Nor is one believed while records are being thrown away, or before it is known from where to read."""
    desk = Desk()
    assignment = desk.source._assignment
    state = assignment.partitions.begin(P0, committed=CommitPoint(5))
    assignment.note_positions()
    assert state.reads_from == 5
    desk.reads_next = 12
    assignment._unplaced.add(P0)
    assignment.note_positions()
    assert state.reads_from == 5
    assignment._unplaced.clear()
    assignment.draining = True
    assignment.note_positions()
    assert state.reads_from == 5


async def test_records_that_retention_took_are_counted_and_named() -> None:
    """It goes on at the first that is there. What had ended before the commit is not lost."""
    desk = Desk()
    state = desk.source._assignment.partitions.begin(P0, committed=CommitPoint(5), ended_before=[Run(7, 9)])
    desk.problem, desk.reads_next, desk.log_starts = OffsetOutOfRangeError({P0: 5}), 5, 15
    with structlog.testing.capture_logs() as logs:
        assert await desk.source._next_batches() == {}
    (line,) = logs
    assert (line["event"], line["partition"], line["records"]) == ("records.lost", 0, 8)
    assert (line["first_offset"], line["last_offset"], line["goes_on_at"]) == (5, 14, 15)
    assert desk.lost == 8
    assert desk.sought == [15]
    assert state.to_commit() == CommitPoint(15)
    desk.reads_next = 15
    assert await desk.source._next_batches() == {}  # the same answer, come late
    assert desk.lost == 8


async def test_a_log_that_ends_before_what_was_to_be_read_was_cut() -> None:
    """Nothing was lost to retention: the records that come are others, and none of them is skipped."""
    desk = Desk()
    desk.source._assignment.partitions.begin(P0, committed=CommitPoint(50))
    desk.problem, desk.reads_next, desk.log_starts = OffsetOutOfRangeError({P0: 50}), 50, 0
    with structlog.testing.capture_logs() as logs:
        assert await desk.source._next_batches() == {}
    assert [line["event"] for line in logs] == ["partition.went_back"]
    assert desk.lost == 0
    assert desk.source._assignment._recreated == {P0}


async def test_a_partition_that_has_no_place_yet_is_no_fault() -> None:
    """It is given one once the committed offsets are known."""
    desk = Desk()
    desk.problem = NoOffsetForPartitionError(P0)
    assert await desk.source._next_batches() == {}


async def test_a_paused_partition_is_not_asked_about() -> None:
    """What was fetched for it stays for later: thrown away, it would be decompressed from its beginning once more."""
    desk = Desk()
    desk.problem = None
    states = [desk.source._assignment.partitions.begin(one, committed=CommitPoint(0)) for one in (P0, P1)]
    desk.source._assignment.pause([states[0]])
    assert await desk.source._next_batches() == {}
    desk.source._assignment.pause([states[1]])
    assert await desk.source._next_batches() == {}
    assert desk.asked == [(P1,)]
    desk.source._asked_at -= 31.0
    await desk.source._next_batches()
    assert desk.asked == [(P1,), ()], "a client that nobody asks leaves the group"

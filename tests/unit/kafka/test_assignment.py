"""What is said of a group that does not come to rest, and of a topic that is not there. From where is read."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import UnknownCommitMap
from docsluice_consumer.kafka import assignment as assignment_module
from docsluice_consumer.kafka.assignment import Assignment
from docsluice_consumer.kafka.commits import GroupCommitter
from docsluice_consumer.kafka.offsets import CommitPoint, Run, encode
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.timer import settled


class Consumer:
    """As much of aiokafka's as an assignment takes. `partitions` are the topic's, None when it is gone.

    Each partition of an assignment is to be read from what the group has committed, until it is sought elsewhere.
    """

    def __init__(self, partitions: set[int] | None, *assigned: TopicPartition, end: int = 100) -> None:
        self._partitions = partitions
        self._assigned = assigned
        self._end = end
        self.calls: list[tuple[object, ...]] = []

    def pause(self, *partitions: TopicPartition) -> None:
        assert partitions == self._assigned

    def resume(self, partition: TopicPartition) -> None:
        self.calls.append(("resume", partition))

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.calls.append(("seek", partition, offset))

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        self.calls.append(("end_offsets", *partitions))
        return dict.fromkeys(partitions, self._end)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._assigned)

    def subscription(self) -> frozenset[str]:
        return frozenset({"documents"})

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        assert topic == "documents"
        return self._partitions


def _assignment(partitions: set[int] | None) -> Assignment:
    metrics = Metrics()
    assignment = Assignment(
        broker=Broker(bootstrap_servers="nowhere:1"),
        group_id="g",
        committer=GroupCommitter(metrics=metrics),
        metrics=metrics,
        stop_because=lambda error: pytest.fail(repr(error)),
    )
    assignment.consumer = Consumer(partitions)
    return assignment


@pytest.mark.parametrize(
    ("times", "said"),
    [
        pytest.param(range(7), 0, id="a few"),
        pytest.param(range(8), 1, id="eight within a minute"),
        pytest.param(range(15), 1, id="not yet as many again"),
        pytest.param(range(16), 2, id="as many again"),
        pytest.param(range(0, 500, 10), 0, id="slow ones"),
    ],
)
def test_a_group_that_does_not_come_to_rest(times: range, said: int) -> None:
    """Many rebalances within a minute are said, once for as many."""
    assignment = _assignment({0})
    with capture_logs() as logs:
        for now in times:
            assignment._note_rebalance(now)
    assert [entry["event"] for entry in logs] == ["group.unsettled"] * said


@pytest.mark.parametrize(("partitions", "said"), [({0, 1}, ["partitions.none"]), (None, ["topic.gone"])])
async def test_a_topic_that_is_gone_is_said(partitions: set[int] | None, said: list[str]) -> None:
    """A member without partitions has nothing to do, which is said. A topic without them is something else."""
    with capture_logs() as logs:
        await _assignment(partitions).on_partitions_assigned([])
    assert [entry["event"] for entry in logs] == ["partitions.assigned", *said]


async def test_a_partition_that_came_back_is_not_read_before_it_is_known_from_where(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would be read from its committed offset, below what is in work, as if its topic had been recreated."""
    partition, may_answer = TopicPartition("documents", 0), asyncio.Event()

    async def committed_points(*_: object) -> Mapping[TopicPartition, CommitPoint]:
        await may_answer.wait()
        return {partition: CommitPoint(5)}

    monkeypatch.setattr(assignment_module, "committed_points", committed_points)
    assignment = _assignment({0})
    assignment.consumer = consumer = Consumer({0}, partition)
    state = assignment.partitions.begin(partition, committed=CommitPoint(5))
    state.offsets.opened(5)
    taking_stock = asyncio.create_task(assignment.on_partitions_assigned([partition]))
    await settled()
    assignment.resume(state)  # as at the end of a rest, or when there is room again
    await settled()
    assert consumer.calls == []
    may_answer.set()
    await taking_stock
    assert consumer.calls == [("seek", partition, 6), ("resume", partition)]


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_map_of_a_later_release_is_refused_or_passed_over(
    monkeypatch: pytest.MonkeyPatch, *, refuses: bool
) -> None:
    """Refused, not a record of any partition is read, and the message says what to do. Otherwise it is warned of."""
    partitions = [TopicPartition("documents", number) for number in range(2)]

    async def committed_points(*_: object) -> Mapping[TopicPartition, CommitPoint]:
        return {partitions[0]: CommitPoint(5), partitions[1]: CommitPoint(7, "docsluice/2:whatever")}

    monkeypatch.setattr(assignment_module, "committed_points", committed_points)
    faults: list[BaseException] = []
    metrics = Metrics()
    assignment = Assignment(
        broker=Broker(bootstrap_servers="nowhere:1"),
        group_id="g",
        committer=GroupCommitter(metrics=metrics),
        metrics=metrics,
        stop_because=faults.append,
        refuses_unknown_maps=refuses,
    )
    assignment.consumer = consumer = Consumer({0, 1}, *partitions)
    with capture_logs() as logs:
        await assignment.on_partitions_assigned(partitions)
    if refuses:
        (fault,) = faults
        assert isinstance(fault, UnknownCommitMap)
        for words in ("documents/1", "format 2", "this release reads 1", "DOCSLUICE_UNKNOWN_COMMIT_MAP=ignore"):
            assert words in str(fault)
        assert [call for call in consumer.calls if call[0] != "end_offsets"] == []
        assert not list(assignment.partitions)
    else:
        assert faults == []
        assert [call[0] for call in consumer.calls].count("resume") == 2
        assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["commit.foreign_metadata"]


@pytest.mark.parametrize("metadata", ["docsluice/1:1+1:00000000", "somebody else's", "docsluice/"])
async def test_a_damaged_or_foreign_map_is_never_refused(monkeypatch: pytest.MonkeyPatch, metadata: str) -> None:
    """It says nothing of a roll-back: at worst some records are worked on again."""
    partition = TopicPartition("documents", 0)

    async def committed_points(*_: object) -> Mapping[TopicPartition, CommitPoint]:
        return {partition: CommitPoint(5, metadata)}

    monkeypatch.setattr(assignment_module, "committed_points", committed_points)
    assignment = _assignment({0})
    assignment._refuses_unknown_maps = True
    assignment.consumer = consumer = Consumer({0}, partition)
    await assignment.on_partitions_assigned([partition])
    assert consumer.calls[1:] == [("seek", partition, 5), ("resume", partition)]


@pytest.mark.parametrize("end", [1_000_001, 20])
async def test_a_map_that_reaches_beyond_the_log_is_passed_over(monkeypatch: pytest.MonkeyPatch, end: int) -> None:
    """Believed, it would have records skipped that nobody has worked on. How many one skips is said in any case."""
    partition, ended = TopicPartition("documents", 0), [Run(1, 1_000_001)]

    async def committed_points(*_: object) -> Mapping[TopicPartition, CommitPoint]:
        return {partition: CommitPoint(0, encode(0, ended))}

    monkeypatch.setattr(assignment_module, "committed_points", committed_points)
    assignment = _assignment({0})
    assignment.consumer = Consumer({0}, partition, end=end)
    with capture_logs() as logs:
        await assignment.on_partitions_assigned([partition])
    state = assignment.partitions.find(partition)
    assert state is not None
    to_do = [offset for offset in range(20) if state.offsets.opened(offset)]
    said = [line for line in logs if line["event"] in {"commit.map", "commit.foreign_metadata"}]
    if end > 20:
        assert to_do == [0]
        assert [(line["passes_over"], line["last_offset"], line["log_end"]) for line in said] == [
            (1_000_000, 1_000_000, 1_000_001)
        ]
    else:
        assert to_do == list(range(20))
        assert [line["problem"] for line in said] == ["a map of ended records up to 1000000, and the log ends at 20"]


async def test_the_end_of_a_log_is_asked_for_only_where_there_is_a_map(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group of hundreds of partitions begins without it."""
    partitions = [TopicPartition("documents", number) for number in range(2)]

    async def committed_points(*_: object) -> Mapping[TopicPartition, CommitPoint]:
        return {partitions[0]: CommitPoint(5), partitions[1]: CommitPoint(7, encode(7, [Run(8, 9)]))}

    monkeypatch.setattr(assignment_module, "committed_points", committed_points)
    assignment = _assignment({0, 1})
    assignment.consumer = consumer = Consumer({0, 1}, *partitions)
    await assignment.on_partitions_assigned(partitions)
    assert [call for call in consumer.calls if call[0] == "end_offsets"] == [("end_offsets", partitions[1])]

"""The states of partitions: whose work counts, and whose does not any more."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from docsluice_consumer.kafka.offsets import CommitPoint, Run
from docsluice_consumer.kafka.partitions import Partitions, PartitionState
from tests.fakes.timer import settled

P0, P1 = TopicPartition("documents", 0), TopicPartition("documents", 1)


async def _work(state: PartitionState, offset: int, may_end: asyncio.Event, *, stubborn: bool = False) -> bool:
    """What a record's task does: wait for its outcome, then close its offset in the state it was started in."""
    try:
        await may_end.wait()
    except asyncio.CancelledError:
        if not stubborn:
            raise
        await may_end.wait()  # its outcome was on the way already
    state.offsets.closed(offset)
    return True


def _start(
    state: PartitionState, offset: int, may_end: asyncio.Event, *, stubborn: bool = False, read_at: float = 0.0
) -> asyncio.Task[bool]:
    state.offsets.opened(offset)
    task = asyncio.create_task(_work(state, offset, may_end, stubborn=stubborn))
    state.tasks[task] = read_at
    return task


async def test_a_late_finisher_of_a_forgotten_life_touches_nothing() -> None:
    """A record that ends after its partition went away and came back closes nothing in the new state."""
    partitions, may_end = Partitions(), asyncio.Event()
    late = _start(partitions.begin(P0), 10, may_end, stubborn=True)
    await settled()
    partitions.forget(P0)
    reborn = partitions.begin(P0)
    reborn.offsets.opened(10)
    may_end.set()
    await late
    assert reborn.offsets.open_count == 1
    assert reborn.to_commit() == CommitPoint(10)


async def test_forgetting_a_partition_stops_its_work_and_no_other() -> None:
    """The tasks of the lost partition are cancelled. Those of the others go on."""
    partitions, may_end = Partitions(), asyncio.Event()
    lost, kept = _start(partitions.begin(P0), 1, may_end), _start(partitions.begin(P1), 1, may_end)
    await settled()
    partitions.forget(P0)
    await settled()
    assert lost.cancelled()
    assert not kept.done()
    assert partitions.tasks() == {kept}
    may_end.set()
    await kept


async def test_a_cancelled_record_stays_open() -> None:
    """What was released is not committed, so the next owner reads it again."""
    partitions, may_end = Partitions(), asyncio.Event()
    state = partitions.begin(P0)
    task = _start(state, 5, may_end)
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert state.to_commit() == CommitPoint(5)


def test_forgetting_what_is_not_ours_does_nothing() -> None:
    """A partition that was assigned and never read from has no state to end."""
    partitions = Partitions()
    partitions.forget(P0)
    assert partitions.find(P0) is None


def test_a_life_lasts_until_the_next_begins() -> None:
    """Beginning again forgets what was there before."""
    partitions = Partitions()
    state = partitions.begin(P0, epoch=1)
    assert partitions.find(P0) is state
    assert list(partitions) == [state]
    reborn = partitions.begin(P0, epoch=2, committed=CommitPoint(7), ended_before=[Run(9, 12)])
    assert list(partitions) == [reborn]
    assert reborn.committed == CommitPoint(7)
    assert [reborn.offsets.opened(offset) for offset in (7, 8, 9, 11, 12)] == [True, True, False, False, True]


def test_each_life_has_an_epoch_of_its_own() -> None:
    """No two states in a process are taken for one another, whatever their partitions."""
    partitions = Partitions()
    epochs = [partitions.next_epoch() for _ in range(5)]
    assert len(set(epochs)) == 5


def test_only_what_changed_is_committed() -> None:
    """A point that was committed is not committed again. A partition that was never read has none."""
    partitions = Partitions()
    idle, busy = partitions.begin(P0), partitions.begin(P1)
    busy.offsets.opened(3)
    assert busy.to_commit() == CommitPoint(3)
    busy.committed = CommitPoint(3)
    assert busy.to_commit() is None
    busy.ended(3)
    busy.ended(3)  # as after a transaction, which closes it too
    assert busy.to_commit() == CommitPoint(4)
    assert idle.to_commit() is None


@pytest.mark.parametrize(
    ("stored", "is_ours"),
    [
        (CommitPoint(5), True),
        (CommitPoint(7, "docsluice/1:1+1"), True),
        (CommitPoint(7), False),
        (CommitPoint(6), False),
        (None, False),
    ],
)
def test_a_partition_that_nobody_else_touched_is_recognised(stored: CommitPoint | None, *, is_ours: bool) -> None:
    """By the group's offset and map: they are what was committed, or what was sent though no answer came."""
    state = Partitions().begin(P0, committed=CommitPoint(5))
    state.attempted = CommitPoint(7, "docsluice/1:1+1")
    assert state.is_at(stored) is is_ours
    if is_ours:
        assert state.committed == stored


def test_a_partition_without_a_commit_is_ours_while_it_has_none() -> None:
    """Nothing was committed and nothing is stored."""
    state = Partitions().begin(P0)
    assert state.is_at(None)
    assert not state.is_at(CommitPoint(0))


async def test_the_oldest_record_is_the_one_read_first() -> None:
    """It is named, with its age, over all partitions. There is none when none is open."""
    partitions, may_end = Partitions(), asyncio.Event()
    assert partitions.oldest() is None
    tasks = [
        _start(partitions.begin(P0), 1, may_end, read_at=0.0),
        _start(partitions.begin(P1), 1, may_end, read_at=float("-inf")),
    ]
    assert partitions.oldest() == (tasks[1].get_name(), float("inf"))
    may_end.set()
    await asyncio.gather(*tasks)


def test_lives_may_end_while_they_are_looked_at() -> None:
    """A rebalance forgets partitions in the middle of a walk over them."""
    partitions = Partitions()
    for partition in (P0, P1):
        partitions.begin(partition)
    for state in partitions:
        partitions.forget(state.partition)
    assert list(partitions) == []


def test_what_may_still_come() -> None:
    """From the committed offset on, then from the next one. From anywhere once the log was recreated."""
    partitions = Partitions()
    state = partitions.begin(P0, committed=CommitPoint(7))
    assert state.reads_from == 7
    state.offsets.opened(9)
    assert state.reads_from == 10
    assert partitions.begin(P0, committed=CommitPoint(7), is_recreated=True).reads_from == 0
    assert partitions.begin(P0).reads_from == 0


def test_the_lag_is_what_has_not_ended() -> None:
    """Unknown until the end is. Open records are part of it, and what the log no longer holds is not."""
    state = Partitions().begin(P0, committed=CommitPoint(7))
    assert state.lag() is None
    state.start, state.end = 0, 20
    assert state.lag() == 13
    state.start = 12
    assert state.lag() == 8
    state.offsets.opened(12)
    assert state.lag() == 8
    state.ended(12)
    assert state.lag() == 7
    state.offsets.passed(20)
    assert state.lag() == 0
    state.offsets.passed(25)  # read on since the end was last asked for
    assert state.lag() == 0

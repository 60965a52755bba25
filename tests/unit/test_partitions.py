"""The lives of partitions: whose work counts, and whose does not any more."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from consumer.kafka.offsets import CommitPoint
from consumer.kafka.partitions import PartitionLife, Partitions
from tests.fakes.timer import settled

P0, P1 = TopicPartition("documents", 0), TopicPartition("documents", 1)


async def _work(life: PartitionLife, offset: int, may_end: asyncio.Event, *, stubborn: bool = False) -> None:
    """What a record's task does: wait for its outcome, then close its offset in the life it was started in."""
    try:
        await may_end.wait()
    except asyncio.CancelledError:
        if not stubborn:
            raise
        await may_end.wait()  # its outcome was on the way already
    life.offsets.closed(offset)


def _start(
    life: PartitionLife, offset: int, may_end: asyncio.Event, *, stubborn: bool = False, read_at: float = 0.0
) -> asyncio.Task[None]:
    life.offsets.opened(offset)
    task = asyncio.create_task(_work(life, offset, may_end, stubborn=stubborn))
    life.tasks[task] = read_at
    return task


async def test_a_late_finisher_of_a_forgotten_life_touches_nothing() -> None:
    """A record that ends after its partition went away and came back closes nothing in the new life."""
    partitions, may_end = Partitions(), asyncio.Event()
    late = _start(partitions.life(P0), 10, may_end, stubborn=True)
    await settled()
    partitions.forget(P0)
    reborn = partitions.life(P0)
    reborn.offsets.opened(10)
    may_end.set()
    await late
    assert reborn.offsets.open_count == 1
    assert partitions.to_commit() == {P0: CommitPoint(10)}


async def test_forgetting_a_partition_stops_its_work_and_no_other() -> None:
    """The tasks of the lost partition are cancelled; those of the others go on."""
    partitions, may_end = Partitions(), asyncio.Event()
    lost, kept = _start(partitions.life(P0), 1, may_end), _start(partitions.life(P1), 1, may_end)
    await settled()
    partitions.forget(P0)
    await settled()
    assert lost.cancelled()
    assert not kept.done()
    assert partitions.tasks() == {kept}
    may_end.set()
    await kept


async def test_a_cancelled_record_stays_open() -> None:
    """What was let go of is not committed, so that whoever comes next reads it again."""
    partitions, may_end = Partitions(), asyncio.Event()
    life = partitions.life(P0)
    task = _start(life, 5, may_end)
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert partitions.to_commit() == {P0: CommitPoint(5)}


def test_forgetting_what_is_not_ours_does_nothing() -> None:
    """A partition that was assigned and never read from has no life to end."""
    partitions = Partitions()
    partitions.forget(P0)
    assert partitions.find(P0) is None


def test_a_life_lasts_until_it_is_forgotten() -> None:
    """Asking again gives the same life; after forgetting, a new one that has read nothing."""
    partitions = Partitions()
    life = partitions.life(P0)
    assert partitions.life(P0) is life
    assert partitions.find(P0) is life
    assert list(partitions) == [life]
    partitions.forget(P0)
    assert partitions.life(P0) is not life


def test_only_what_changed_is_committed() -> None:
    """A point that was committed is not committed again; a partition that was never read has none."""
    partitions = Partitions()
    idle, busy = partitions.life(P0), partitions.life(P1)
    busy.offsets.opened(3)
    assert partitions.to_commit() == {P1: CommitPoint(3)}
    busy.committed = CommitPoint(3)
    assert partitions.to_commit() == {}
    busy.offsets.closed(3)
    assert partitions.to_commit() == {P1: CommitPoint(4)}
    assert idle.to_commit() is None


async def test_the_oldest_record_is_the_one_read_first() -> None:
    """The age is that of the longest open record over all partitions, and 0 when none is open."""
    partitions, may_end = Partitions(), asyncio.Event()
    assert partitions.oldest_age_seconds() == 0
    tasks = [
        _start(partitions.life(P0), 1, may_end, read_at=float("-inf")),
        _start(partitions.life(P1), 1, may_end, read_at=0.0),
    ]
    assert partitions.oldest_age_seconds() == float("inf")
    may_end.set()
    await asyncio.gather(*tasks)


def test_lives_may_end_while_they_are_looked_at() -> None:
    """A rebalance forgets partitions in the middle of a walk over them."""
    partitions = Partitions()
    for partition in (P0, P1):
        partitions.life(partition)
    for life in partitions:
        partitions.forget(life.partition)
    assert list(partitions) == []

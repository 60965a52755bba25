"""When a partition is read no further, and when again."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from docsluice_consumer.kafka.backpressure import OpenLimits
from docsluice_consumer.kafka.partitions import Partitions, PartitionState

LIMITS = OpenLimits(records_per_partition=8, records=16, bytes=1_000)


def _states(*open_counts: int, open_bytes: int = 0) -> tuple[Partitions, list[PartitionState]]:
    partitions = Partitions()
    states = [partitions.begin(TopicPartition("documents", number)) for number in range(len(open_counts))]
    for state, count in zip(states, open_counts, strict=True):
        for offset in range(count):
            state.offsets.opened(offset)
    states[0].open_bytes = open_bytes
    return partitions, states


@pytest.mark.parametrize(
    ("open_counts", "open_bytes", "is_full"),
    [
        ((7, 0), 0, False),
        ((8, 0), 0, True),
        ((1, 14), 0, False),
        ((1, 15), 0, True),
        ((1, 1), 999, False),
        ((1, 1), 1_000, True),
    ],
)
def test_a_partition_is_full_by_any_of_the_limits(
    open_counts: tuple[int, ...], open_bytes: int, *, is_full: bool
) -> None:
    """Its own records, those of all partitions, or the bytes of all."""
    partitions, (state, _) = _states(*open_counts, open_bytes=open_bytes)
    assert LIMITS.is_full(state, partitions) is is_full


@pytest.mark.parametrize(
    ("open_counts", "open_bytes", "has_room"),
    [
        ((5, 0), 0, True),
        ((6, 0), 0, False),
        ((1, 10), 0, True),
        ((1, 11), 0, False),
        ((1, 1), 749, True),
        ((1, 1), 750, False),
    ],
)
def test_it_has_room_again_below_three_quarters(
    open_counts: tuple[int, ...], open_bytes: int, *, has_room: bool
) -> None:
    """By all of the limits, so that one record does not pause it again at once."""
    partitions, (state, _) = _states(*open_counts, open_bytes=open_bytes)
    assert LIMITS.has_room(state, partitions) is has_room


def test_a_full_map_stops_the_reading() -> None:
    """What could not be remembered would be repeated after a crash."""
    limits = OpenLimits(records_per_partition=10_000, records=10_000, bytes=1_000)
    partitions, (state,) = _states(1_500)
    assert not limits.is_full(state, partitions)
    for offset in range(1, 1_500, 2):
        state.offsets.closed(offset)
    assert state.offsets.metadata_ratio() < 0.75
    for offset in range(1_500, 1_700):
        state.offsets.opened(offset)
        if offset % 2:
            state.offsets.closed(offset)
    assert limits.is_full(state, partitions)
    assert not limits.has_room(state, partitions)


@pytest.mark.parametrize(
    ("open_counts", "open_bytes", "room"),
    [((0, 0), 0, (8, 1_000)), ((5, 2), 400, (3, 600)), ((7, 7), 0, (1, 1_000)), ((8, 8), 2_000, (1, 1))],
)
def test_no_more_is_read_at_a_time_than_there_is_room_for(
    open_counts: tuple[int, ...], open_bytes: int, room: tuple[int, int]
) -> None:
    """Whichever partition the records are of, and one record always: a limit may be passed by one."""
    partitions, states = _states(*open_counts, open_bytes=open_bytes)
    assert LIMITS.room(states, partitions) == room

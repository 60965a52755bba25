"""Bounds on open records, so that memory is bounded whatever the backlog."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from docsluice_consumer.kafka.partitions import Partitions, PartitionState

_MAP_IS_FULL = 0.75
_RESUME_BELOW = 0.75


class Room(NamedTuple):
    """How much may be read at a time. At least one record."""

    records: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenLimits:
    """Records that were read and have not ended: waiting, in flight, backing off or awaiting publication.

    The record that reaches a limit is still opened, so the limit of bytes may be passed by one record.
    """

    records_per_partition: int
    records: int
    bytes: int

    def is_full(self, state: PartitionState, all_states: Partitions) -> bool:
        """Whether to read no more of this partition for now."""
        return (
            state.offsets.open_count >= self.records_per_partition
            or all_states.open_count >= self.records
            or all_states.open_bytes >= self.bytes
            or not state.offsets.map_is_below(_MAP_IS_FULL)
        )

    def room(self, states: Sequence[PartitionState], all_states: Partitions) -> Room:
        """How much may be read at a time without passing a limit by more than one record."""
        open_here = max((state.offsets.open_count for state in states), default=0)
        return Room(
            records=max(1, min(self.records_per_partition - open_here, self.records - all_states.open_count)),
            bytes=max(1, self.bytes - all_states.open_bytes),
        )

    def has_room(self, state: PartitionState, all_states: Partitions) -> bool:
        """Whether a paused partition may be read again. It waits for some room, or one record would pause it again."""
        return (
            state.offsets.open_count < self.records_per_partition * _RESUME_BELOW
            and all_states.open_count < self.records * _RESUME_BELOW
            and all_states.open_bytes < self.bytes * _RESUME_BELOW
            and state.offsets.map_is_below(_MAP_IS_FULL * _RESUME_BELOW)
        )

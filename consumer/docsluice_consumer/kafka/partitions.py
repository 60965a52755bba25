"""Our partitions, each with its open records and the tasks that work on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from docsluice_consumer.kafka.key_queues import KeyQueues
from docsluice_consumer.kafka.offsets import CommitPoint, Offsets, Run


@dataclass(eq=False, slots=True)
class PartitionState:
    """One partition, for as long as no other member has had it in between.

    Tasks keep the state that they were started in. So a late finisher closes its record there, and can never touch a
    later state of the same partition. `epoch` tells states apart for code that knows only the partition's number.
    """

    partition: TopicPartition
    epoch: int = 0
    offsets: Offsets = field(default_factory=Offsets)
    committed: CommitPoint | None = None
    attempted: CommitPoint | None = None
    """The last commit that was sent. Its answer may have been lost."""
    is_recreated: bool = False
    """Whether the log was truncated or recreated before this state, so that it begins below what was committed."""
    start: int | None = None
    """The first offset of the log, as of the last answer."""
    end: int | None = None
    """Up to where the log can be read: its end, or the first open transaction. As of the last answer."""
    answered_at: float = field(default_factory=time.monotonic)
    """When the broker last answered for this partition."""
    paused: bool = False
    open_bytes: int = 0
    tasks: dict[asyncio.Task[bool], float] = field(default_factory=dict)
    """Tasks, each with the time at which its record was read."""
    key_queues: KeyQueues = field(default_factory=KeyQueues)

    def to_commit(self) -> CommitPoint | None:
        """What to commit now. None if nothing has changed since the last commit."""
        point = self.offsets.committable()
        return None if point == self.committed else point

    @property
    def reads_from(self) -> int:
        """The lowest offset that may still come."""
        if self.offsets.next_offset is not None:
            return self.offsets.next_offset
        return self.committed.offset if self.committed is not None and not self.is_recreated else 0

    def lag(self) -> int | None:
        """Records that have not ended, read or not. None until the log's end is known."""
        if self.end is None:
            return None
        reads_from = max(self.reads_from, self.start or 0)
        return self.offsets.unread_between(reads_from, max(self.end, reads_from)) + self.offsets.open_count

    def ended(self, offset: int) -> None:
        """Note that a record has ended. A transaction may have closed it already."""
        if self.offsets.is_open(offset):
            self.offsets.closed(offset)

    def is_at(self, stored: CommitPoint | None) -> bool:
        """Whether the group's stored offset is ours, so nobody else has moved it."""
        if stored is not None and stored == self.attempted:
            self.committed = stored
        return stored == self.committed


class Partitions:
    """All states, by partition."""

    def __init__(self) -> None:
        self._states: dict[TopicPartition, PartitionState] = {}
        self._epoch = 0

    def next_epoch(self) -> int:
        """A new number for the next state."""
        self._epoch += 1
        return self._epoch

    def begin(
        self,
        partition: TopicPartition,
        *,
        epoch: int = 0,
        committed: CommitPoint | None = None,
        ended_before: Sequence[Run] = (),
        is_recreated: bool = False,
    ) -> PartitionState:
        """Begin a new state of a partition, from its committed point. The old state is forgotten."""
        self.forget(partition)
        state = PartitionState(
            partition,
            epoch=epoch,
            committed=committed,
            offsets=Offsets(ended_before),
            is_recreated=is_recreated,
        )
        self._states[partition] = state
        return state

    def find(self, partition: TopicPartition) -> PartitionState | None:
        """The partition's state, if it has one."""
        return self._states.get(partition)

    def forget(self, partition: TopicPartition) -> None:
        """Stop all work on a partition that another member has now, or has had in between."""
        state = self._states.pop(partition, None)
        for task in list(state.tasks) if state else ():
            task.cancel()

    def __iter__(self) -> Iterator[PartitionState]:
        return iter(list(self._states.values()))

    def tasks(self) -> set[asyncio.Task[bool]]:
        """All tasks."""
        return {task for state in self._states.values() for task in state.tasks}

    @property
    def open_count(self) -> int:
        """How many records are open, over all partitions."""
        return sum(state.offsets.open_count for state in self._states.values())

    @property
    def open_bytes(self) -> int:
        """How many bytes of records are held in memory, over all partitions."""
        return sum(state.open_bytes for state in self._states.values())

    def oldest(self) -> tuple[str, float] | None:
        """The record that has been open longest, as topic/partition@offset, and for how many seconds."""
        since = [(read_at, task.get_name()) for state in self._states.values() for task, read_at in state.tasks.items()]
        if not since:
            return None
        read_at, place = min(since)
        return place, time.monotonic() - read_at

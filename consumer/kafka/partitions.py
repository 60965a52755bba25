"""The partitions that are ours: each with its open records and the tasks that work on them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from consumer.kafka.offsets import CommitPoint, Offsets


@dataclass(eq=False, slots=True)
class PartitionLife:
    """One partition for as long as nobody else has had it in between.

    Tasks hold on to the life that they were started in, so that a late finisher closes its record there and can never
    touch a later life of the same partition.
    """

    partition: TopicPartition
    offsets: Offsets = field(default_factory=Offsets)
    committed: CommitPoint | None = None
    paused: bool = False
    tasks: dict[asyncio.Task[None], float] = field(default_factory=dict)
    """Each with the time at which its record was read."""

    def to_commit(self) -> CommitPoint | None:
        """What should be committed now; None when nothing has changed since the last commit."""
        point = self.offsets.committable()
        return None if point == self.committed else point


class Partitions:
    """All lives, by partition."""

    def __init__(self) -> None:
        self._lives: dict[TopicPartition, PartitionLife] = {}

    def life(self, partition: TopicPartition) -> PartitionLife:
        """The partition's life, begun now if it has none."""
        return self._lives.setdefault(partition, PartitionLife(partition))

    def find(self, partition: TopicPartition) -> PartitionLife | None:
        """The partition's life, if it has one."""
        return self._lives.get(partition)

    def forget(self, partition: TopicPartition) -> None:
        """Stop all work on a partition: it is someone else's now, or was in between."""
        life = self._lives.pop(partition, None)
        for task in list(life.tasks) if life else ():
            task.cancel()

    def __iter__(self) -> Iterator[PartitionLife]:
        return iter(list(self._lives.values()))

    def tasks(self) -> set[asyncio.Task[None]]:
        """All that is being worked on."""
        return {task for life in self._lives.values() for task in life.tasks}

    def to_commit(self) -> dict[TopicPartition, CommitPoint]:
        """What should be committed now."""
        points = {life.partition: life.to_commit() for life in self._lives.values()}
        return {partition: point for partition, point in points.items() if point is not None}

    def oldest_age_seconds(self) -> float:
        """How long the longest open record has been open; 0 when none is."""
        since = [read_at for life in self._lives.values() for read_at in life.tasks.values()]
        return time.monotonic() - min(since) if since else 0.0

"""Committing ended records, behind one protocol: a transaction commits in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from docsluice_consumer.kafka import error_mapping
from docsluice_consumer.kafka.offsets import CommitPoint
from docsluice_consumer.kafka.partitions import PartitionState
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


class Membership(Protocol):
    """Our place in the consumer group."""

    def owns(self, partition: TopicPartition) -> bool:
        """Whether the partition is ours as far as we know, and no rebalance is under way."""
        ...

    async def commit_offsets(self, points: Mapping[TopicPartition, CommitPoint]) -> None:
        """Commit through the group.

        Raises:
            KafkaError: it was refused, or not answered.
        """
        ...


class Committer(Protocol):
    """Commits the end of records."""

    async def acquire(self, partition: TopicPartition, *, epoch: int) -> None:
        """Take a partition over: its last owner can commit nothing for it from now on."""
        ...

    async def release(self, partition: TopicPartition) -> None:
        """Give a partition up."""
        ...

    async def commit(self, states: Sequence[PartitionState], membership: Membership) -> list[PartitionState]:
        """Commit what has ended in each, and return those partition states that turned out to be over.

        Raises:
            ServiceFault: waiting will not help.
        """
        ...


class GroupCommitter:
    """Commits through the consumer group, which refuses a member whose partitions have been given to others."""

    def __init__(self, *, metrics: Metrics) -> None:
        self._metrics = metrics
        metrics.expect_commits(("ok", "rebalanced", "failed"))

    async def acquire(self, partition: TopicPartition, *, epoch: int) -> None:
        """See `Committer.acquire`: the group does this."""

    async def release(self, partition: TopicPartition) -> None:
        """See `Committer.release`."""

    async def commit(self, states: Sequence[PartitionState], membership: Membership) -> list[PartitionState]:
        """See `Committer.commit`. During a rebalance nothing can be committed. The next round will."""
        points = {state: point for state in states if (point := state.to_commit()) is not None}
        if not points:
            return []
        for state, point in points.items():
            state.attempted = point
        try:
            await membership.commit_offsets({state.partition: point for state, point in points.items()})
        except (CommitFailedError, IllegalStateError):
            self._metrics.commit_finished("rebalanced")
            return []
        except KafkaError as error:
            self._metrics.commit_finished("failed")
            fault = error_mapping.translate(error, doing="commit offsets")
            if fault is not None:
                raise fault from error
            log.warning("commit.failed", error=f"{type(error).__name__}: {error}")
            return []
        self._metrics.commit_finished("ok")
        for state, point in points.items():
            state.committed = point
        return []

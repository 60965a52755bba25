"""Open transactions that nobody ends. A reader of committed records gets nothing past the first. Time is passed in."""

from __future__ import annotations

from dataclasses import dataclass

import structlog
from aiokafka import TopicPartition

log = structlog.get_logger(__name__)

_LONG_SECONDS = 60.0
"""The default timeout of a producer's transaction."""
_SAY_EVERY_SECONDS = 600.0


@dataclass(slots=True)
class _Stuck:
    """A partition whose readable end has not moved, though there are records behind it."""

    at: int
    since: float
    said_at: float = float("-inf")


class OpenTransactions:
    """Logs, once in a while, a partition in which a transaction has been open for long."""

    def __init__(self) -> None:
        self._stuck: dict[TopicPartition, _Stuck] = {}

    def note(self, partition: TopicPartition, stable: int, end: int, *, now: float) -> None:
        """Note up to where the partition can be read, and where it ends."""
        stuck = self._stuck.get(partition)
        if stable >= end:
            self._stuck.pop(partition, None)
            return
        if stuck is None or stuck.at != stable:
            stuck = self._stuck[partition] = _Stuck(stable, now)
        if now - stuck.since >= _LONG_SECONDS and now - stuck.said_at >= _SAY_EVERY_SECONDS:
            stuck.said_at = now
            log.warning(
                "transaction.open",
                topic=partition.topic,
                partition=partition.partition,
                offset=stable,
                records_behind_it=end - stable,
                seconds=round(now - stuck.since),
                remedy="a producer has begun a transaction and not ended it; nothing behind it can be read until it"
                " does, or until its transaction.timeout.ms is over; kafka-transactions.sh find-hanging names it",
            )

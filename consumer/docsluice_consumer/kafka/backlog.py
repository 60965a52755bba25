"""The gauges of the backlog."""

from __future__ import annotations

from docsluice_consumer.kafka.partitions import Partitions
from docsluice_consumer.telemetry.metrics import Metrics

_UNKNOWN = float("nan")


def report(partitions: Partitions, metrics: Metrics, *, is_complete: bool = True) -> None:
    """Update the gauges. The backlog is not a number until the end of each partition is known.

    `is_complete`: all our partitions are among them. After an assignment that takes a moment.
    """
    backlog = 0.0 if is_complete else _UNKNOWN
    for state in partitions:
        lag = state.lag()
        metrics.partition_seen(
            state.partition.topic,
            state.partition.partition,
            open_records=state.offsets.open_count,
            commit_ratio=state.offsets.metadata_ratio(),
            lag=lag,
        )
        backlog += _UNKNOWN if lag is None else lag
    oldest = partitions.oldest()
    metrics.backlog_seen(documents=backlog, oldest_seconds=oldest[1] if oldest else 0.0)

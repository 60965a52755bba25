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
        labels = {"topic": state.partition.topic, "partition": str(state.partition.partition)}
        metrics.partition_open_records.labels(**labels).set(state.offsets.open_count)
        metrics.commit_metadata_ratio.labels(**labels).set(state.offsets.metadata_ratio())
        lag = state.lag()
        if lag is not None:
            metrics.partition_lag_records.labels(**labels).set(lag)
        backlog += _UNKNOWN if lag is None else lag
    metrics.backlog_documents.set(backlog)
    oldest = partitions.oldest()
    metrics.oldest_open_record_age_seconds.set(oldest[1] if oldest else 0.0)

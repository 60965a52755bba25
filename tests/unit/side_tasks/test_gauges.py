"""What is shown of the backlog, and what is not a number because nobody knows it."""

from __future__ import annotations

import math

import pytest
from aiokafka import TopicPartition

from docsluice_consumer.kafka.backlog import report
from docsluice_consumer.kafka.offsets import CommitPoint
from docsluice_consumer.kafka.partitions import Partitions
from docsluice_consumer.side_tasks.gauges import Gauges
from docsluice_consumer.telemetry.metrics import Metrics

P0, P1 = TopicPartition("documents", 0), TopicPartition("documents", 1)


def test_a_backlog_is_no_number_until_every_end_is_known() -> None:
    """A sum that leaves a partition out would look like an answer."""
    partitions, metrics = Partitions(), Metrics()
    for partition in (P0, P1):
        partitions.begin(partition, committed=CommitPoint(0))
    for state, end, total in zip(partitions, (7, 5), (math.nan, 12), strict=True):
        state.start, state.end = 0, end
        report(partitions, metrics)
        assert metrics.total("backlog_documents") == pytest.approx(total, nan_ok=True)
    assert metrics.total("partition_lag_records", partition="0") == 7


def test_a_member_without_partitions_has_no_backlog() -> None:
    """That is known, and not unknown."""
    metrics = Metrics()
    report(Partitions(), metrics)
    assert metrics.total("backlog_documents") == 0


def test_a_backlog_is_no_number_before_it_was_looked_at() -> None:
    """Neither before the group has let us in, nor while it is looked up from where its partitions are read."""
    metrics = Metrics()
    assert math.isnan(metrics.total("backlog_documents"))
    report(Partitions(), metrics, is_complete=False)
    assert math.isnan(metrics.total("backlog_documents"))


@pytest.mark.parametrize(
    ("backlog", "documents", "eta", "cost"),
    [
        pytest.param(0, 0, 0, 0, id="nothing is left"),
        pytest.param(10, 0, math.nan, math.nan, id="nothing has ended yet"),
        pytest.param(10, 5, 20, 1, id="known"),
        pytest.param(math.nan, 5, math.nan, math.nan, id="the ends are unknown"),
    ],
)
def test_eta_and_cost_are_no_numbers_while_they_are_unknown(
    backlog: float, documents: int, eta: float, cost: float
) -> None:
    """0 seconds for 10 documents would be taken for the truth."""
    gauges = Gauges(Metrics())
    gauges._pace.note(now=0.0, documents=0, cost_usd=0)
    gauges._pace.note(now=10.0, documents=documents, cost_usd=documents * 0.1)
    assert gauges._eta_seconds(backlog) == pytest.approx(eta, nan_ok=True)
    assert gauges._cost_usd(backlog) == pytest.approx(cost, nan_ok=True)

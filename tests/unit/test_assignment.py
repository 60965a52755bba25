"""What is said of a group that does not come to rest, and of a topic that is not there."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from structlog.testing import capture_logs

from consumer.kafka.assignment import Assignment
from consumer.kafka.commits import GroupCommitter
from consumer.kafka.connection import Broker
from consumer.telemetry.metrics import Metrics


class Consumer:
    """As much of aiokafka's as an assignment of nothing takes. `partitions` are the topic's, None when it is gone."""

    def __init__(self, partitions: set[int] | None) -> None:
        self._partitions = partitions

    def pause(self, *partitions: TopicPartition) -> None:
        assert not partitions

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset()

    def subscription(self) -> frozenset[str]:
        return frozenset({"documents"})

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        assert topic == "documents"
        return self._partitions


def _assignment(partitions: set[int] | None) -> Assignment:
    metrics = Metrics()
    assignment = Assignment(
        broker=Broker(bootstrap_servers="nowhere:1"),
        group_id="g",
        committer=GroupCommitter(metrics=metrics),
        metrics=metrics,
        stop_because=lambda error: pytest.fail(repr(error)),
    )
    assignment.consumer = Consumer(partitions)
    return assignment


@pytest.mark.parametrize(
    ("times", "said"),
    [
        pytest.param(range(7), 0, id="a few"),
        pytest.param(range(8), 1, id="eight within a minute"),
        pytest.param(range(15), 1, id="not yet as many again"),
        pytest.param(range(16), 2, id="as many again"),
        pytest.param(range(0, 500, 10), 0, id="slow ones"),
    ],
)
def test_a_group_that_does_not_come_to_rest(times: range, said: int) -> None:
    """Many rebalances within a minute are said, once for as many."""
    assignment = _assignment({0})
    with capture_logs() as logs:
        for now in times:
            assignment._note_rebalance(now)
    assert [entry["event"] for entry in logs] == ["group.unsettled"] * said


@pytest.mark.parametrize(("partitions", "said"), [({0, 1}, ["partitions.none"]), (None, ["topic.gone"])])
async def test_a_topic_that_is_gone_is_said(partitions: set[int] | None, said: list[str]) -> None:
    """A member without partitions has nothing to do, which is said; a topic without them is something else."""
    with capture_logs() as logs:
        await _assignment(partitions).on_partitions_assigned([])
    assert [entry["event"] for entry in logs] == ["partitions.assigned", *said]

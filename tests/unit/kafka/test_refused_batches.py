"""Batches that are refused for long are told, and a moment without a leader is not."""

from __future__ import annotations

import logging

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    KafkaError,
    KafkaStorageError,
    NotEnoughReplicasAfterAppendError,
    NotEnoughReplicasError,
    NotLeaderForPartitionError,
)
from aiokafka.producer.sender import log as sender_log
from structlog.testing import capture_logs

from docsluice_consumer.kafka.refused_batches import RefusedBatches

RESULTS = TopicPartition("results", 0)
SAID = "Got error produce response on topic-partition %s, retrying. Error: %s"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def told(*refusals: tuple[float, TopicPartition, type[KafkaError]]) -> list[dict[str, object]]:
    """What is logged about refusals at these times."""
    clock = Clock()
    with RefusedBatches(clock).listening(), capture_logs() as logs:
        for clock.now, partition, kind in refusals:
            sender_log.warning(SAID, partition, kind)
    return [dict(line) for line in logs]


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        (NotEnoughReplicasError, "min.insync.replicas"),
        (NotEnoughReplicasAfterAppendError, "min.insync.replicas"),
        (KafkaStorageError, "a disk of the broker has failed or is full"),
        (NotLeaderForPartitionError, "NotLeaderForPartitionError"),
    ],
)
def test_refusals_that_go_on_are_told_with_their_cause(kind: type[KafkaError], cause: str) -> None:
    """Nothing is written, and nobody else says so."""
    (line,) = told(*((second / 2, RESULTS, kind) for second in range(60)))
    assert line["event"] == "publish.refused"
    assert line["topic"] == "results"
    assert cause in str(line["error"])


def test_it_is_told_again_after_a_minute() -> None:
    """An operator who looks later finds it, and the log is not full of it."""
    lines = told(*((float(second), RESULTS, NotEnoughReplicasError) for second in range(140)))
    assert [line["seconds"] for line in lines] == [10, 70, 130]


def test_a_moment_without_a_leader_is_no_news() -> None:
    """Each broker's restart has some, and they pass."""
    moments = [(start + second, RESULTS, NotLeaderForPartitionError) for start in (0.0, 100.0) for second in range(8)]
    assert told(*moments) == []


def test_each_topic_is_judged_by_itself() -> None:
    """One topic may be in order while the other is not."""
    both = [(float(s), TopicPartition(name, 0), NotEnoughReplicasError) for s in range(0, 12, 11) for name in "ab"]
    assert [line["topic"] for line in told(*both)] == ["a", "b"]


@pytest.mark.parametrize("level", [logging.CRITICAL, logging.WARNING])
def test_the_clients_own_log_is_as_it_was(caplog: pytest.LogCaptureFixture, level: int) -> None:
    """Whoever listens to it hears as much as before, also when this has ended."""
    caplog.set_level(level, "aiokafka")
    with RefusedBatches().listening():
        sender_log.warning(SAID, RESULTS, NotEnoughReplicasError)
        sender_log.warning("Got error produce response: %s", NotEnoughReplicasError())
    sender_log.warning("afterwards")
    assert len(caplog.records) == (3 if level == logging.WARNING else 0)

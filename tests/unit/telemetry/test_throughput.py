"""How fast documents end, seen over the last two minutes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.telemetry.throughput import Throughput, useful_replicas


def test_nothing_is_known_at_first() -> None:
    """No sample, or one, gives no pace: an estimate of a backlog would be a guess."""
    pace = Throughput()
    assert (pace.documents_per_second(), pace.cost_usd_per_document()) == (0, None)
    pace.note(now=5, documents=100, cost_usd=1)
    assert (pace.documents_per_second(), pace.cost_usd_per_document()) == (0, None)


def test_the_pace_is_the_difference_over_the_time() -> None:
    """What had ended before the first sample does not count."""
    pace = Throughput()
    pace.note(now=10, documents=100, cost_usd=5)
    pace.note(now=30, documents=140, cost_usd=7)
    assert pace.documents_per_second() == 2
    assert pace.cost_usd_per_document() == pytest.approx(0.05)


def test_what_is_long_ago_is_forgotten() -> None:
    """After a fast start the pace is the present one, two minutes later."""
    pace = Throughput()
    for second in range(0, 600, 10):
        pace.note(now=second, documents=1000 if second > 100 else second * 10, cost_usd=0)
    assert pace.documents_per_second() == 0


def test_rare_samples_still_give_a_pace() -> None:
    """Prometheus may look only every five minutes. Then the span is that long."""
    pace = Throughput()
    pace.note(now=0, documents=0, cost_usd=0)
    pace.note(now=300, documents=30, cost_usd=3)
    assert pace.documents_per_second() == pytest.approx(0.1)
    pace.note(now=600, documents=90, cost_usd=9)
    assert pace.documents_per_second() == pytest.approx(0.2)


def test_two_looks_at_one_instant_are_no_pace() -> None:
    """No division by the time between them."""
    pace = Throughput()
    pace.note(now=1, documents=0, cost_usd=0)
    pace.note(now=1, documents=5, cost_usd=1)
    assert pace.documents_per_second() == 0
    assert pace.cost_usd_per_document() == pytest.approx(0.2)


@given(st.lists(st.tuples(st.floats(0, 500), st.integers(0, 100), st.floats(0, 10)), min_size=1, max_size=60))
def test_a_pace_is_never_negative(steps: list[tuple[float, int, float]]) -> None:
    """Counters that only grow give paces that are at least 0, and the memory of them stays short."""
    pace, now, documents, cost = Throughput(), 0.0, 0, 0.0
    for seconds, more, dollars in steps:
        now, documents, cost = now + seconds, documents + more, cost + dollars
        pace.note(now=now, documents=documents, cost_usd=cost)
        assert pace.documents_per_second() >= 0
        assert (pace.cost_usd_per_document() or 0) >= 0
        inside = [sample for sample in pace._samples if now - sample[0] <= 120]
        assert len(pace._samples) <= len(inside) + 2


@pytest.mark.parametrize(
    ("partitions", "calls_in_flight", "useful"), [(12, 100.0, 12), (12, 3.2, 4), (12, 0.1, 1), (0, 5.0, 1), (3, 3.0, 3)]
)
def test_a_replica_needs_a_partition_and_a_call(partitions: int, calls_in_flight: float, useful: int) -> None:
    """Whichever there are fewer of. The first replica is always useful."""
    assert useful_replicas(partitions=partitions, calls_in_flight=calls_in_flight) == useful

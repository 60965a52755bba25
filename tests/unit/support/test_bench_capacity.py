"""The arithmetic of a fleet's capacity and its simulation say the same."""

from __future__ import annotations

import pytest

from tests.bench.capacity import Costs, Fleet
from tests.bench.capacity_simulation import simulated

_DOCUMENTS = 1e9
_SMALL = Costs(cpu_ms_per_document=4.0, transactions_per_second=100.0, store_writes_per_second=200.0)

FLEETS = {
    "calls in flight": Fleet(replicas=2, partitions=8, slots=64),
    "CPU of the replicas": Fleet(replicas=1, partitions=8, slots=800, costs=_SMALL, stores=4),
    "open records": Fleet(replicas=2, partitions=4, slots=200, open_records_per_partition=20, latency_seconds=0.7),
    "partitions": Fleet(replicas=8, partitions=2, slots=800, open_records_per_partition=50),
    "broker transactions": Fleet(
        replicas=4, partitions=200, slots=800, open_records_per_partition=3, costs=_SMALL, stores=4
    ),
    "store": Fleet(replicas=2, partitions=8, slots=600, costs=_SMALL),
    "account": Fleet(replicas=2, partitions=8, slots=200, requests_per_minute=6_000, exactly_once=False),
}


@pytest.mark.parametrize("first", FLEETS)
def test_the_arithmetic_is_what_a_fleet_does(first: str) -> None:
    """Event by event, a fleet does what its lowest bound says, whatever that is."""
    fleet = FLEETS[first]
    assert fleet.breaks_first == first
    assert simulated(fleet) == pytest.approx(fleet.documents_per_second, rel=0.04)


@pytest.mark.parametrize("delivery", [True, False])
def test_a_thousand_replicas_are_as_the_arithmetic_says(delivery: bool) -> None:  # noqa: FBT001 - a case
    """So are a thousand replicas, with few calls in flight each."""
    fleet = Fleet(replicas=1_000, partitions=1_000, slots=4_000, brokers=8, stores=50, exactly_once=delivery)
    assert simulated(fleet, seconds=4.0) == pytest.approx(fleet.documents_per_second, rel=0.04)
    assert fleet.hours(_DOCUMENTS) == pytest.approx(_DOCUMENTS / 4_000 / 3600)


def test_several_calls_of_a_document_take_several_slots() -> None:
    """Three calls take three times the slots, side by side."""
    fleet = Fleet(replicas=2, partitions=8, slots=96, calls_per_document=3)
    assert fleet.documents_per_second == pytest.approx(32)
    assert simulated(fleet) == pytest.approx(32, rel=0.04)


def test_the_replica_bounds_open_records_too() -> None:
    """Many partitions of few replicas cannot all be full."""
    fleet = Fleet(replicas=1, partitions=40, slots=500, open_records_per_replica=100, latency_seconds=0.7)
    assert fleet.breaks_first == "open records"
    assert simulated(fleet) == pytest.approx(fleet.documents_per_second, rel=0.04)


def test_a_busy_core_keeps_records_open() -> None:
    """What a transaction ends is replaced at once, and stands in a row before the core."""
    fleet = Fleet(replicas=2, partitions=2, slots=800, latency_seconds=0.7, costs=Costs(cpu_ms_per_document=3.0))
    assert fleet.breaks_first == "open records"
    assert fleet.documents_per_second < 0.9 * fleet.open_records / fleet.open_seconds
    assert simulated(fleet) == pytest.approx(fleet.documents_per_second, rel=0.04)


def test_replicas_without_a_partition_stand_idle() -> None:
    """Beyond the partitions, a replica adds nothing."""
    costs = Costs(cpu_ms_per_document=50.0)
    few, many = (Fleet(replicas=count, partitions=10, slots=20_000, costs=costs) for count in (10, 100))
    assert few.documents_per_second == many.documents_per_second == 200
    assert few.breaks_first == "CPU of the replicas"
    assert many.breaks_first == "partitions"


def test_a_commit_map_bounds_open_records() -> None:
    """A raised limit on open records does not help beyond what the metadata can tell."""
    fleet = Fleet(replicas=1, partitions=1, slots=1, open_records_per_partition=100_000)
    assert fleet.open_records == int(0.75 * 4096 / fleet.costs.map_bytes_per_gap)


def test_redis_breaks_when_it_serves_a_replica_less_often_than_a_bucket_runs_over() -> None:
    """Up to then it costs nothing."""
    costs = Costs(redis_calls_per_second=1_000, burst_seconds=0.5)
    few, many = (
        Fleet(
            replicas=count,
            partitions=2_000,
            slots=100_000,
            requests_per_minute=60_000,
            shares_limits=True,
            brokers=20,
            costs=costs,
        )
        for count in (500, 1_000)
    )
    assert few.documents_per_second == 1_000
    assert few.breaks_first == "account"
    assert many.documents_per_second == 500
    assert many.breaks_first == "Redis of the shared limits"


def test_the_lower_limit_of_an_account_counts() -> None:
    """Tokens a minute are calls a minute, by the tokens of a call."""
    fleet = Fleet(replicas=1, partitions=1, slots=1_000, requests_per_minute=6_000, tokens_per_minute=600_000)
    assert fleet.account_calls_per_second == pytest.approx(20)

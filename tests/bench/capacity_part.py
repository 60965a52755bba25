"""What fleets up to a thousand replicas do with a billion documents: by arithmetic, and event by event beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from tests.bench.capacity import Fleet
from tests.bench.capacity_simulation import simulated
from tests.bench.part import Case, Column, Options, Part, Played
from tests.bench.stage import Stage

DOCUMENTS = 1e9
_MOST_SIMULATED_QUICKLY = 10_000
"""Documents a second. Above, the simulation takes longer than the fleet."""
_SLOTS = 64
_ONE = Fleet(replicas=1, partitions=12, slots=_SLOTS)
FLEETS = {
    "1 replica, 64 calls in flight": _ONE,
    "10 replicas": replace(_ONE, replicas=10, partitions=60, slots=10 * _SLOTS, stores=10),
    "100 replicas": replace(_ONE, replicas=100, partitions=600, slots=100 * _SLOTS, stores=10),
    "100 replicas, 3 brokers": replace(_ONE, replicas=100, partitions=600, slots=100 * _SLOTS, stores=10, brokers=3),
    "1,000 replicas, 100 partitions": replace(
        _ONE, replicas=1_000, partitions=100, slots=1_000 * _SLOTS, stores=100, brokers=12
    ),
    "1,000 replicas, one broker": replace(
        _ONE, replicas=1_000, partitions=2_000, slots=1_000 * _SLOTS, stores=100, brokers=1
    ),
    "1,000 replicas, 12 brokers": replace(
        _ONE, replicas=1_000, partitions=2_000, slots=1_000 * _SLOTS, stores=100, brokers=12
    ),
    "1,000 replicas, 1 store": replace(
        _ONE, replicas=1_000, partitions=2_000, slots=1_000 * _SLOTS, stores=1, brokers=12
    ),
    "1,000 replicas, 100,000 requests a minute, in Redis": replace(
        _ONE,
        replicas=1_000,
        partitions=2_000,
        slots=1_000 * _SLOTS,
        stores=100,
        brokers=12,
        requests_per_minute=100_000,
        shares_limits=True,
    ),
}


def _cases(_stage: Stage, options: Options) -> Iterator[Case]:
    for name, fleet in FLEETS.items():
        yield Case(setup=name, contender="arithmetic", play=partial(_play, fleet, quick=options.quick))


def _play(fleet: Fleet, *, quick: bool) -> Played:
    pace = fleet.documents_per_second
    figures = {
        "documents_per_second": pace,
        "days": fleet.hours(DOCUMENTS) / 24,
        "transactions_per_second": fleet.transactions_per_second,
        "publish_seconds": fleet.open_seconds - fleet.latency_seconds,
        "series": float(fleet.series),
        "cores": pace * fleet.costs.cpu_ms_per_document / 1000,
    }
    if not quick or pace <= _MOST_SIMULATED_QUICKLY:
        figures["simulated"] = simulated(fleet, seconds=5.0)
    return Played(figures=figures, note=fleet.breaks_first)


PART = Part(
    name="capacity",
    caption="A billion documents, one call of a second each, exactly once. The note is what limits.",
    columns=(
        Column(figure="documents_per_second", title="documents a second"),
        Column(figure="simulated", title="simulated"),
        Column(figure="days", title="days", digits=1),
        Column(figure="cores", title="cores", digits=1),
        Column(figure="transactions_per_second", title="transactions a second"),
        Column(figure="publish_seconds", title="seconds to publish", digits=2),
        Column(figure="series", title="series"),
    ),
    cases=_cases,
    rounds=1,
)

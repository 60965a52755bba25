"""How many documents a second a fleet can do, and what stops it first: plain arithmetic. Pure.

Each thing that can limit has a bound of its own, in documents a second. The fleet does the lowest of them. Little's law
gives most of them: what is under way is the rate times how long it takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

_SECONDS_PER_MINUTE = 60.0
_METADATA_BYTES = 0.75 * 4096
"""A partition is paused when its commit map is that long."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a machine takes, as `make bench` has measured it on two cores. Measure your own.

    Attributes:
        cpu_ms_per_document: of one replica, for one call a document.
        transactions_per_second: of one broker, which also writes the records.
        store_writes_per_second: of one SQLite file.
        redis_calls_per_second: of one Redis that counts shared limits.
        burst_seconds: how much of a limit its shared bucket holds.
        map_bytes_per_gap: of the commit's metadata, for each open record with ended ones behind it.
        series_per_replica, series_per_partition: of Prometheus.
        replica_mib: memory of a replica at work.
    """

    cpu_ms_per_document: float = 1.9
    transactions_per_second: float = 500.0
    store_writes_per_second: float = 30_000.0
    redis_calls_per_second: float = 3_900.0
    burst_seconds: float = 0.7
    map_bytes_per_gap: float = 6.0
    series_per_replica: int = 160
    series_per_partition: int = 4
    replica_mib: float = 160.0


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What is run, and what it is asked to do.

    Attributes:
        slots: calls in flight, over all replicas (`DOCSLUICE_MAX_CONCURRENCY`).
        latency_seconds: the mean of a call.
        calls_per_document: 1 in mode `fused`, else one for each task. They run side by side.
        requests_per_minute, tokens_per_minute: of the account. None: no limit.
        stores: SQLite files, one for each machine with replicas.
        brokers: over which the partitions' coordinators are spread.
        shares_limits: whether replicas count the account's limits in Redis.
    """

    replicas: int
    partitions: int
    slots: int
    latency_seconds: float = 1.0
    calls_per_document: int = 1
    tokens_per_call: int = 500
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    exactly_once: bool = True
    commit_interval_seconds: float = 0.5
    open_records_per_partition: int = 256
    open_records_per_replica: int = 1024
    stores: int = 1
    brokers: int = 1
    shares_limits: bool = False
    costs: Costs = Costs()

    @property
    def useful_replicas(self) -> int:
        """A partition has one reader, so more replicas than partitions stand idle."""
        return min(self.replicas, self.partitions)

    @property
    def open_records_of_a_partition(self) -> int:
        """How many may be open there at once. The commit map has room for so many gaps, too."""
        return min(self.open_records_per_partition, int(_METADATA_BYTES / self.costs.map_bytes_per_gap))

    @property
    def open_records(self) -> int:
        """Records that may be open at once, over the whole fleet."""
        in_partitions = self.partitions * self.open_records_of_a_partition
        return min(in_partitions, self.useful_replicas * self.open_records_per_replica)

    @property
    def cycle_seconds(self) -> float:
        """From one commit of a partition to the next. Stretched where the brokers cannot do so many transactions."""
        if not self.exactly_once:
            return 0.0
        return max(self.commit_interval_seconds, self.partitions / self.broker_transactions_per_second)

    @property
    def broker_transactions_per_second(self) -> float:
        """What all brokers can do."""
        return self.brokers * self.costs.transactions_per_second

    @property
    def account_calls_per_second(self) -> float | None:
        """What the account's limits let through. None: without a limit."""
        limits = [
            *([] if self.requests_per_minute is None else [self.requests_per_minute]),
            *([] if self.tokens_per_minute is None else [self.tokens_per_minute / self.tokens_per_call]),
        ]
        return min(limits) / _SECONDS_PER_MINUTE if limits else None

    @property
    def series(self) -> int:
        """Of Prometheus, at each look."""
        return self.replicas * self.costs.series_per_replica + self.partitions * self.costs.series_per_partition

    @property
    def transactions_per_second(self) -> float:
        """At most one of each partition in each cycle, and no more than there are documents."""
        return min(self.partitions / self.cycle_seconds, self.documents_per_second) if self.exactly_once else 0.0

    @property
    def open_seconds(self) -> float:
        """How long a record is open at a low load: its calls, half a cycle until its transaction, and that itself.

        Where the brokers cannot keep up, a transaction waits for those of all other partitions: for a whole cycle.
        At least once there is no cycle, and publishing takes about as long as a transaction alone.
        """
        transaction = self.cycle_seconds if self.is_stretched else 1 / self.costs.transactions_per_second
        return self.latency_seconds + self.cycle_seconds / 2 + transaction

    @property
    def is_stretched(self) -> bool:
        """Whether the brokers cannot do a transaction of each partition in each commit interval."""
        return self.cycle_seconds > self.commit_interval_seconds

    @property
    def _pace_of_open_records(self) -> float:
        """By Little's law, with the row before a core.

        A transaction ends many records of a partition at once. Those that take their places wait for the core in a
        row: half as many on average. The row grows with the pace, which makes a quadratic equation.
        """
        row = self.cycle_seconds / self.partitions / 2 * self.costs.cpu_ms_per_document / 1000
        root = math.sqrt(self.open_seconds**2 + 4 * row * self.open_records)
        return 2 * self.open_records / (self.open_seconds + root)

    def bounds(self) -> Mapping[str, float]:
        """Documents a second that each thing allows."""
        calls = self.calls_per_document
        bounds = {
            "calls in flight": self.slots / (self.latency_seconds * calls),
            "CPU of the replicas": self.useful_replicas * 1000 / self.costs.cpu_ms_per_document,
            "open records": self._pace_of_open_records,
            "store": self.stores * self.costs.store_writes_per_second / calls,
        }
        account = self.account_calls_per_second
        if account is not None:
            bounds["account"] = account / calls
            if self.shares_limits:
                # A bucket holds the calls of a burst. If Redis serves each replica less often, the rest runs over.
                served = self.costs.burst_seconds * self.costs.redis_calls_per_second / self.useful_replicas
                bounds["Redis of the shared limits"] = account / calls * min(1.0, served)
        return bounds

    @property
    def documents_per_second(self) -> float:
        """What the fleet does with a backlog before it."""
        return min(self.bounds().values())

    @property
    def breaks_first(self) -> str:
        """What has the lowest bound, in words. It says so where partitions or transactions are behind it."""
        first = min(self.bounds(), key=lambda name: self.bounds()[name])
        if first in {"CPU of the replicas", "open records"} and self.partitions < self.replicas:
            return "partitions"
        if first == "open records" and self.is_stretched:
            return "broker transactions"
        return first

    def hours(self, documents: float) -> float:
        """How long so many documents take."""
        return documents / self.documents_per_second / 3600

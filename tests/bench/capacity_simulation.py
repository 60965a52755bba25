"""A fleet event by event, to hold the arithmetic of `capacity` against: queues, slots, transactions, latencies."""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from tests.bench.capacity import Fleet

_SIGMA = 0.5
_SEED = 20_261


@dataclass(slots=True)
class _Server:
    """Does one thing after the other. `busy_until` is when it is free."""

    busy_until: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """When this is done, behind all that came before."""
        self.busy_until = max(now, self.busy_until) + seconds
        return self.busy_until


@dataclass(slots=True)
class _Replica:
    slots: int
    core: _Server = field(default_factory=_Server)
    waiting: deque[int] = field(default_factory=deque)
    held: deque[int] = field(default_factory=deque)
    """Partitions that could read a record, were not so many open in the whole replica."""
    open: int = 0


@dataclass(slots=True)
class _Partition:
    replica: _Replica
    open: int = 0
    finished: int = 0


class _Simulation:
    """Documents without end. Every record is read, worked on, called for, stored and committed."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._costs = fleet.costs
        self._draws = random.Random(_SEED)
        self._events: list[tuple[float, int, Callable[[float, int], None], int]] = []
        self._numbers = count()
        useful = fleet.useful_replicas
        shares = [fleet.slots * (number + 1) // useful - fleet.slots * number // useful for number in range(useful)]
        self._replicas = [_Replica(slots=share) for share in shares]
        self._partitions = [_Partition(replica=self._replicas[n % useful]) for n in range(fleet.partitions)]
        self._stores = [_Server() for _ in range(fleet.stores)]
        self._brokers = [_Server() for _ in range(fleet.brokers)]
        self._account = _Server()
        self._ended = 0

    def documents_per_second(self, *, warm_up_seconds: float, seconds: float) -> float:
        """The pace after the warm-up."""
        for number in range(len(self._partitions)):
            if self._fleet.exactly_once:
                self._at(self._draws.uniform(0, self._fleet.cycle_seconds), self._cycle, number)
        for _ in range(self._fleet.open_records_of_a_partition):
            for number in range(len(self._partitions)):
                self._read(0.0, number)
        self._run(until=warm_up_seconds)
        before = self._ended
        self._run(until=warm_up_seconds + seconds)
        return (self._ended - before) / seconds

    def _run(self, *, until: float) -> None:
        while self._events and self._events[0][0] <= until:
            now, _, happens, number = heapq.heappop(self._events)
            happens(now, number)

    def _at(self, moment: float, happens: Callable[[float, int], None], number: int) -> None:
        heapq.heappush(self._events, (moment, next(self._numbers), happens, number))

    def _read(self, now: float, number: int) -> None:
        partition = self._partitions[number]
        replica = partition.replica
        if replica.open >= self._fleet.open_records_per_replica:
            replica.held.append(number)
            return
        partition.open += 1
        replica.open += 1
        self._at(replica.core.serve(now, self._costs.cpu_ms_per_document / 1000), self._admit, number)

    def _admit(self, now: float, number: int) -> None:
        replica = self._partitions[number].replica
        replica.waiting.append(number)
        self._call(now, replica)

    def _call(self, now: float, replica: _Replica) -> None:
        calls, limit = self._fleet.calls_per_document, self._fleet.account_calls_per_second
        while replica.waiting and replica.slots >= calls:
            replica.slots -= calls
            begin = self._account.serve(now, calls / limit) if limit is not None else now
            self._at(begin + self._latency(), self._answered, replica.waiting.popleft())

    def _latency(self) -> float:
        """Lognormal, with the fleet's mean."""
        return self._fleet.latency_seconds * math.exp(self._draws.gauss(-(_SIGMA**2) / 2, _SIGMA))

    def _answered(self, now: float, number: int) -> None:
        store = self._stores[number % len(self._stores)]
        writes = self._fleet.calls_per_document / self._costs.store_writes_per_second
        self._at(store.serve(now, writes), self._stored, number)

    def _stored(self, now: float, number: int) -> None:
        partition = self._partitions[number]
        partition.replica.slots += self._fleet.calls_per_document
        self._call(now, partition.replica)
        if self._fleet.exactly_once:
            partition.finished += 1
        else:
            self._end(now, number, 1)

    def _cycle(self, now: float, number: int) -> None:
        partition = self._partitions[number]
        finished, partition.finished = partition.finished, 0
        if not finished:
            self._at(now + self._fleet.commit_interval_seconds, self._cycle, number)
            return
        broker = self._brokers[number % len(self._brokers)]
        done = broker.serve(now, 1 / self._costs.transactions_per_second)
        self._at(done, lambda then, which: self._end(then, which, finished), number)
        self._at(max(done, now + self._fleet.commit_interval_seconds), self._cycle, number)

    def _end(self, now: float, number: int, documents: int) -> None:
        partition = self._partitions[number]
        partition.open -= documents
        partition.replica.open -= documents
        self._ended += documents
        partition.replica.held.extend([number] * documents)
        for _ in range(documents):
            self._read(now, partition.replica.held.popleft())


def simulated(fleet: Fleet, *, seconds: float = 20.0) -> float:
    """Documents a second of the fleet, over so many seconds of its own time."""
    warm_up = 4 * (fleet.latency_seconds + fleet.cycle_seconds)
    return _Simulation(fleet).documents_per_second(warm_up_seconds=warm_up, seconds=seconds)

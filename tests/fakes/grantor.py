"""The limits of an account as Redis counts them for all replicas, but on time that a test moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from docsluice_consumer.admission.leased_bucket import BURST_SECONDS
from docsluice_consumer.store.redis_quota import LEASE_SECONDS, Asked, Granted, LimitsAway
from tests.fakes.timer import ManualTimer


class FakeAccount:
    """See `redis_quota.lua`, of which this is the same in Python. `granted` and `returned` are the sums by key."""

    def __init__(self, timer: ManualTimer) -> None:
        self.timer = timer
        self.leases: dict[str, tuple[float, float]] = {}
        self.level: dict[str, float] = defaultdict(float)
        self.granted: dict[str, float] = defaultdict(float)
        self.returned: dict[str, float] = defaultdict(float)
        self.queues: dict[str, dict[str, float]] = defaultdict(dict)
        self.filled_at: dict[str, float] = {}

    def exchange(self, member: str, key: str, asked: Asked) -> Granted:
        now = self.timer.time()
        shares = sum(share for share, ends_at in self.leases.values() if ends_at > now)
        rate = asked.per_minute / 60 * min(1.0, shares)
        burst = max(1.0, rate * BURST_SECONDS)
        gained = rate * (now - self.filled_at.setdefault(key, now)) + asked.returned
        self.filled_at[key] = now
        level = min(burst, self.level[key] + gained)
        queue = self.queues[key]
        for other in [other for other in queue if self.leases[other][1] <= now]:
            del queue[other]
        others = list(queue)
        before = sum(queue[other] for other in others[: others.index(member) if member in queue else None])
        amount = max(0.0, min(asked.wanted, level - before)) if not before or level - before >= asked.needed else 0.0
        self.level[key] = level - amount
        self.granted[key] += amount
        self.returned[key] += asked.returned
        lacking = asked.needed - amount
        if lacking <= 1e-6:
            queue.pop(member, None)
            return Granted(amount=amount, wait_seconds=0.0)
        queue[member] = lacking
        return Granted(amount=amount, wait_seconds=(before + lacking - self.level[key]) / rate if rate else 1.0)


class FakeGrantor:
    """One replica's way to the account. `is_away` cuts it off, with `is_deaf` only the answers are lost.

    `refuses_buckets` is a server that answers as long as nothing is asked of it. `asked` is what was asked last.
    """

    def __init__(self, account: FakeAccount, member: str) -> None:
        self._account = account
        self._member = member
        self.is_away = False
        self.is_deaf = False
        self.refuses_buckets = False
        self.is_closed = False
        self.exchanges = 0
        self.asked: Mapping[str, Asked] = {}

    async def exchange(self, asked: Mapping[str, Asked], *, share: float) -> Mapping[str, Granted]:
        if self.is_away or (self.refuses_buckets and asked):
            raise LimitsAway("connection refused")
        self.exchanges += 1
        self.asked = asked
        self._account.leases[self._member] = (share, self._account.timer.time() + LEASE_SECONDS)
        granted = {key: self._account.exchange(self._member, key, of_one) for key, of_one in asked.items()}
        if self.is_deaf:
            raise LimitsAway("no answer")
        return granted

    async def close(self) -> None:
        self.is_closed = True

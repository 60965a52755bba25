"""Replicas of one account, that share their limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from docsluice_consumer.side_tasks.quota_lease import QuotaLease
from tests.fakes.desk import Call, Desk
from tests.fakes.grantor import FakeAccount, FakeGrantor
from tests.fakes.timer import ManualTimer

TICK_SECONDS = 0.02


class Replica(Desk):
    """A desk, and the lease that brings it grants."""

    def __init__(self, account: FakeAccount, name: str, share: float, **limits: Any) -> None:
        super().__init__(timer=account.timer, **limits)
        self.grantor = FakeGrantor(account, name)
        self.deaths: list[BaseException] = []
        self.quota_lease = QuotaLease(
            admission=self.admission,
            grantor=self.grantor,
            clock=self.timer,
            change=self.change,
            stop_because=self.deaths.append,
        )
        self.quota_lease.set_share(share)
        self.due_at = self.timer.time()

    async def go_on(self) -> None:
        if self.change.is_set() or self.timer.time() >= self.due_at - 1e-9:
            self.due_at = self.timer.time() + await self.quota_lease.step()


class Site:
    """Replicas of one account, with equal shares unless told otherwise."""

    def __init__(self, *, replicas: int = 1, shares: Sequence[float] | None = None, **limits: Any) -> None:
        self.timer = ManualTimer()
        self.account = FakeAccount(self.timer)
        shares = shares or [1 / replicas] * replicas
        self.replicas = [Replica(self.account, f"r{n}", share, **limits) for n, share in enumerate(shares)]

    async def run(self, seconds: float) -> None:
        until = self.timer.time() + seconds
        while self.timer.time() < until - 1e-9:
            for replica in self.replicas:
                await replica.go_on()
            await self.timer.run(TICK_SECONDS)

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.close()
            await replica.quota_lease.close()

    @property
    def admitted(self) -> list[Call]:
        calls = [call for replica in self.replicas for call in replica.admitted]
        return sorted(calls, key=lambda call: call.admitted_at or 0.0)


async def started(**more: Any) -> Site:
    site = Site(**more)
    for replica in site.replicas:
        await replica.go_on()
    return site

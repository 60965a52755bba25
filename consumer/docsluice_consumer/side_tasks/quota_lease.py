"""Limits shared by replicas: claims what the queues need, and falls back on our share without an answer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Protocol

import structlog

from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.leased_bucket import Grant
from docsluice_consumer.runtime.supervision import end, supervised
from docsluice_consumer.store.redis_quota import LEASE_SECONDS, Asked, Granted, LimitsAway

log = structlog.get_logger(__name__)

_LEAST_SECONDS = 0.02
"""The shortest time between exchanges. New demand goes with the next one."""
_MOST_SECONDS = 0.5
"""The longest time between exchanges. Grants of a longer time would be too much for the bucket."""
_RENEW_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_REMEDY = (
    "see to the server that DOCSLUICE_SHARED_LIMITS_URL names; until it is back, each replica keeps to its share of "
    "the limits, as its partitions are of all"
)


class Clock(Protocol):
    """Time. An asyncio event loop is one."""

    def time(self) -> float:
        """Seconds, never going back."""
        ...


class QuotaServer(Protocol):
    """Counts the limits for all replicas. `RedisQuota` is one."""

    async def exchange(self, asked: Mapping[str, Asked], *, share: float) -> Mapping[str, Granted]:
        """See `RedisQuota.exchange`."""
        ...

    async def close(self) -> None:
        """End it."""
        ...


class QuotaLease:
    """Brings grants to `admission`, until closed. `change` is set whenever there may be something to claim.

    A replica's share of the limits belongs to all replicas while the server hears of it. A replica that is cut off lets
    no call out until its share is its own again. It then goes on with that share alone.

    `stop_because` is called with an error that would leave it without grants for good.
    """

    def __init__(
        self,
        *,
        admission: Admission,
        grantor: QuotaServer,
        clock: Clock,
        change: asyncio.Event,
        stop_because: Callable[[BaseException], None],
    ) -> None:
        self._admission = admission
        self._grantor = grantor
        self._clock = clock
        self._change = change
        self._stop_because = stop_because
        self._share = self._told_share = 0.0
        self._told_at = self._alone_at = clock.time()
        self._is_shared = False
        self._is_away = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the first exchange, and go on in a task."""
        await self.step()
        self._task = supervised(self._go_on(), name="limits.share", stop_because=self._stop_because)

    def set_share(self, share: float) -> None:
        """Set our share of the limits, to lend or to keep."""
        self._share = share
        self._admission.set_share(share)
        self._change.set()

    async def close(self) -> None:
        """Give back what is in hand."""
        if self._task is not None:
            await end(self._task)
        is_well = self._task is None or self._task.cancelled()
        if is_well and self._is_shared and not self._is_away:
            self._admission.lease_demand.unanswered()  # if it was cancelled in the middle of an exchange
            self._admission.lease_demand.return_all()
            with contextlib.suppress(LimitsAway):
                await self._exchange(share=0.0)
        await self._grantor.close()

    async def step(self) -> float:
        """Make one exchange, if there is anything to claim. Returns the seconds until the next one at the latest."""
        self._change.clear()
        try:
            if self._is_away or not self._is_shared:
                await self._come_back()
            seconds = await self._exchange(share=self._share)
        except LimitsAway as away:
            return self._wait_for_return(str(away))
        if self._is_away:
            self._is_away = False
            log.warning("limits.back")
        return seconds

    async def _go_on(self) -> None:
        while True:
            seconds = await self.step()
            await asyncio.sleep(_LEAST_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds - _LEAST_SECONDS):
                    await self._change.wait()

    async def _exchange(self, *, share: float) -> float:
        claims, now = self._admission.lease_demand.collected(now=self._clock.time()), self._clock.time()
        renews_in = self._told_at + _RENEW_SECONDS - now
        if not claims and share == self._told_share and renews_in > 0:
            return renews_in
        asked = {key: Asked(**asdict(claim)) for key, claim in claims.items()}
        granted = await self._grantor.exchange(asked, share=share)
        self._told_at, self._told_share = now, share
        grants = {key: Grant(amount=of.amount, wait_seconds=of.wait_seconds) for key, of in granted.items()}
        self._admission.lease_demand.granted(grants)
        self._admission.wake()
        waits = [of.wait_seconds for of in granted.values() if of.wait_seconds > 0]
        return max(_LEAST_SECONDS, min([*waits, _MOST_SECONDS])) if waits else _RENEW_SECONDS

    def _wait_for_return(self, reason: str) -> float:
        """Wait for our share. It is ours again only when the server cannot have heard of us for a lease's length."""
        now = self._clock.time()
        if self._is_shared:
            self._admission.lease_demand.unanswered()
        if not self._is_away:
            self._is_away = True
            self._alone_at = now + LEASE_SECONDS
            log.warning("limits.away", error=reason, remedy=_REMEDY)
        if self._is_shared and now >= self._alone_at:
            self._is_shared = False
            self._admission.set_shared(False)
        return min(_RETRY_SECONDS, self._alone_at - now) if self._is_shared else _RETRY_SECONDS

    async def _come_back(self) -> None:
        """Try an exchange without share and claims, which loses nothing if unanswered. Then lend our share."""
        nothing = {key: Asked(**asdict(claim)) for key, claim in self._admission.lease_demand.nothing().items()}
        await self._grantor.exchange(nothing, share=0.0)
        if not self._is_shared:
            self._is_shared = True
            self._admission.set_shared(True)
        self._told_share = 0.0

"""When a call may go out: one queue for each model, in the order of the documents, and one timer. Nothing polls.

The head of a queue waits until every constraint has room for it. So small requests never starve a large one, and wait
behind it. Queues that share something share it in the same order: first come, first served.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Protocol

from docsluice_consumer.admission.adaptive_concurrency import AdaptiveConcurrency
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.lease_demand import LeaseDemand
from docsluice_consumer.admission.limits import CallRequest, Limits
from docsluice_consumer.admission.listener import AdmissionListener
from docsluice_consumer.admission.model_queue import ModelQueue, Waiter
from docsluice_consumer.admission.model_queues import ModelQueues
from docsluice_consumer.admission.obstacles import BUDGET, CIRCUIT, CONCURRENCY, GATE, Obstacles
from docsluice_consumer.admission.permit import LONG_PAUSE_SECONDS, Account, Permit
from docsluice_consumer.admission.quota import INPUT_TOKENS, OUTPUT_TOKENS, QUOTAS, REQUESTS, TOKENS, Quota
from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.model_ref import ModelRef

_OWN = frozenset({GATE, CIRCUIT, BUDGET})
_LONGEST_ALARM_SECONDS = 60.0
"""The budget's windows go by the time of day, which may jump, so they are checked once a minute."""
_PAUSE_AT_WAITERS = 8
"""Calls that must wait at an open circuit before reading pauses. Among fewer, none may be able to close it."""
_PAUSE_AT_MOST_WAITERS = 64
"""At most as many wait as may be in flight, to go out at once when the circuit closes. This caps that number."""


class Timer(Protocol):
    """Time and alarms. An asyncio event loop is one."""

    def time(self) -> float:
        """Seconds, never going back."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        """Call back after `delay` seconds."""
        ...


class CircuitOpened(Exception):
    """The model that a call waits for fails, or has asked for a long pause, and the call has an alternative."""


class Admission:
    """Admits calls within `limits` and `budget`, and hears from their permits how they ended.

    `clock` is the time of day: the budget's windows go by it.
    """

    def __init__(
        self,
        *,
        limits: Limits,
        timer: Timer,
        listener: AdmissionListener | None = None,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timer = timer
        self._listener = listener or AdmissionListener()
        self._clock = clock
        self._concurrency = AdaptiveConcurrency(
            floor=limits.min_concurrency or limits.max_concurrency, ceiling=limits.max_concurrency
        )
        self._budget = budget or Budget()
        self._queues = ModelQueues(limits=limits, now=timer.time())
        self._obstacles = Obstacles(budget=self._budget, concurrency=self._concurrency, clock=clock)
        self.lease_demand = LeaseDemand(queues=self._queues, obstacles=self._obstacles)
        """Demand for limits that all replicas share. Call `wake` after `granted`."""
        self._account = Account(
            budget=self._budget, concurrency=self._concurrency, listener=self, now=timer.time, clock=clock
        )
        self._arrivals = itertools.count()
        self._in_flight = 0
        self._alarm: asyncio.TimerHandle | None = None

    def charge(self, cost_usd: Decimal) -> None:
        """Charge the budget for a call that was made in another call's slot."""
        self._budget.settle(Decimal(0), cost_usd, now=self._clock())

    def take_place(self) -> int:
        """Take the next place in the order of arrival, over all queues."""
        return next(self._arrivals)

    @contextlib.asynccontextmanager
    async def admit(self, request: CallRequest) -> AsyncIterator[Permit]:
        """Wait for admission in the queue's order, and hold a concurrency slot while inside.

        Raises:
            CircuitOpened: the model fails or has asked for a long pause, and an alternative is well.
        """
        queue = self._queue(request.model)
        waiter = await self._wait_for_turn(queue, request)
        permit = Permit(waiter=waiter, queue=queue, in_flight=self._in_flight, account=self._account)
        try:
            yield permit
        finally:
            permit.close()
            self._in_flight -= 1
            self._admit_ready()

    def fits(self, request: CallRequest) -> str | None:
        """None if such a call can ever pass, else a sentence: a call above a whole minute's limit never can.

        Only limits that a person has set count. A provider's word is obeyed, but turns no document away.
        """
        queue = self._queue(request.model)
        for quota in queue.quotas:
            amount = quota.amount(request.usage)
            if quota.name != REQUESTS and quota.configured is not None and amount > quota.configured:
                return f"needs at least {amount} {quota.name}, and the limit is {quota.configured:.0f} a minute"
        return None

    def most_input_tokens(self, model: ModelRef, *, output_tokens: int) -> float:
        """The largest input, in tokens, with which such a call could ever pass the limits that a person has set.

        Else infinite.
        """
        most = float("inf")
        for quota in self._queue(model).quotas:
            if quota.configured is not None and quota.name in {TOKENS, INPUT_TOKENS}:
                most = min(most, quota.configured - (output_tokens if quota.name == TOKENS else 0))
        return most

    def is_failing(self, model: ModelRef) -> bool:
        """Whether a model's circuit is open."""
        return self._queue(model).circuit_breaker.is_open

    def would_take(self, model: ModelRef) -> bool:
        """Whether a call to a model could go out if limits allow: the model is well, or due for a probe."""
        queue = self._queue(model)
        if queue.circuit_breaker.is_open:
            return queue.circuit_breaker.wait_seconds(now=self._timer.time()) == 0 and queue.head() is None
        return self._pause_seconds(queue, crowd=self.max_in_flight) < LONG_PAUSE_SECONDS

    def pause_reason(self) -> str | None:
        """Why nothing more should be read for now: `circuit` or `budget`, for as long as calls wait for it, or None."""
        waiting = [queue for queue in self._queues if queue.limited_by and queue.waiters]
        if any(queue.limited_by and queue.limited_by[0] == BUDGET for queue in waiting):
            return BUDGET
        waiters = sum(len(queue.waiters) for queue in waiting)
        is_well = any(not queue.circuit_breaker.is_open for queue in self._queues)
        enough = min(max(_PAUSE_AT_WAITERS, self.max_in_flight), _PAUSE_AT_MOST_WAITERS)
        # Once all were tried in vain, all may be to blame. The document that closes the circuit may still be unread.
        is_enough = waiters >= enough and any(queue.has_untried for queue in waiting)
        return CIRCUIT if is_enough and not is_well else None

    def cancel_if_blocked(self) -> None:
        """Cancel all waiting calls if no call is in flight and only the end of a pause would let one out.

        For a drain: a call that waits for a failing provider, or for a budget, would only use up its time.
        """
        waiting = [queue for queue in self._queues if queue.waiters]
        if self._in_flight or not all(queue.limited_by and queue.limited_by[0] in _OWN for queue in waiting):
            return
        for waiter in [waiter for queue in waiting for waiter in queue.waiters]:
            waiter.admitted.cancel()

    def now(self) -> float:
        """Monotonic seconds, the clock of all pauses."""
        return self._timer.time()

    def set_share(self, share: float) -> None:
        """Set our share of every limit, for replicas that share an account."""
        self._concurrency.set_share(share, now=self._timer.time())
        self._queues.set_share(share, now=self._timer.time())
        self._budget.set_share(share, now=self._clock())
        self._admit_ready()

    def set_shared(self, is_shared: bool) -> None:  # noqa: FBT001 - it is the whole message
        """Say whether the limits a minute are counted for all replicas in one place, and granted from there.

        If so, `lease_demand` must be served. If not, our share of them is ours alone.
        """
        self._queues.set_shared(is_shared, now=self._timer.time())
        self._admit_ready()

    def wake(self) -> None:
        """Admit every call that has room now, after something was granted or has come back. Slots have not."""
        if any(queue.limited_by is not None and queue.limited_by[0] != CONCURRENCY for queue in self._queues):
            self._admit_ready()
        else:
            self._listener.changed()

    def paused(self, queue: ModelQueue, seconds: float) -> None:
        """See `PermitListener`."""
        self._listener.paused(queue.model, seconds)
        self._divert(queue)

    def circuit_opened(self, queue: ModelQueue, reason: str, fault: DocsluiceError) -> None:
        """See `PermitListener`."""
        self._listener.circuit_opened(queue.model, reason, fault)
        self._divert(queue)

    def circuit_closed(self, queue: ModelQueue) -> None:
        """See `PermitListener`. Calls that wait for a failing or paused model may choose this one."""
        self._listener.circuit_closed(queue.model)
        for other in self._queues:
            if other.circuit_breaker.is_open or self._pause_seconds(other, crowd=1) >= LONG_PAUSE_SECONDS:
                self._divert(other)

    def limits_and_available(self) -> dict[str, tuple[float, float]]:
        """For each constraint, its limit and what is left of it. Of several quotas the tightest counts."""
        self._account_waits()  # a look counts calls that still wait, too
        now, limit = self._timer.time(), self.max_in_flight
        found: dict[str, tuple[float, float]] = {CONCURRENCY: (float(limit), float(limit - self._in_flight))}
        for quota in self._queues.quotas():
            available = quota.available(now=now)
            if quota.per_minute is None or available is None:
                continue
            if quota.name not in found or available < found[quota.name][1]:
                found[quota.name] = (quota.per_minute, available)
        return found

    def useful_in_flight(self, *, input_tokens: float, output_tokens: float, seconds: float) -> float:
        """How many calls of this size and length the whole account's limits allow in flight."""
        sizes = {REQUESTS: 1.0, INPUT_TOKENS: input_tokens, OUTPUT_TOKENS: output_tokens}
        sizes[TOKENS] = input_tokens + output_tokens
        per_minute = self._queues.calls_per_minute(sizes, now=self._timer.time())
        return min(self._concurrency.whole, per_minute / 60.0 * seconds)

    def budget_spent_ratios(self) -> dict[str, float]:
        """By window, the part of the budget that is spent."""
        return self._budget.spent_ratios(now=self._clock())

    def circuits(self) -> dict[ModelRef, bool]:
        """By model, whether its circuit is open."""
        return {queue.model: queue.circuit_breaker.is_open for queue in self._queues}

    @property
    def constraints(self) -> tuple[str, ...]:
        """What may hold calls back. A provider may name a limit of any kind at any time."""
        budget = (BUDGET,) if self._budget.is_set else ()
        return (CONCURRENCY, *QUOTAS, GATE, CIRCUIT, *budget)

    def limited_by(self) -> str | None:
        """The constraint for which a queue's head waits now, if any.

        Of several heads, the one that has waited longest.
        """
        limited = [queue for queue in self._queues if queue.limited_by and queue.waiters]
        first = min(limited, key=lambda queue: queue.waiters[0].number, default=None)
        return first.limited_by[0] if first and first.limited_by else None

    @property
    def max_in_flight(self) -> int:
        """Our share of the concurrency: how many calls may be in flight."""
        return self._concurrency.limit

    async def _wait_for_turn(self, queue: ModelQueue, request: CallRequest) -> Waiter:
        place = self.take_place() if request.place is None else request.place
        waiter = Waiter(place, request, asyncio.get_running_loop().create_future())
        self._account_waits()
        queue.enqueue(waiter)
        self._admit_ready()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._withdraw(queue, waiter)
            raise
        return waiter

    def _withdraw(self, queue: ModelQueue, waiter: Waiter) -> None:
        """A cancelled waiter leaves nothing taken, even when it was admitted just before it was cancelled."""
        if waiter.admitted.cancelled():
            self._account_waits()
            with contextlib.suppress(ValueError):  # the queue's head may have been skipped already
                queue.waiters.remove(waiter)
        elif waiter.admitted.exception() is None:
            self._in_flight -= 1
            for quota, reserved in waiter.reserved.items():
                quota.settle(reserved, 0.0, now=self._timer.time())
            self._budget.settle(waiter.request.cost_usd, Decimal(0), now=self._clock())
            if waiter.admitted.result():
                queue.circuit_breaker.given_up(now=self._timer.time())
        self._admit_ready()

    def _divert(self, queue: ModelQueue) -> None:
        """Let calls choose again if their model fails or has paused, and another one is well."""
        self._account_waits()
        for waiter in list(queue.waiters):
            if any(self.would_take(model) for model in waiter.request.alternatives):
                queue.waiters.remove(waiter)
                if not waiter.has_left:
                    waiter.admitted.set_exception(CircuitOpened())

    def _admit_ready(self) -> None:
        """Admit every call that has room, then set the alarm for the next one."""
        self._account_waits()
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        while True:
            ready, seconds = self._look()
            if ready is None:
                break
            self._let_out(ready)
        if seconds is not None:
            self._alarm = self._timer.call_later(min(seconds, _LONGEST_ALARM_SECONDS), self._admit_ready)
        self._listener.changed()

    def _look(self) -> tuple[ModelQueue | None, float | None]:
        """The queue whose head may go out now, else None, and the seconds after which to look again."""
        now = self._timer.time()
        heads = []
        for queue in self._queues:
            queue.limited_by = None
            if waiter := queue.head():
                heads.append((waiter, queue))
        claimed: set[Quota] = set()
        soonest: float | None = None
        for waiter, queue in sorted(heads, key=lambda head: head[0].number):
            obstacle = self._obstacles.of(queue, waiter.request, claimed=claimed, in_flight=self._in_flight, now=now)
            if obstacle is None:
                return queue, None
            queue.limited_by = (obstacle.constraint, now)
            if obstacle.is_shared:
                claimed.update(queue.shared)
            if obstacle.seconds is not None:
                soonest = obstacle.seconds if soonest is None else min(soonest, obstacle.seconds)
        return None, soonest

    def _pause_seconds(self, queue: ModelQueue, *, crowd: int) -> float:
        return queue.cooldown.wait_seconds(now=self._timer.time(), crowd=crowd)

    def _let_out(self, queue: ModelQueue) -> None:
        now, waiter = self._timer.time(), queue.waiters.popleft()
        for quota in queue.quotas:
            waiter.reserved[quota] = quota.reserve(waiter.request, now=now)
        self._budget.reserve(waiter.request.cost_usd)
        queue.cooldown.passed()
        queue.let_out += 1
        queue.limited_by = None
        self._in_flight += 1
        is_probe = queue.circuit_breaker.sent(now=now)
        waiter.admitted.set_result(is_probe)
        if is_probe:
            self._divert(queue)

    def _account_waits(self) -> None:
        now = self._timer.time()
        for queue in self._queues:
            queue.account_wait(self._listener.waited, now=now)

    def _queue(self, model: ModelRef) -> ModelQueue:
        return self._queues.of(model, now=self._timer.time())

"""When a call may go out: one queue, first come first served, and one timer; nothing polls.

The head of the queue waits until every constraint has room for it. A large request is therefore never starved by
small ones behind it, at the price that they wait with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from consumer.admission.bucket import Bucket
from consumer.contracts import Usage

CONCURRENCY = "concurrency"
REQUESTS = "requests"
INPUT_TOKENS = "input_tokens"
OUTPUT_TOKENS = "output_tokens"
TOKENS = "tokens"
GATE = "gate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the provider allows; None means no limit is known. `tokens_per_minute` counts input and output together."""

    max_concurrency: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None


class Timer(Protocol):
    """Time and alarms; an asyncio event loop is one."""

    def time(self) -> float:
        """Seconds, never going back."""
        ...

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        """Call back after `delay` seconds."""
        ...


class Reservation:
    """What a call took from the buckets before it went out."""

    def __init__(self, *, reserved: Usage, settle: Callable[[Usage, Usage], None]) -> None:
        self._reserved = reserved
        self._settle = settle

    def settle(self, actual: Usage) -> None:
        """Give back, or take, the difference to what was really used.

        A call that is never settled keeps its reservation: the provider may have counted a call that timed out.
        """
        self._settle(self._reserved, actual)
        self._reserved = actual


@dataclass(eq=False, slots=True)
class _Waiter:
    admitted: asyncio.Future[None]
    estimate: Usage


class Admission:
    """Admits calls within `limits`. `on_wait(constraint, seconds)` hears how long each constraint held calls back."""

    def __init__(self, *, limits: Limits, timer: Timer, on_wait: Callable[[str, float], None]) -> None:
        self._timer = timer
        self._on_wait = on_wait
        self._max_concurrency = limits.max_concurrency
        self._in_flight = 0
        self._buckets = _buckets(limits, now=timer.time())
        self._waiters: deque[_Waiter] = deque()
        self._gate_opens_at = 0.0
        self._alarm: asyncio.TimerHandle | None = None
        self._held_back_by: tuple[str, float] | None = None

    @contextlib.asynccontextmanager
    async def admit(self, estimate: Usage) -> AsyncIterator[Reservation]:
        """Wait for a place in the queue's order, and hold one of the concurrent slots while inside."""
        await self._wait_for_turn(estimate)
        try:
            yield Reservation(reserved=estimate, settle=self._settle)
        finally:
            self._in_flight -= 1
            self._admit_ready()

    def fits(self, estimate: Usage) -> str | None:
        """None when such a call can ever pass, else a sentence: more than a whole minute's limit never can."""
        for constraint, bucket in self._buckets.items():
            amount = _amount(constraint, estimate)
            if constraint != REQUESTS and amount > bucket.per_minute:  # one request passes at any rate, in time
                return f"needs about {amount} {constraint}, and the limit is {bucket.per_minute:.0f} a minute"
        return None

    def close_gate(self, seconds: float) -> None:
        """Let nobody out for so long: the provider has asked for it."""
        self._gate_opens_at = max(self._gate_opens_at, self._timer.time() + seconds)
        self._admit_ready()

    def limits_and_available(self) -> dict[str, tuple[float, float]]:
        """For each constraint, its limit and what is left of it now; for the metrics."""
        now = self._timer.time()
        buckets = {name: (bucket.per_minute, bucket.available(now=now)) for name, bucket in self._buckets.items()}
        free = float(self._max_concurrency - self._in_flight)
        return {CONCURRENCY: (float(self._max_concurrency), free), **buckets}

    @property
    def constraints(self) -> tuple[str, ...]:
        """All that may ever hold a call back under these limits."""
        return (CONCURRENCY, *self._buckets, GATE)

    def held_back_by(self) -> str | None:
        """The constraint for which the head of the queue waits now, if any."""
        return self._held_back_by[0] if self._held_back_by else None

    async def _wait_for_turn(self, estimate: Usage) -> None:
        waiter = _Waiter(asyncio.get_running_loop().create_future(), estimate)
        self._account_wait()
        self._waiters.append(waiter)
        self._admit_ready()
        try:
            await waiter.admitted
        except asyncio.CancelledError:
            self._withdraw(waiter)
            raise

    def _withdraw(self, waiter: _Waiter) -> None:
        """A cancelled waiter leaves nothing taken, even when it was admitted just before it was cancelled."""
        if waiter.admitted.cancelled():
            self._account_wait()
            with contextlib.suppress(ValueError):  # the queue's head may have been passed over already
                self._waiters.remove(waiter)
        else:
            self._in_flight -= 1
            self._settle(waiter.estimate, Usage(), requests=-1)
        self._admit_ready()

    def _admit_ready(self) -> None:
        """Admit from the head as many as there is room for, then set the alarm for the next one."""
        self._account_wait()
        if self._alarm:
            self._alarm.cancel()
            self._alarm = None
        while self._waiters:
            if self._waiters[0].admitted.cancelled():
                self._waiters.popleft()
                continue
            constraint, seconds = self._obstacle(self._waiters[0].estimate)
            if constraint is not None:
                self._held_back_by = (constraint, self._timer.time())
                if constraint != CONCURRENCY:  # a slot comes free by an event, the others by time passing
                    self._alarm = self._timer.call_later(seconds, self._admit_ready)
                return
            self._take(self._waiters.popleft())
        self._held_back_by = None

    def _obstacle(self, estimate: Usage) -> tuple[str | None, float]:
        """The constraint that will hold this call back longest, and for how many seconds."""
        now = self._timer.time()
        waits = {name: b.wait_seconds(_amount(name, estimate), now=now) for name, b in self._buckets.items()}
        waits[GATE] = self._gate_opens_at - now
        longest = max(waits, key=waits.__getitem__)
        if waits[longest] > 0:
            return longest, waits[longest]
        return (CONCURRENCY, 0.0) if self._in_flight >= self._max_concurrency else (None, 0.0)

    def _take(self, waiter: _Waiter) -> None:
        now = self._timer.time()
        for name, bucket in self._buckets.items():
            bucket.take(_amount(name, waiter.estimate), now=now)
        self._in_flight += 1
        waiter.admitted.set_result(None)

    def _settle(self, reserved: Usage, actual: Usage, *, requests: int = 0) -> None:
        now = self._timer.time()
        for name, bucket in self._buckets.items():
            change = requests if name == REQUESTS else _amount(name, actual) - _amount(name, reserved)
            bucket.give_back(-change, now=now)
        self._admit_ready()

    def _account_wait(self) -> None:
        """Charge the time since the last look to the constraint that held the queue back, for all who waited."""
        if self._held_back_by:
            constraint, since = self._held_back_by
            self._on_wait(constraint, (self._timer.time() - since) * len(self._waiters))
            self._held_back_by = (constraint, self._timer.time())


def _buckets(limits: Limits, *, now: float) -> dict[str, Bucket]:
    per_minute = {
        REQUESTS: limits.requests_per_minute,
        TOKENS: limits.tokens_per_minute,
        INPUT_TOKENS: limits.input_tokens_per_minute,
        OUTPUT_TOKENS: limits.output_tokens_per_minute,
    }
    return {name: Bucket(per_minute=limit, now=now) for name, limit in per_minute.items() if limit is not None}


def _amount(constraint: str, usage: Usage) -> int:
    match constraint:
        case "input_tokens":
            return usage.input_tokens
        case "output_tokens":
            return usage.output_tokens
        case "tokens":
            return usage.input_tokens + usage.output_tokens
        case _:
            return 1

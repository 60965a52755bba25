"""Time that stands still until a test moves it."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

_ALARMS_AT_ONE_INSTANT = 1000


class ManualTimer:
    """A `Timer` whose alarms ring while `advance` moves time past them, each at its own instant."""

    def __init__(self, *, now: float = 1000.0) -> None:
        self._now = now
        self._alarms: list[tuple[float, int, asyncio.TimerHandle, Callable[[], None]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        when = self._now + delay
        handle = asyncio.TimerHandle(when, callback, (), asyncio.get_running_loop())
        heapq.heappush(self._alarms, (when, next(self._order), handle, callback))
        return handle

    def next_alarm(self) -> float | None:
        """The instant of the next alarm that is still wanted."""
        while self._alarms and self._alarms[0][2].cancelled():
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else None

    def advance(self, seconds: float) -> None:
        """Move time on, in one go: tasks that an alarm wakes go on only after it."""
        self.advance_to(self._now + seconds)

    async def run(self, seconds: float) -> None:
        """Move time on, and let the tasks that an alarm wakes go on at that alarm's instant."""
        until = self._now + seconds
        while (when := self.next_alarm()) is not None and when <= until:
            self.advance_to(when)
            await settled()
        self.advance_to(until)
        await settled()

    def advance_to(self, until: float) -> None:
        """Ring what is due. A callback that sets its alarm for the same instant again and again fails the test."""
        rung_at_once = 0
        while (when := self.next_alarm()) is not None and when <= until:
            _, _, _, callback = heapq.heappop(self._alarms)
            rung_at_once = rung_at_once + 1 if when <= self._now else 0
            assert rung_at_once < _ALARMS_AT_ONE_INSTANT, "the alarm is set for the same instant again and again"
            self._now = max(self._now, when)
            callback()
        self._now = until


class QuickTimer:
    """The running loop's time, a thousand times as fast: for waits beside real servers, which a test cannot skip."""

    _TIMES = 1000.0

    def time(self) -> float:
        return asyncio.get_running_loop().time() * self._TIMES

    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay / self._TIMES, callback)


class FakeSleep:
    """A sleep that takes no time and remembers how long it was asked for. `on_sleep` hears of each."""

    def __init__(self, *, on_sleep: Callable[[float], None] = lambda _: None) -> None:
        self.pauses: list[float] = []
        self._on_sleep = on_sleep

    async def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self._on_sleep(seconds)
        await asyncio.sleep(0)


async def settled(turns: int = 8) -> None:
    """Let every task that can run do so, until only those are left that wait for something."""
    ready = asyncio.get_running_loop()._ready  # type: ignore[attr-defined] # simulations take millions of turns
    for _ in range(turns):
        await asyncio.sleep(0)
        if not ready:
            return

"""A backlog larger than any limit, one model's way out, and a provider that refuses: simulated, a call at a time."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from docsluice.messages import Usage
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.admission.model_queue import ModelQueue, learned_quotas
from docsluice_consumer.analysis.fault_attribution import Blame, CallHistory
from docsluice_consumer.errors import RateLimited
from docsluice_consumer.model_ref import model_ref
from docsluice_local.rehearsal.limiter import MinuteLimit

_MODEL = model_ref("m")
_CALL = CallRequest(model=_MODEL, usage=Usage())
_WAY = (_MODEL, "summary")
_REFUSAL_SECONDS = 0.02
_DEFAULT_PAUSE_SECONDS = 1.0
Provider = Callable[[float], float | None]
"""What it says to a call at a time: None for an answer, else for how many seconds to pause. 0 when it does not say."""


def unlimited(_now: float) -> float | None:
    """Answers everything."""
    return None


def bucket(per_minute: float, *, says: Callable[[float], float] = lambda _seconds: 0.0) -> Provider:
    """A token bucket of a second. `says` makes what it asks for of what would be right."""
    limit = MinuteLimit(per_minute=per_minute, window_seconds=1.0, now=0.0)

    def answer(now: float) -> float | None:
        seconds = limit.wait_seconds(now=now)
        if seconds > 0:
            return says(seconds)
        limit.take(1, now=now)
        return None

    return answer


def window(calls: int, *, seconds: float) -> Provider:
    """So many calls in each window of the clock, which may all come at once."""
    begun_at, left = 0.0, calls

    def answer(now: float) -> float | None:
        nonlocal begun_at, left
        if now - begun_at >= seconds:
            begun_at, left = now // seconds * seconds, calls
        left -= 1
        return None if left >= 0 else 0.0

    return answer


def during(provider: Provider, begin: float, end: float) -> Provider:
    """A limit that there is for a while."""
    return lambda now: provider(now) if begin <= now < end else None


@dataclass(slots=True)
class _Document:
    number: int
    blame: Blame
    refusals: int = 0


class Rush:
    """Calls of so many seconds in 16 slots, of which a random `share` is refused besides what the provider refuses."""

    def __init__(
        self,
        provider: Provider = unlimited,
        *,
        share: float = 0.0,
        call_seconds: float = 0.2,
        slots: int = 16,
        seed: int = 1,
    ) -> None:
        self.answers: list[float] = []
        self.refusals: list[float] = []
        self.now = 0.0
        self._provider = provider
        self._share = share
        self._call_seconds = call_seconds
        self._slots = slots
        self._chance = random.Random(seed)
        self._queue = ModelQueue(model=_MODEL, shared=(), learned=learned_quotas(model=_MODEL, now=0.0))
        # The others stay without a limit here, and would be asked millions of times.
        self._quotas = [quota for quota in self._queue.quotas if quota.learns_pace]
        self._history = CallHistory()
        self._numbers, self._order = itertools.count(), itertools.count()
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._waiting: list[tuple[int, _Document]] = []
        self._in_flight = 0
        self._alarm_at: float | None = None

    def run(self, seconds: float) -> None:
        """Move time on."""
        until = self.now + seconds
        self._let_out()
        while self._events and self._events[0][0] <= until:
            self.now, _, happens = heapq.heappop(self._events)
            happens()
            self._let_out()
        self.now = until

    def per_second(self, begin: float, end: float) -> float:
        """Answers a second in a span."""
        return sum(begin <= moment < end for moment in self.answers) / (end - begin)

    def refused_share(self, begin: float, end: float) -> float:
        """Of all calls that ended in a span, those that were refused."""
        refused = sum(begin <= moment < end for moment in self.refusals)
        return refused / (refused + self.per_second(begin, end) * (end - begin))

    def _later(self, seconds: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._order), happens))

    def _let_out(self) -> None:
        while self._in_flight < self._slots:
            cooldown = self._queue.cooldown.wait_seconds(now=self.now, crowd=self._slots)
            seconds = max(cooldown, *[quota.wait_seconds(_CALL, now=self.now) for quota in self._quotas])
            if seconds > 0:
                self._set_alarm(seconds)
                return
            self._send(heapq.heappop(self._waiting)[1] if self._waiting else self._next_document())

    def _set_alarm(self, seconds: float) -> None:
        if self._alarm_at is None or self.now + seconds < self._alarm_at or self._alarm_at <= self.now:
            self._alarm_at = self.now + seconds
            self._later(seconds, lambda: None)

    def _next_document(self) -> _Document:
        number = next(self._numbers)
        return _Document(number, Blame(history=self._history, max_attempts=5, document=number))

    def _send(self, document: _Document) -> None:
        for quota in self._quotas:
            quota.reserve(_CALL, now=self.now)
        self._queue.cooldown.passed()
        self._in_flight += 1
        call, sent_at, asked = self._history.sent(_WAY), self.now, self._provider(self.now)
        if asked is None and self._chance.random() < self._share:
            asked = 0.0
        scatter = self._chance.uniform(0.7, 1.3)
        if asked is None:
            self._later(self._call_seconds * scatter, lambda: self._answered(call, sent_at))
        else:
            self._later(_REFUSAL_SECONDS * scatter, lambda: self._refused(document, call, sent_at, asked))

    def _answered(self, call: int, sent_at: float) -> None:
        self._in_flight -= 1
        self._history.ended(_WAY, call)
        self._history.answered(_WAY, call)
        self._queue.keep_pace(sent_at=sent_at, now=self.now)
        self._queue.cooldown.answered()
        self.answers.append(self.now)

    def _refused(self, document: _Document, call: int, sent_at: float, asked: float) -> None:
        self._in_flight -= 1
        self.refusals.append(self.now)
        fault = RateLimited("429")
        document.blame.overloaded(fault, way=_WAY)
        self._history.ended(_WAY, call)
        self._queue.weigh(fault, sent_at=sent_at, now=self.now)
        if fault.pauses_others:
            self._queue.cooldown.close(asked or _DEFAULT_PAUSE_SECONDS, now=self.now)
            if fault.teaches:
                self._queue.slow_down(now=self.now)
            heapq.heappush(self._waiting, (document.number, document))
        else:
            longest = min(20.0, 0.5 * 2.0 ** min(document.refusals, 10))
            self._later(
                min(asked, 30.0) + self._chance.uniform(0.0, longest),
                lambda: heapq.heappush(self._waiting, (document.number, document)),
            )
        document.refusals += 1

"""A model server that sends no limits and slows down under load, and a client that keeps it busy. Time is simulated."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

_REFUSAL_SECONDS = 0.1
_OUTPUT_TOKENS = 60
_SIGMA = 0.42


class Limiter(Protocol):
    """What decides how many calls may be in flight."""

    @property
    def limit(self) -> int: ...

    def answered(self, *, seconds: float, output_tokens: int, in_flight: int, now: float) -> None: ...

    def overloaded(self, *, seconds: float, now: float) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Server:
    """`speed(n)` is how fast each of n calls goes on, 1 being alone. Beyond `refuses_beyond` calls it answers 429."""

    speed: Callable[[int], float] = lambda _calls: 1.0
    refuses_beyond: float = math.inf

    def throughput(self, limit: int) -> float:
        """The tokens a second that it writes while a `ClosedLoop` keeps `limit` calls in flight."""
        serving = int(min(limit, self.refuses_beyond))
        return serving * self.speed(serving) * _OUTPUT_TOKENS / math.exp(_SIGMA**2 / 2)


def knee(at: float, power: float = 1.0) -> Server:
    """Full speed for `at` calls. Past it throughput is flat for power 1, and falls for a higher one."""
    return Server(speed=lambda calls: min(1.0, (at / calls) ** power))


class Ended(NamedTuple):
    """One answered call, and the limit that was set then."""

    at: float
    output_tokens: int
    limit: int


class _Call(NamedTuple):
    ends_at: float  # in work done for each call since the start. For a refused call, in time
    number: int
    sent_at: float
    in_flight: int
    output_tokens: int


@dataclass(kw_only=True)
class ClosedLoop:
    """Keeps as many calls in flight as the limiter allows.

    Seconds of a call alone are lognormal with a sigma of 0.6, half of that variance from the length of its answer.
    """

    limiter: Limiter
    server: Server
    seed: int
    ended: list[Ended] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._now = self._work = 0.0
        self._serving: list[_Call] = []
        self._refused: list[_Call] = []
        self._sent = 0

    def run(self, calls: int) -> None:
        """Go on until so many more are answered."""
        until = len(self.ended) + calls
        while len(self.ended) < until:
            while len(self._serving) + len(self._refused) < self.limiter.limit:
                self._send()
            speed = self.server.speed(max(1, len(self._serving)))
            answer_at = self._now + (self._serving[0].ends_at - self._work) / speed if self._serving else math.inf
            if self._refused and self._refused[0].ends_at < answer_at:
                self._work += speed * (self._refused[0].ends_at - self._now)
                self._refuse()
            else:
                self._work = self._serving[0].ends_at
                self._answer(answer_at)

    def _send(self) -> None:
        self._sent += 1
        in_flight = len(self._serving) + len(self._refused) + 1
        if len(self._serving) >= self.server.refuses_beyond:
            heapq.heappush(self._refused, _Call(self._now + _REFUSAL_SECONDS, self._sent, self._now, in_flight, 0))
            return
        tokens = max(1, round(_OUTPUT_TOKENS * self._random.lognormvariate(0, _SIGMA)))
        work = tokens / _OUTPUT_TOKENS * self._random.lognormvariate(0, _SIGMA)
        heapq.heappush(self._serving, _Call(self._work + work, self._sent, self._now, in_flight, tokens))

    def _refuse(self) -> None:
        call = heapq.heappop(self._refused)
        self._now = call.ends_at
        self.limiter.overloaded(seconds=self._now - call.sent_at, now=self._now)

    def _answer(self, now: float) -> None:
        call = heapq.heappop(self._serving)
        self._now = now
        self.limiter.answered(
            seconds=now - call.sent_at, output_tokens=call.output_tokens, in_flight=call.in_flight, now=now
        )
        self.ended.append(Ended(now, call.output_tokens, self.limiter.limit))


def throughput(ended: list[Ended]) -> float:
    """Tokens a second."""
    return sum(call.output_tokens for call in ended[1:]) / (ended[-1].at - ended[0].at)


def mean_limit(ended: list[Ended]) -> float:
    """The limit, averaged over time."""
    held = sum((after.at - before.at) * before.limit for before, after in pairwise(ended))
    return held / (ended[-1].at - ended[0].at)

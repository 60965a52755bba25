"""A backlog that never runs dry, the real admission, and a provider that counts tokens: simulated, a call at a time."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from docsluice.messages import Usage
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import CallRequest, Limits
from docsluice_consumer.admission.permit import Permit
from docsluice_consumer.errors import RateLimited
from docsluice_consumer.model_ref import model_ref
from docsluice_local.rehearsal.limits import Amounts, Limited
from docsluice_local.rehearsal.limits import Limits as ProviderLimits
from tests.fakes.timer import ManualTimer, settled

_MODEL = model_ref("m")
_OUTPUT_SHARE = 0.2
_SIZES_SPREAD, _OUTPUTS_SPREAD = 0.5, 0.4
_JITTER_SECONDS = 0.01
"""The longest way of a call to the provider, and of its answer."""
_NO_BOUND_TOKENS = 4096
"""What a model may answer at most if the call does not say."""
_WAITING = 4
_LEAST_CALLS = 300.0


@dataclass(frozen=True, kw_only=True)
class Load:
    """Calls that keep coming, and how they are limited and answered.

    Attributes:
        per_minute: the limits that the provider enforces.
        configured: the share of them that is configured here.
        tokens: the mean size of a call. About a fifth of it is the answer.
        bound: the bound on an answer, as a multiple of the longest answer. None for a call without one.
        latency_seconds: how long a call takes. The median, if it varies.
        sigma: the standard deviation of the latency's logarithm.
        counted_first: the most tokens of an answer that the provider counts when the call comes. The rest it counts,
            or gives back, when the call ends.
        gives_back: whether it does. Some providers never correct what they counted first.
    """

    per_minute: Mapping[Limited, float]
    tokens: int
    bound: float | None
    latency_seconds: float
    sigma: float = 0.0
    counted_first: float = 0.0
    gives_back: bool = True
    configured: float = 1.0

    @property
    def longest_answer(self) -> int:
        """In tokens."""
        return math.ceil(self.tokens * (1 + _SIZES_SPREAD) * _OUTPUT_SHARE * (1 + _OUTPUTS_SPREAD))

    @property
    def bound_tokens(self) -> int | None:
        """The most tokens that an answer may have."""
        return None if self.bound is None else round(self.longest_answer * self.bound)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was used of the tightest limit in the steady state, as a share of it, and how many calls were refused."""

    used: float
    refused: int
    answered: int


async def play(load: Load, *, ramp_seconds: float, seed: int = 1) -> Outcome:
    """Play a load for `ramp_seconds`, and then for as long as some hundred calls take, whose use is counted."""
    backlog = _Backlog(load, seed)
    await backlog.run(ramp_seconds)
    a_second = min(per_minute / 60 / _of(what, load) for what, per_minute in load.per_minute.items())
    await backlog.run(max(20.0, _LEAST_CALLS / a_second))
    await backlog.close()
    return backlog.outcome(ramp_seconds)


class _Backlog:
    def __init__(self, load: Load, seed: int) -> None:
        self._load = load
        self._chance = random.Random(seed)
        self._timer = ManualTimer(now=0.0)
        limits = Limits(
            max_concurrency=1_000_000,
            tokens_per_minute=self._configured(Limited.TOKENS),
            input_tokens_per_minute=self._configured(Limited.INPUT_TOKENS),
            output_tokens_per_minute=self._configured(Limited.OUTPUT_TOKENS),
        )
        self._admission = Admission(limits=limits, timer=self._timer, clock=self._timer.time)
        self._provider = ProviderLimits(per_minute=load.per_minute, window_seconds=1.0, by_model=False, now=0.0)
        ordered = sorted(self._drawn().output_tokens for _ in range(1000))
        self._expected_output = ordered[int(len(ordered) * 0.9)]
        self._tasks: set[asyncio.Task[None]] = set()
        self._sent: list[tuple[float, Amounts]] = []
        self._refused = 0

    async def run(self, seconds: float) -> None:
        if not self._tasks:
            for _ in range(_WAITING):
                self._come()
            await settled()
        await self._timer.run(seconds)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def outcome(self, since: float) -> Outcome:
        steady = [(sent_at, used) for sent_at, used in self._sent if sent_at >= since]
        seconds = steady[-1][0] - steady[0][0]  # both ends are beginnings of calls: none is counted by halves
        shares = [
            sum(used.of(what) for _, used in steady[1:]) / (per_minute / 60 * seconds)
            for what, per_minute in self._load.per_minute.items()
        ]
        return Outcome(used=max(shares), refused=self._refused, answered=len(self._sent))

    def _configured(self, what: Limited) -> float | None:
        per_minute = self._load.per_minute.get(what)
        return None if per_minute is None else per_minute * self._load.configured

    def _come(self) -> None:
        task = asyncio.create_task(self._call(self._drawn()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _drawn(self) -> Amounts:
        tokens = self._load.tokens * self._chance.uniform(1 - _SIZES_SPREAD, 1 + _SIZES_SPREAD)
        output = tokens * _OUTPUT_SHARE * self._chance.uniform(1 - _OUTPUTS_SPREAD, 1 + _OUTPUTS_SPREAD)
        return Amounts(input_tokens=round(tokens * (1 - _OUTPUT_SHARE)), output_tokens=max(1, round(output)))

    async def _call(self, used: Amounts) -> None:
        usage = Usage(input_tokens=used.input_tokens, output_tokens=self._expected_output)
        request = CallRequest(model=_MODEL, usage=usage, output_bound=self._load.bound_tokens)
        comes_next = True
        while True:
            async with self._admission.admit(request) as permit:
                if comes_next:
                    self._come()
                    comes_next = False
                if await self._is_answered(permit, used):
                    return

    async def _is_answered(self, permit: Permit, used: Amounts) -> bool:
        load, sent_at = self._load, self._timer.time()
        await self._pass(self._chance.uniform(0.0, _JITTER_SECONDS))
        bound = load.bound_tokens or _NO_BOUND_TOKENS
        first = Amounts(input_tokens=used.input_tokens, output_tokens=int(min(bound, load.counted_first)))
        excess = self._provider.reserve(first, model="m", now=self._timer.time())
        if excess:
            self._refused += 1
            permit.failed(RateLimited("429", retry_after_seconds=excess.wait_seconds))
            return False
        self._sent.append((sent_at, used))
        await self._pass(load.latency_seconds * math.exp(self._chance.gauss(0.0, load.sigma)))
        if load.gives_back:
            self._provider.settle(first, used, model="m", now=self._timer.time())
        await self._pass(self._chance.uniform(0.0, _JITTER_SECONDS))
        permit.answered(Usage(input_tokens=used.input_tokens, output_tokens=used.output_tokens))
        return True

    async def _pass(self, seconds: float) -> None:
        over = asyncio.Event()
        self._timer.call_later(seconds, over.set)
        await over.wait()


def _of(what: Limited, load: Load) -> float:
    output = load.tokens * _OUTPUT_SHARE
    return Amounts(input_tokens=round(load.tokens - output), output_tokens=round(output)).of(what)

"""A backlog at a provider's token limit: how much of it is used, and that no call is refused."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice.messages import Usage
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.admission.quota import OUTPUT_TOKENS, TOKENS, Quota, Reserved
from docsluice_consumer.model_ref import model_ref
from docsluice_local.rehearsal.limiter import MinuteLimit
from docsluice_local.rehearsal.limits import Limited
from tests.examples import examples
from tests.fakes.backlog import Load, play

_ENOUGH, _MOST = 0.97, 1.03
_ENOUGH_IF_ERRATIC = 0.88
"""Where calls take twenty seconds, give or take half, answers end in heaps, and the pauses between are lost."""
_REHEARSAL_TOKENS = 256
_ROUNDS = 6
"""So many latencies pass until as many reservations come back as are made."""


@dataclass(frozen=True, kw_only=True)
class _Row:
    """Calls of one size at some limits, in all these variations."""

    per_minute: Mapping[Limited, float]
    tokens: int
    bounds: tuple[float | None, ...] = (2,)
    latencies: tuple[tuple[float, float], ...] = ((0.05, 0), (0.5, 0.6), (20, 0), (20, 0.6))
    counted_first: tuple[int, ...] = (0, _REHEARSAL_TOKENS)
    rounds: int = _ROUNDS

    @property
    def loads(self) -> list[tuple[Load, int]]:
        """By what the provider counts of an answer when its call comes."""
        return [
            (
                Load(
                    per_minute=self.per_minute,
                    tokens=self.tokens,
                    bound=bound,
                    latency_seconds=latency_seconds,
                    sigma=sigma,
                    counted_first=counted_first,
                ),
                self.rounds,
            )
            for bound in self.bounds
            for latency_seconds, sigma in self.latencies
            for counted_first in self.counted_first
        ]


_ANY = (None, 1, 2, 10)
_QUICK = ((0.05, 0), (0.5, 0.6), (2, 0.6))
_TOKENS = {Limited.TOKENS: 120_000}
_APART = {Limited.INPUT_TOKENS: 600_000, Limited.OUTPUT_TOKENS: 120_000}
_ROWS = (
    _Row(per_minute=_TOKENS, tokens=400, bounds=_ANY, counted_first=(0, 500)),
    _Row(per_minute=_TOKENS, tokens=50, bounds=(1, 2), latencies=_QUICK),
    # The bound is ten times what such a call uses, so it takes long until as much comes back as goes out.
    _Row(per_minute=_TOKENS, tokens=50, bounds=(None, 10), latencies=((0.5, 0.6),), rounds=40),
    # Calls of one second's worth, and of four.
    _Row(per_minute=_TOKENS, tokens=2_000),
    _Row(per_minute=_TOKENS, tokens=8_000),
    _Row(per_minute={Limited.TOKENS: 2_400_000}, tokens=8_000, bounds=(None, 2), counted_first=(0, 10_000)),
    # Of a limit on output alone, the provider counts first what is reserved, or as much as any answer has.
    _Row(per_minute=_APART, tokens=400, bounds=(1,), latencies=((20, 0.6),), counted_first=(_REHEARSAL_TOKENS,)),
    _Row(per_minute=_APART, tokens=400, bounds=(None, 2, 10), counted_first=(500,), latencies=((0.5, 0.6),), rounds=40),
    _Row(per_minute=_APART, tokens=2_000, bounds=(None, 2), counted_first=(500,)),
    _Row(per_minute={Limited.INPUT_TOKENS: 120_000, Limited.OUTPUT_TOKENS: 60_000}, tokens=400),
)


def _name(load: Load) -> str:
    bound = "no bound" if load.bound is None else f"bound x{load.bound:g}"
    limits = "+".join(f"{limit / 1000:g}k {what}" for what, limit in load.per_minute.items())
    latency = f"{load.latency_seconds:g} s{' or so' if load.sigma else ''}"
    return f"{load.tokens} of {limits}, {bound}, {latency}, {load.counted_first:.0f} first"


_GRID = [pytest.param(load, rounds, id=_name(load)) for row in _ROWS for load, rounds in row.loads]


@pytest.mark.long
@pytest.mark.parametrize(("load", "rounds"), _GRID)
async def test_a_token_limit_is_used_and_no_call_is_refused(load: Load, rounds: int) -> None:
    """Whatever the calls are like, and whenever the provider counts an answer."""
    outcome = await play(load, ramp_seconds=10 + rounds * load.latency_seconds)
    assert outcome.refused == 0
    is_erratic = load.sigma > 0 and load.latency_seconds > 2
    assert (_ENOUGH_IF_ERRATIC if is_erratic else _ENOUGH) <= outcome.used <= _MOST


@pytest.mark.parametrize("sigma", [0.0, 0.5])
@pytest.mark.parametrize("counted_first", [0, _REHEARSAL_TOKENS])
async def test_what_comes_back_is_used(sigma: float, counted_first: int) -> None:
    """With a bound far above the answers, half of a reservation comes back. Once a tenth of the limit was lost so."""
    load = Load(per_minute=_TOKENS, tokens=400, bound=6, latency_seconds=0.5, sigma=sigma, counted_first=counted_first)
    outcome = await play(load, ramp_seconds=10)
    assert outcome.refused == 0
    assert _ENOUGH <= outcome.used <= _MOST


async def test_a_provider_that_gives_nothing_back_needs_a_lower_limit() -> None:
    """It counts the whole bound for good. A limit lowered by as much as calls use less is kept to, and used."""
    load = Load(
        per_minute=_TOKENS, tokens=400, bound=2, latency_seconds=2, sigma=0.6, counted_first=4096, gives_back=False
    )
    assert (await play(load, ramp_seconds=30)).refused > 0
    counted = 320 + (load.bound_tokens or 0)
    outcome = await play(replace(load, configured=400 / counted), ramp_seconds=30)
    assert outcome.refused == 0
    assert outcome.used * counted / 400 > 0.9


_CALLS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.0, 0.3, 3.0]),  # the pause before it, in seconds
        st.floats(0.0, 3.0),  # its input, in bursts
        st.floats(0.0, 0.5),  # its answer as expected, in bursts
        st.none() | st.floats(0.0, 4.0),  # the bound on its answer, in bursts
        st.floats(0.0, 1.0),  # the part of what was reserved for its answer that comes
        st.sampled_from([None, None, 0.01, 0.5, 2.0, 20.0]),  # how many seconds it takes. None ends it with others
    ),
    min_size=20,
    max_size=60,
)
_COUNTED_FIRST = st.sampled_from([(TOKENS, 0.0), (TOKENS, 1.0), (OUTPUT_TOKENS, 1.0)]) | st.tuples(
    st.just(TOKENS), st.floats(0.0, 1.0)
)
_Drawn: TypeAlias = tuple[float, float, float, float | None, float, float | None]
_ENDS_EVERY_SECONDS = 7.0


class _InFlight(NamedTuple):
    ends_at: float
    number: int
    reserved: Reserved
    counted: float
    used: float


class _Course:
    """Calls that go out as early as a quota lets them, and what a provider counts of them meanwhile."""

    def __init__(self, *, name: str, per_minute: float, counted_first: float) -> None:
        self.now = 0.0
        self.used = 0.0
        self._burst = per_minute / 120
        self._quota = Quota(name=name, configured=per_minute, now=0.0)
        self._provider = MinuteLimit(per_minute=per_minute, window_seconds=1.0, now=0.0)
        self._counted_first = counted_first
        self._in_flight: list[_InFlight] = []

    def call(self, number: int, drawn: _Drawn) -> float:
        """Wait until the call may go out. Returns how much it may overdraw."""
        pause, input_bursts, output_bursts, bound_bursts, came, seconds = drawn
        request = CallRequest(
            model=model_ref("m"),
            usage=Usage(
                input_tokens=round(input_bursts * self._burst), output_tokens=round(output_bursts * self._burst)
            ),
            output_bound=None if bound_bursts is None else round(bound_bursts * self._burst),
        )
        self._pass_until(self.now + pause)
        while (wait := self._quota.wait_seconds(request, now=self.now)) > 0:
            self._pass_until(min([self.now + wait, *(call.ends_at for call in self._in_flight[:1])]))
        assert self._provider.wait_seconds(now=self.now) == 0, "it is refused"
        reserved = self._quota.reserve(request, now=self.now)
        at_once = reserved.amount - reserved.output
        counted, used = at_once + self._counted_first * reserved.output, at_once + came * reserved.output
        self._provider.take(counted, now=self.now)
        self.used += used
        together = (self.now // _ENDS_EVERY_SECONDS + 1) * _ENDS_EVERY_SECONDS
        ends_at = together if seconds is None else self.now + seconds
        heapq.heappush(self._in_flight, _InFlight(ends_at, number, reserved, counted, used))
        return reserved.amount - min(self._quota.needed(request), self._burst)

    def _pass_until(self, moment: float) -> None:
        while self._in_flight and self._in_flight[0].ends_at <= moment:
            ended = heapq.heappop(self._in_flight)
            self._provider.take(ended.used - ended.counted, now=ended.ends_at)
            self._quota.settle(ended.reserved, ended.used, now=ended.ends_at)
        self.now = moment


@settings(max_examples=examples(300))
@given(counted=_COUNTED_FIRST, per_minute=st.floats(6_000, 1e7), calls=_CALLS)
def test_no_provider_between_the_two_counts_refuses(
    counted: tuple[str, float], per_minute: float, calls: list[_Drawn]
) -> None:
    """Whatever part of an answer a provider counts when a call comes. The rest it counts when the call ends.

    Of a limit on output alone it counts all of a reservation first. From the start on, no more is used than the rate
    allows and the last call overdraws.
    """
    name, counted_first = counted
    course = _Course(name=name, per_minute=per_minute, counted_first=counted_first)
    for number, drawn in enumerate(calls):
        overdrawn = course.call(number, drawn)
        assert course.used <= (per_minute / 60 * course.now + max(0.0, overdrawn)) * (1 + 1e-5) + 1e-3

"""What becomes of the pace in ten minutes of a backlog: under refusals at random, under limits, and under both."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.errors import RateLimited
from docsluice_consumer.llm.chat import ChatRequest
from tests.examples import examples
from tests.fakes.chat import Reply, right
from tests.fakes.rush import Provider, Rush, bucket, during, unlimited, window
from tests.fakes.town import Town

pytestmark = pytest.mark.long

_MINUTES = 10 * 60


def _possible(share: float, *, slots: int = 16) -> float:
    """Answers a second where a share of the calls is refused and tried again, and nothing else holds calls back."""
    return slots / (0.2 + 0.02 * share / (1 - share))


@pytest.mark.parametrize("share", [0.005, 0.01, 0.02, 0.03, 0.05, 0.1])
@pytest.mark.parametrize("seed", [1, 2])
def test_refusals_at_random_cost_their_retries(share: float, seed: int) -> None:
    """After three minutes hardly anything else, and it gets no worse with time."""
    rush, possible = Rush(share=share, seed=seed, slots=8), _possible(share, slots=8)
    rush.run(_MINUTES)
    middle, end = rush.per_second(200, 400), rush.per_second(400, _MINUTES)
    assert rush.per_second(0, 200) > 0.6 * possible
    assert min(middle, end) > 0.9 * possible
    assert end > 0.93 * middle


@pytest.mark.parametrize("share", [0.03, 0.1])
def test_refusals_at_random_cost_slow_calls_nothing_either(share: float) -> None:
    """Three calls a second, of five seconds each: a trial is over in a minute."""
    rush = Rush(share=share, call_seconds=5.0)
    rush.run(30 * 60)
    assert rush.per_second(60, 600) > 0.85 * 16 / 5
    assert rush.per_second(600, 30 * 60) > 0.95 * 16 / 5


@settings(max_examples=examples(12))
@given(share=st.floats(0.0, 0.1), seed=st.integers(0, 1000), per_minute=st.sampled_from([None, 600, 2400]))
def test_no_mixture_makes_the_pace_collapse(share: float, seed: int, per_minute: int | None) -> None:
    """Whatever the shares: of what is possible, a third is used after five minutes at the latest."""
    rush = Rush(bucket(per_minute) if per_minute else unlimited, share=share, seed=seed)
    rush.run(400)
    possible = min(_possible(share), per_minute / 60 * (1 - share) if per_minute else 80)
    assert rush.per_second(300, 400) > possible / 3


def _honest(seconds: float) -> float:
    return seconds


LIMITS = {
    "20 a minute": (bucket(20), 20 / 60),
    "60 a minute": (bucket(60), 1),
    "60 a minute, named": (bucket(60, says=_honest), 1),
    "600 a minute": (bucket(600), 10),
    "600 a minute, named": (bucket(600, says=_honest), 10),
    "600 a minute, a hundredth of the pause": (bucket(600, says=lambda _: 0.01), 10),
    "600 a minute, thrice the pause": (bucket(600, says=lambda _: 3.0), 10),
    "2400 a minute": (bucket(2400), 40),
    "4500 a minute, just below what goes out": (bucket(4500), 75),
    "10 a second": (window(10, seconds=1.0), 10),
    "40 a second": (window(40, seconds=1.0), 40),
    "600 in a minute of the clock": (window(600, seconds=60.0), 10),
    "2400 in a minute of the clock": (window(2400, seconds=60.0), 40),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_is_found_and_used(name: str) -> None:
    """Half of it within the first minutes, and then nine tenths."""
    provider, per_second = LIMITS[name]
    rush = Rush(provider)
    rush.run(_MINUTES)
    assert rush.per_second(0, 180) > 0.55 * per_second
    assert rush.per_second(360, _MINUTES) > 0.93 * per_second
    assert rush.refused_share(240, _MINUTES) < (0.04 if per_second >= 10 else 0.15)


@pytest.mark.parametrize("seed", range(4))
def test_a_limit_far_below_what_would_go_out_is_not_taken_for_accidents(seed: int) -> None:
    """Of 64 calls a second it lets ten through. The first pace is measured while it still lets its burst through."""
    rush = Rush(bucket(600), call_seconds=0.5, slots=32, seed=seed)
    rush.run(300)
    assert rush.per_second(60, 300) > 0.93 * 10
    assert rush.refused_share(60, 300) < 0.01


def test_a_limit_that_comes_and_goes_is_found_among_refusals_at_random() -> None:
    """And forgotten minutes after its end, though the refusals at random have never ceased."""
    rush = Rush(during(bucket(1200), 200, 400), share=0.03)
    rush.run(900)
    assert rush.per_second(220, 400) > 0.7 * 20
    assert rush.refused_share(220, 400) < 0.15
    assert rush.per_second(800, 900) > 0.95 * _possible(0.03)


@pytest.mark.parametrize(("share", "used"), [(0.01, 0.88), (0.03, 0.8), (0.1, 0.7)])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_limit_is_used_among_refusals_at_random(share: float, used: float, seed: int) -> None:
    """Of half of what would go out."""
    rush = Rush(bucket(2400), share=share, seed=seed)
    rush.run(_MINUTES)
    assert rush.per_second(400, _MINUTES) > used * 40 * (1 - share)
    assert rush.refused_share(400, _MINUTES) < share + 0.08


async def test_documents_end_though_calls_are_refused_at_random() -> None:
    """The same with everything round it: of 32 a second, as many as go, and none is given up."""
    chance = random.Random(4)

    def reply(request: ChatRequest) -> Reply:
        return RateLimited("429") if chance.random() < 0.05 else right(request)

    town = Town(reply, limits=Limits(max_concurrency=16))
    await town.come(*(f"text {number}" for number in range(1000)))
    await town.lab.timer.run(45)
    assert len(town.ended()) > 0.6 * 45 * 32
    assert not any(town.tasks[text].exception() for text in town.ended())
    await town.close()


def _provider_at(limit: Provider, seconds: float) -> int:
    return sum(limit(tenth / 100) is None for tenth in range(int(seconds * 100)))


def test_the_simulated_limits_are_what_they_say() -> None:
    """A bucket lets through a second's worth more than its rate, a window all of it at once."""
    assert _provider_at(bucket(600), 60) == pytest.approx(610, abs=2)
    assert _provider_at(window(600, seconds=60.0), 60) == 600
    assert _provider_at(window(10, seconds=1.0), 60) == 600

"""The limit on calls in flight that finds itself, at simulated servers and in single events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.admission.adaptive_concurrency import AdaptiveConcurrency
from tests.fakes.slow_server import ClosedLoop, Server, knee, mean_limit, throughput

FLOOR, CEILING = 4, 128
SEEDS = range(4)
CALLS = 4000

BATCHING = Server(speed=lambda calls: 1 / (1 + calls / 64))
"""Its latency rises from the first call on, and its throughput grows all the same."""


@dataclass(frozen=True)
class Case:
    """A server, and the one that it turns into after a quarter of the calls, as when another user comes or goes."""

    server: Server
    later: Server | None = None


CASES = {
    "flat past the knee": Case(knee(24)),
    "falling past the knee": Case(knee(24, 1.5)),
    "falling steeply past the knee": Case(knee(24, 2)),
    "a far knee": Case(knee(100)),
    "no knee": Case(Server()),
    "a knee at the floor": Case(knee(4)),
    "batching": Case(BATCHING),
    "batching up to a knee": Case(
        replace(BATCHING, speed=lambda calls: min(1, 48 / calls) / (1 + min(calls, 48) / 64))
    ),
    "refusing past some": Case(Server(refuses_beyond=40)),
    "refusing past many": Case(Server(refuses_beyond=90)),
    "another user comes": Case(knee(48), knee(24)),
    "another user goes": Case(knee(24), knee(48)),
    "another user comes to a server that falls": Case(knee(48, 1.5), knee(24, 1.5)),
    "another user goes from a server that falls": Case(knee(24, 1.5), knee(48, 1.5)),
    "many other users come": Case(knee(96, 1.5), knee(24, 1.5)),
    "refusing earlier": Case(Server(refuses_beyond=90), Server(refuses_beyond=20)),
}


def best_fixed(server: Server) -> tuple[float, int]:
    """The best throughput of all fixed limits, and the lowest limit that reaches 0.95 of it."""
    reached = {limit: server.throughput(limit) for limit in range(FLOOR, CEILING + 1)}
    best = max(reached.values())
    return best, min(limit for limit, tokens in reached.items() if tokens >= 0.95 * best)


def second_half(case: Case, seed: int) -> tuple[float, float]:
    """Throughput and mean limit, as shares of those of the best fixed limit."""
    loop = ClosedLoop(limiter=AdaptiveConcurrency(floor=FLOOR, ceiling=CEILING), server=case.server, seed=seed)
    loop.run(CALLS // 4)
    loop.server = case.later or case.server
    loop.run(CALLS // 4 * 3)
    best, lowest = best_fixed(loop.server)
    late = loop.ended[CALLS // 2 :]
    return throughput(late) / best, mean_limit(late) / lowest


@pytest.mark.parametrize("name", CASES)
def test_it_finds_the_best_concurrency(name: str) -> None:
    """It reaches 0.9 of what the best fixed limit does, with at most 1.5 times the calls that this takes."""
    shares = [second_half(CASES[name], seed) for seed in SEEDS]
    reached, held = [share for share, _ in shares], [share for _, share in shares]
    assert fmean(reached) >= 0.9, reached
    assert min(reached) >= 0.85, reached
    assert fmean(held) <= 1.5, held


def test_a_far_optimum_is_reached_soon() -> None:
    """By doubling, from 4 to more than 100 within 400 calls."""
    loop = ClosedLoop(limiter=AdaptiveConcurrency(floor=FLOOR, ceiling=CEILING), server=Server(), seed=1)
    loop.run(400)
    assert loop.limiter.limit > 100


def test_it_returns_after_an_outage() -> None:
    """Round after round of failures brings it to the floor, and when they are over it is back within 1200 answers."""
    limiter = AdaptiveConcurrency(floor=FLOOR, ceiling=CEILING)
    loop = ClosedLoop(limiter=limiter, server=Server(), seed=1)
    loop.run(600)
    for _ in range(60):
        limiter.overloaded(seconds=0, now=loop.ended[-1].at)
    assert limiter.limit == FLOOR
    loop.run(1200)
    assert limiter.limit > 100


class Desk:
    """A limiter and a clock, and calls one after another without any scatter."""

    def __init__(self, *, floor: int = FLOOR, ceiling: int = CEILING) -> None:
        self.limiter = AdaptiveConcurrency(floor=floor, ceiling=ceiling)
        self.now = 0.0

    def answer(self, calls: int, *, seconds: float = 1.0, in_flight: int | None = None, tokens: int = 60) -> None:
        for _ in range(calls):
            self.now += 10.0
            out = self.limiter.limit if in_flight is None else in_flight
            self.limiter.answered(seconds=seconds, output_tokens=tokens, in_flight=out, now=self.now)

    def overload(self, *, seconds: float = 1.0) -> None:
        self.now += 1.0
        self.limiter.overloaded(seconds=seconds, now=self.now)


def test_it_starts_at_the_floor_and_doubles() -> None:
    """One round of answers, and at least 32, for each doubling."""
    desk = Desk()
    assert desk.limiter.limit == 4
    desk.answer(31)
    assert desk.limiter.limit == 4
    desk.answer(1)
    assert desk.limiter.limit == 8
    desk.answer(32)
    assert desk.limiter.limit == 16


def test_a_doubling_that_brings_nothing_is_taken_back() -> None:
    """Twice the calls that take twice as long each: it returns to where it was, and tries a little more from there."""
    desk = Desk()
    desk.answer(32)
    desk.answer(32)
    desk.answer(32, seconds=2.0)
    assert 8 < desk.limiter.limit <= 10


def test_longer_answers_are_not_a_slower_server() -> None:
    """Twice the seconds for twice the tokens are the same speed, so the search goes on."""
    desk = Desk()
    desk.answer(32)
    desk.answer(32, seconds=2.0, tokens=120)
    assert desk.limiter.limit == 16


def test_an_idle_time_does_not_raise_it() -> None:
    """Calls that are sent far below the limit tell nothing about it, however many they are."""
    desk = Desk()
    desk.answer(32)
    for _ in range(100):
        desk.answer(10, in_flight=3)
        assert desk.limiter.limit == 8


def test_tries_that_hardly_differ_are_not_judged() -> None:
    """With 21 in flight instead of 20, as the load would have it, scatter outweighs the slope: it rests where it is."""
    desk = Desk(floor=20)
    desk.answer(32)
    desk.answer(40, seconds=2.0)
    assert desk.limiter.limit == 23
    desk.answer(32, in_flight=21)
    assert desk.limiter.limit == 20
    desk.answer(32, seconds=1.1)
    assert desk.limiter.limit == 20


def test_a_jump_while_it_rests_starts_a_search() -> None:
    """A server that is suddenly half as fast, with nothing being tried, is searched downwards."""
    loop = ClosedLoop(limiter=AdaptiveConcurrency(floor=FLOOR, ceiling=CEILING), server=knee(48), seed=1)
    loop.run(1500)
    loop.server = knee(12)
    loop.run(800)
    assert loop.limiter.limit < 30


@pytest.mark.parametrize("bound", range(1, 60))
def test_it_does_not_stick_to_a_bound(bound: int) -> None:
    """From any floor it rises again when more calls have begun to pay."""
    desk = Desk(floor=bound)
    desk.answer(max(32, bound))
    desk.answer(max(32, 2 * bound), seconds=2.0)
    desk.answer(2000)
    assert desk.limiter.limit > 100


@pytest.mark.parametrize(("seconds", "tokens"), [(0.0, 60), (-1.0, 60), (1.0, 0), (0.0, 0)])
def test_odd_measurements_are_borne(seconds: float, tokens: int) -> None:
    """An answer without tokens, or in no time, is counted like others. So it is while the clock stands still."""
    limiter = AdaptiveConcurrency(floor=FLOOR, ceiling=CEILING)
    for _ in range(1000):
        limiter.answered(seconds=seconds, output_tokens=tokens, in_flight=limiter.limit, now=5.0 + seconds)
    assert FLOOR < limiter.limit <= CEILING


def test_calls_sent_under_another_limit_do_not_count() -> None:
    """They have felt the former one."""
    desk = Desk()
    desk.answer(32)
    desk.answer(32, seconds=1000.0)
    assert desk.limiter.limit == 8


def test_one_freak_decides_nothing() -> None:
    """An answer a million times faster or slower than the others leaves every decision as it was."""
    for freak in (1e-6, 1e6):
        desk = Desk(floor=8)
        desk.answer(32)
        desk.now += 2e6
        desk.answer(31, seconds=2.0)
        desk.answer(1, seconds=freak)
        assert desk.limiter.limit == 9, "no gain: back to 8, and a little more is tried"


def test_calls_that_fail_together_count_once() -> None:
    """Thirty calls of one round lower it by a tenth. The first one of the next round lowers it again."""
    desk = Desk()
    desk.answer(32 + 32 + 32 + 32 + 64 + 128)
    full = desk.limiter.limit
    assert full > 100
    sent = desk.now
    for _ in range(30):
        desk.overload(seconds=desk.now + 1 - sent)
    assert desk.limiter.limit == int(full * 0.9)
    desk.overload(seconds=0.5)
    assert desk.limiter.limit == int(full * 0.9 * 0.9)


def test_it_returns_slowly_at_first() -> None:
    """After every refusal, one more for the first calm round, two for the second, three for the third."""
    desk = Desk(floor=16)
    desk.answer(32 + 32 + 64 + 128)
    for _ in range(2):
        for _ in range(5):
            desk.overload(seconds=0)
        refused = desk.limiter.limit
        desk.answer(refused)
        assert desk.limiter.limit == refused + 1
        desk.answer(refused + 1)
        assert desk.limiter.limit == refused + 3
        desk.answer(refused + 3)
        assert desk.limiter.limit == refused + 6


def test_a_refused_doubling_is_taken_back() -> None:
    """The doubling before it was still well."""
    desk = Desk()
    desk.answer(32 + 32 + 32)
    assert desk.limiter.limit == 32
    desk.overload()
    assert 16 < desk.limiter.limit <= 19


# Of several replicas


SHARES = sorted({ours / all_ for all_ in range(1, 13) for ours in range(1, all_ + 1)})


@pytest.mark.parametrize("share", SHARES)
def test_with_any_share_it_grows_to_its_part_of_the_ceiling(share: float) -> None:
    """At a server that never slows down: the parts of all are never more than the ceiling, nor much less."""
    desk = Desk()
    desk.limiter.set_share(share, now=0.0)
    assert desk.limiter.limit == max(1, round(FLOOR * share))
    desk.answer(3000)
    assert int(0.8 * CEILING * share) <= desk.limiter.limit <= CEILING * share


def test_a_share_that_changes_changes_the_limit_alone() -> None:
    """What was found out of the server stays known. A moment in which our share was small leaves nothing behind."""
    desk = Desk()
    for share in (0.01, 1.0):
        desk.limiter.set_share(share, now=desk.now)
    assert desk.limiter.limit == FLOOR
    desk.answer(32 + 32 + 32)
    assert desk.limiter.limit == 32
    for share, limit in ((0.5, 16), (0.01, 1), (1 / 3, 11), (1.0, 32)):
        desk.limiter.set_share(share, now=desk.now)
        assert (desk.limiter.limit, desk.limiter.whole) == (limit, 32)


def test_calls_sent_with_another_share_do_not_count() -> None:
    """They stood for more of them, or fewer."""
    desk = Desk()
    desk.now = 1000.0
    desk.limiter.set_share(1 / 3, now=desk.now)
    desk.answer(32, seconds=1000.0)
    assert desk.limiter.whole == FLOOR


def test_overload_never_raises_what_the_whole_may_be() -> None:
    """One call of a small share stands for more than there may be of them all."""
    desk = Desk(floor=4, ceiling=8)
    desk.limiter.set_share(0.01, now=desk.now)
    desk.answer(1000)
    desk.overload()
    desk.limiter.set_share(1.0, now=desk.now)
    assert desk.limiter.limit <= 8


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["answered", "answered", "answered", "overloaded", "share"]),
        st.integers(1, 200),  # how many of them
        st.floats(-1, 1e9) | st.floats(0, 3),  # seconds
        st.integers(0, 10**9) | st.integers(0, 100),  # tokens
        st.floats(0, 2),  # calls in flight, as a share of the limit
        st.floats(0, 1e6) | st.just(0.0),  # how far time moves
    ),
    max_size=40,
)


@given(floor=st.integers(1, 40), more=st.integers(0, 100), events=EVENTS)
def test_whatever_happens(floor: int, more: int, events: list[tuple[str, int, float, int, float, float]]) -> None:
    """The limit never leaves our share of its bounds, and overload never raises it."""
    limiter, now, share = AdaptiveConcurrency(floor=floor, ceiling=floor + more), 0.0, 1.0
    for event, times, seconds, tokens, used, pause in events:
        for _ in range(times):
            now += pause
            before = limiter.limit
            match event:
                case "overloaded":
                    limiter.overloaded(seconds=seconds, now=now)
                    assert limiter.limit <= before
                case "share":
                    share = max(1, used * 12) / 24
                    limiter.set_share(share, now=now)
                case _:
                    in_flight = round(used * before)
                    limiter.answered(seconds=seconds, output_tokens=tokens, in_flight=in_flight, now=now)
            assert max(1, int(floor * share)) <= limiter.limit <= max(1, int((floor + more) * share))

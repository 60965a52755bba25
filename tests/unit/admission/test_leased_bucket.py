"""What a replica has in hand of a shared limit, and what it asks for and gives back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.admission.leased_bucket import Claim, Grant, Holding


def _granted(holding: Holding, amount: float, *, wait_seconds: float = 0.0) -> None:
    holding.granted(Grant(amount=amount, wait_seconds=wait_seconds))


def test_nothing_passes_before_it_is_granted() -> None:
    """However long it takes: time alone fills nothing."""
    holding = Holding(per_minute=6000)
    assert holding.wait_seconds(1, now=3600.0) == math.inf
    _granted(holding, 1)
    assert holding.wait_seconds(1, now=3600.0) == 0


def test_grants_add_up_for_a_large_request() -> None:
    """What has come is not asked for again, and all of it goes out at once."""
    holding = Holding(per_minute=60_000)
    for has, lacks in ((0, 300), (120, 180), (240, 60)):
        assert holding.wait_seconds(300, now=0.0) == math.inf
        claim = holding.claim([300, 5], now=0.0)
        assert claim == Claim(per_minute=60_000, wanted=lacks, needed=lacks, returned=0), has
        _granted(holding, min(120, lacks), wait_seconds=1.0)
    assert holding.wait_seconds(300, now=0.0) == 0
    holding.take(300, now=0.0)
    assert holding.available(now=0.0) == 0


def test_a_request_larger_than_a_burst_goes_out_for_one() -> None:
    """The rest is a debt, which the next claim tells."""
    holding = Holding(per_minute=600)
    claim = holding.claim([300], now=0.0)
    assert claim is not None
    assert claim.needed == holding.burst == 7
    _granted(holding, 7)
    assert holding.wait_seconds(300, now=0.0) == 0
    holding.take(300, now=0.0)
    told = holding.claim([], now=0.0)
    assert told is not None
    assert told.returned == -293


def test_it_asks_for_what_the_queue_will_take_soon() -> None:
    """Of a long queue a tenth of a second's worth, of which the first call's part is needed before anything goes on."""
    holding = Holding(per_minute=6000)
    assert holding.claim([4] * 100, now=0.0) == Claim(per_minute=6000, wanted=10, needed=4, returned=0)
    _granted(holding, 10)
    assert holding.claim([4] * 100, now=0.0) is None
    assert holding.claim([4], now=0.0) is None


def test_nothing_is_asked_for_nobody() -> None:
    """An empty queue wants nothing."""
    assert Holding(per_minute=6000).claim([], now=0.0) is None


def test_what_a_call_did_not_use_is_everybodys() -> None:
    """It goes back with the next claim, and is not in hand again: only the one place knows how full the bucket is."""
    holding = Holding(per_minute=6000)
    _granted(holding, 10)
    holding.take(10, now=0.0)
    holding.give_back(6, now=0.0)
    assert holding.available(now=0.0) == 0
    assert holding.claim([], now=0.0) == Claim(per_minute=6000, wanted=0, needed=0, returned=6)
    _granted(holding, 0)
    assert holding.claim([], now=0.0) is None


def test_what_a_call_used_beyond_is_owed_to_everybody() -> None:
    """It is told, and told again until somebody has heard it."""
    holding = Holding(per_minute=6000)
    holding.give_back(-6, now=0.0)
    assert holding.available(now=0.0) == -6
    for _ in range(2):
        claim = holding.claim([], now=0.0)
        assert claim is not None
        assert claim.returned == -6
        assert holding.owed(now=0.0) == 6
        holding.unanswered()
    holding.claim([], now=0.0)
    _granted(holding, 0)
    assert holding.owed(now=0.0) == 0


def test_what_may_have_been_returned_is_not_returned_twice() -> None:
    """An answer that was lost is no reason to give the same units to everybody a second time."""
    holding = Holding(per_minute=6000)
    holding.give_back(6, now=0.0)
    assert holding.claim([], now=0.0) is not None
    holding.unanswered()
    assert holding.claim([], now=0.0) is None


def test_what_lies_idle_for_a_second_goes_back() -> None:
    """Others may have work."""
    holding = Holding(per_minute=6000)
    _granted(holding, 8)
    for now, returned in ((10.0, None), (10.9, None), (11.0, 8)):
        claim = holding.claim([], now=now)
        assert (claim and claim.returned) == returned, now


def test_what_is_wanted_again_is_kept() -> None:
    """The second begins anew whenever the queue wants it."""
    holding = Holding(per_minute=6000)
    _granted(holding, 8)
    for now in (10.0, 10.9, 11.8, 12.7):
        assert holding.claim([], now=now) is None
        assert holding.claim([8], now=now + 0.1) is None


def test_what_was_saved_up_for_one_who_left_goes_back_at_once() -> None:
    """All but the stock: a heap of it would go out in one instant, when others have taken a burst too."""
    for amount in (0, 1, 30):
        holding = Holding(per_minute=6000)
        _granted(holding, 500, wait_seconds=1.0)
        if amount:
            holding.wait_seconds(amount, now=0.0)
            assert holding.available(now=0.0) == max(10, amount)
        claim = holding.claim([amount] if amount else [], now=0.0)
        assert claim is not None
        assert claim.returned == 500 - max(10, amount)


def test_who_has_left_gives_up_the_turn() -> None:
    """A replica that waits at the head of all others' queue says so when it wants nothing any more."""
    holding = Holding(per_minute=60)
    holding.claim([1], now=0.0)
    _granted(holding, 0, wait_seconds=1.0)
    assert holding.claim([], now=0.0) == Claim(per_minute=60, wanted=0, needed=0, returned=0)
    _granted(holding, 0)
    assert holding.claim([], now=0.0) is None


def test_all_is_put_down_at_the_end() -> None:
    """Whatever is in hand is in the next claim."""
    holding = Holding(per_minute=6000)
    _granted(holding, 8)
    holding.put_down()
    claim = holding.claim([], now=0.0)
    assert claim is not None
    assert claim.returned == 8


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["grant", "take", "give back", "claim", "lose", "wait"]), st.floats(0, 50))
    )
)
def test_not_a_unit_is_made_up(steps: list[tuple[str, float]]) -> None:
    """In any course of events, what was taken and is in hand is never more than what was granted and not returned."""
    holding, now, balance = Holding(per_minute=6000), 0.0, 0.0
    for step, amount in steps:
        now += 0.3
        match step:
            case "grant":
                _granted(holding, amount)
                balance += amount
            case "take" if holding.wait_seconds(amount, now=now) == 0:
                holding.take(amount, now=now)
                balance -= amount
            case "give back":
                holding.give_back(amount, now=now)
                balance += amount
            case "claim" | "lose":
                claim = holding.claim([amount], now=now)
                balance -= claim.returned if claim else 0.0
                if step == "lose":
                    holding.unanswered()
                else:
                    _granted(holding, 0)
            case _:
                continue
        assert holding.available(now=now) <= balance + 1e-4


def test_the_stock_follows_the_limit() -> None:
    """A limit that is raised lets more be asked for."""
    holding = Holding(per_minute=60)
    holding.set_rate(6000, now=0.0)
    claim = holding.claim([1] * 50, now=0.0)
    assert claim is not None
    assert claim.per_minute == 6000
    assert claim.wanted == pytest.approx(10)
    assert holding.burst == pytest.approx(70)

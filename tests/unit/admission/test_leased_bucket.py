"""What a replica has in hand of a shared limit, and what it asks for and gives back."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.admission.leased_bucket import Claim, Grant, LeasedBucket


def _granted(leased_bucket: LeasedBucket, amount: float, *, wait_seconds: float = 0.0) -> None:
    leased_bucket.granted(Grant(amount=amount, wait_seconds=wait_seconds))


def test_nothing_passes_before_it_is_granted() -> None:
    """However long it takes: time alone fills nothing."""
    leased_bucket = LeasedBucket(per_minute=6000)
    assert leased_bucket.wait_seconds(1, now=3600.0) == math.inf
    _granted(leased_bucket, 1)
    assert leased_bucket.wait_seconds(1, now=3600.0) == 0


def test_grants_add_up_for_a_large_request() -> None:
    """What has come is not asked for again, and all of it goes out at once."""
    leased_bucket = LeasedBucket(per_minute=60_000)
    for has, lacks in ((0, 300), (120, 180), (240, 60)):
        assert leased_bucket.wait_seconds(300, now=0.0) == math.inf
        claim = leased_bucket.claim([300, 5], now=0.0)
        assert claim == Claim(per_minute=60_000, wanted=lacks, needed=lacks, returned=0), has
        _granted(leased_bucket, min(120, lacks), wait_seconds=1.0)
    assert leased_bucket.wait_seconds(300, now=0.0) == 0
    leased_bucket.take(300, now=0.0)
    assert leased_bucket.available(now=0.0) == 0


def test_a_request_larger_than_a_burst_goes_out_for_one() -> None:
    """The rest is a debt, which the next claim tells."""
    leased_bucket = LeasedBucket(per_minute=600)
    claim = leased_bucket.claim([300], now=0.0)
    assert claim is not None
    assert claim.needed == leased_bucket.burst == 7
    _granted(leased_bucket, 7)
    assert leased_bucket.wait_seconds(300, now=0.0) == 0
    leased_bucket.take(300, now=0.0)
    told = leased_bucket.claim([], now=0.0)
    assert told is not None
    assert told.returned == -293


def test_of_a_slow_limit_one_request_may_pass_at_once() -> None:
    """Or nothing ever would."""
    assert LeasedBucket(per_minute=6).burst == 1


@pytest.mark.parametrize(("amount", "left"), [(6.5, 0.5), (7.5, -0.5), (10, -3)])
def test_what_is_taken_beyond_is_owed_and_the_rest_stays_in_hand(amount: float, left: float) -> None:
    """A debt is told with the next claim, and takes nothing from what is granted after it."""
    leased_bucket = LeasedBucket(per_minute=6000)
    _granted(leased_bucket, 7)
    leased_bucket.take(amount, now=0.0)
    assert leased_bucket.available(now=0.0) == left
    claim = leased_bucket.claim([8], now=0.0)
    assert claim is not None
    assert claim.returned == min(left, 0)
    _granted(leased_bucket, 4)
    assert leased_bucket.available(now=0.0) == 4 + max(left, 0)


def test_what_the_queue_wants_is_kept_when_the_rest_goes_back() -> None:
    """What goes back pays no debt that is made meanwhile."""
    leased_bucket = LeasedBucket(per_minute=6000)
    _granted(leased_bucket, 10)
    assert leased_bucket.claim([4], now=0.0) is None
    claim = leased_bucket.claim([4], now=1.0)
    assert claim is not None
    assert (claim.returned, leased_bucket.available(now=1.0)) == (6, 4)
    leased_bucket.take(5, now=1.0)
    assert leased_bucket.owed(now=1.0) == 1


def test_it_asks_for_what_the_queue_will_take_soon() -> None:
    """Of a long queue a tenth of a second's worth, of which the first call's part is needed before anything goes on."""
    leased_bucket = LeasedBucket(per_minute=6000)
    assert leased_bucket.claim([4] * 100, now=0.0) == Claim(per_minute=6000, wanted=10, needed=4, returned=0)
    _granted(leased_bucket, 10)
    assert leased_bucket.claim([4] * 100, now=0.0) is None
    assert leased_bucket.claim([4], now=0.0) is None


def test_nothing_is_asked_for_nobody() -> None:
    """An empty queue wants nothing."""
    assert LeasedBucket(per_minute=6000).claim([], now=0.0) is None


def test_what_a_call_did_not_use_is_everybodys() -> None:
    """It goes back with the next claim, and is not in hand again: only the one place knows how full the bucket is."""
    leased_bucket = LeasedBucket(per_minute=6000)
    _granted(leased_bucket, 10)
    leased_bucket.take(10, now=0.0)
    leased_bucket.give_back(6, now=0.0)
    assert leased_bucket.available(now=0.0) == 0
    assert leased_bucket.claim([], now=0.0) == Claim(per_minute=6000, wanted=0, needed=0, returned=6)
    _granted(leased_bucket, 0)
    assert leased_bucket.claim([], now=0.0) is None


def test_what_a_call_used_beyond_is_owed_to_everybody() -> None:
    """It is told, and told again until somebody has heard it."""
    leased_bucket = LeasedBucket(per_minute=6000)
    leased_bucket.give_back(-6, now=0.0)
    assert leased_bucket.available(now=0.0) == -6
    for _ in range(2):
        claim = leased_bucket.claim([], now=0.0)
        assert claim is not None
        assert claim.returned == -6
        assert leased_bucket.owed(now=0.0) == 6
        leased_bucket.unanswered()
    leased_bucket.claim([], now=0.0)
    _granted(leased_bucket, 0)
    assert leased_bucket.owed(now=0.0) == 0


def test_what_may_have_been_returned_is_not_returned_twice() -> None:
    """An answer that was lost is no reason to give the same units to everybody a second time."""
    leased_bucket = LeasedBucket(per_minute=6000)
    leased_bucket.give_back(6, now=0.0)
    assert leased_bucket.claim([], now=0.0) is not None
    leased_bucket.unanswered()
    assert leased_bucket.claim([], now=0.0) is None


def test_what_lies_idle_for_a_second_goes_back() -> None:
    """Others may have work."""
    leased_bucket = LeasedBucket(per_minute=6000)
    _granted(leased_bucket, 8)
    for now, returned in ((10.0, None), (10.9, None), (11.0, 8)):
        claim = leased_bucket.claim([], now=now)
        assert (claim and claim.returned) == returned, now


def test_what_is_wanted_again_is_kept() -> None:
    """The second begins again whenever the queue wants it."""
    leased_bucket = LeasedBucket(per_minute=6000)
    _granted(leased_bucket, 8)
    for now in (10.0, 10.9, 11.8, 12.7):
        assert leased_bucket.claim([], now=now) is None
        assert leased_bucket.claim([8], now=now + 0.1) is None


def test_what_was_saved_up_for_one_who_left_goes_back_at_once() -> None:
    """All but the stock: a heap of it would go out in one instant, when others have taken a burst too."""
    for amount in (0, 1, 30):
        leased_bucket = LeasedBucket(per_minute=6000)
        _granted(leased_bucket, 500, wait_seconds=1.0)
        if amount:
            leased_bucket.wait_seconds(amount, now=0.0)
            assert leased_bucket.available(now=0.0) == max(10, amount)
        claim = leased_bucket.claim([amount] if amount else [], now=0.0)
        assert claim is not None
        assert claim.returned == 500 - max(10, amount)


def test_who_has_left_gives_up_the_turn() -> None:
    """A replica that waits at the head of all others' queue says so when it wants nothing any more."""
    leased_bucket = LeasedBucket(per_minute=60)
    leased_bucket.claim([1], now=0.0)
    _granted(leased_bucket, 0, wait_seconds=1.0)
    assert leased_bucket.claim([], now=0.0) == Claim(per_minute=60, wanted=0, needed=0, returned=0)
    _granted(leased_bucket, 0)
    assert leased_bucket.claim([], now=0.0) is None


def test_all_is_put_down_at_the_end() -> None:
    """Whatever is in hand is in the next claim."""
    leased_bucket = LeasedBucket(per_minute=6000)
    _granted(leased_bucket, 8)
    leased_bucket.return_all()
    claim = leased_bucket.claim([], now=0.0)
    assert claim is not None
    assert claim.returned == 8


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["grant", "take", "give back", "claim", "lose", "wait"]), st.floats(0, 50))
    )
)
def test_not_a_unit_is_made_up(steps: list[tuple[str, float]]) -> None:
    """In any course of events, what was taken and is in hand is never more than what was granted and not returned."""
    leased_bucket, now, balance = LeasedBucket(per_minute=6000), 0.0, 0.0
    for step, amount in steps:
        now += 0.3
        match step:
            case "grant":
                _granted(leased_bucket, amount)
                balance += amount
            case "take" if leased_bucket.wait_seconds(amount, now=now) == 0:
                leased_bucket.take(amount, now=now)
                balance -= amount
            case "give back":
                leased_bucket.give_back(amount, now=now)
                balance += amount
            case "claim" | "lose":
                claim = leased_bucket.claim([amount], now=now)
                balance -= claim.returned if claim else 0.0
                if step == "lose":
                    leased_bucket.unanswered()
                else:
                    _granted(leased_bucket, 0)
            case _:
                continue
        assert leased_bucket.available(now=now) <= balance + 1e-4


def test_the_stock_follows_the_limit() -> None:
    """A limit that is raised lets more be asked for."""
    leased_bucket = LeasedBucket(per_minute=60)
    leased_bucket.set_rate(6000, now=0.0)
    claim = leased_bucket.claim([1] * 50, now=0.0)
    assert claim is not None
    assert claim.per_minute == 6000
    assert claim.wanted == pytest.approx(10)
    assert leased_bucket.burst == pytest.approx(70)

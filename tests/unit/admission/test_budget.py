"""Dollars an hour and a day."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.admission.budget import Budget, Spent

NOON = 12 * 3600.0
CENTS = st.integers(0, 200).map(lambda cents: Decimal(cents) / 100)


def _spend(budget: Budget, usd: str, *, now: float) -> None:
    budget.reserve(Decimal(usd))
    budget.settle(Decimal(usd), Decimal(usd), now=now)


def test_without_a_cap_everything_passes() -> None:
    """However much it costs."""
    budget = Budget()
    _spend(budget, "1000000", now=NOON)
    assert budget.wait_seconds(Decimal(1), now=NOON) == 0
    assert (budget.is_set, budget.spent(now=NOON), budget.spent_ratios(now=NOON)) == (False, [], {})


def test_what_is_under_way_counts() -> None:
    """A call goes out only while what was spent and what is reserved leave room for it."""
    budget = Budget(usd_per_hour=Decimal(1))
    budget.reserve(Decimal("0.6"))
    assert budget.wait_seconds(Decimal("0.4"), now=NOON) == 0
    assert budget.wait_seconds(Decimal("0.41"), now=NOON) > 0
    budget.settle(Decimal("0.6"), Decimal("0.1"), now=NOON)
    assert budget.wait_seconds(Decimal("0.9"), now=NOON) == 0


def test_it_waits_for_the_end_of_the_window() -> None:
    """Of the hour, or of the day: whichever is spent, and the longer of both."""
    budget = Budget(usd_per_hour=Decimal(1), usd_per_day=Decimal(3))
    now = NOON + 600
    for _ in range(3):
        _spend(budget, "1", now=now)
        now += 3600
    assert budget.wait_seconds(Decimal("0.1"), now=now - 3600) == 24 * 3600 - (now - 3600)
    one = Budget(usd_per_hour=Decimal(1))
    _spend(one, "1", now=NOON + 600)
    assert one.wait_seconds(Decimal("0.1"), now=NOON + 600) == 3000
    assert one.wait_seconds(Decimal("0.1"), now=NOON + 3600) == 0


def test_a_cap_below_the_price_of_a_call_stops_nothing_for_ever() -> None:
    """One call a window goes out, for else nothing ever would and nobody would know why."""
    budget = Budget(usd_per_hour=Decimal("0.01"))
    assert budget.wait_seconds(Decimal(1), now=NOON) == 0
    budget.reserve(Decimal(1))
    assert budget.wait_seconds(Decimal(1), now=NOON) > 0


def test_a_restart_goes_on_in_the_same_window() -> None:
    """What was spent before is restored. That of a window that is over is forgotten."""
    before = Budget(usd_per_hour=Decimal(1), usd_per_day=Decimal(100))
    _spend(before, "1", now=NOON + 10)
    for now, hour in ((NOON + 20, Decimal(1)), (NOON + 3600, Decimal(0))):
        after = Budget(usd_per_hour=Decimal(1), usd_per_day=Decimal(100))
        for spent in before.spent(now=NOON + 10):
            after.restore(spent)
        assert after.spent(now=now) == [
            Spent("hour", now // 3600 * 3600, hour),
            Spent("day", 0.0, Decimal(1)),
        ]


def test_what_was_spent_in_an_hour_is_not_the_days() -> None:
    """Each window goes on from its own."""
    budget = Budget(usd_per_hour=Decimal(1), usd_per_day=Decimal(100))
    budget.restore(Spent("hour", NOON, Decimal("0.5")))
    assert [spent.usd for spent in budget.spent(now=NOON + 10)] == [Decimal("0.5"), 0]


def test_of_a_cap_of_nothing_nothing_is_spent() -> None:
    """There is no ratio to it."""
    assert Budget(usd_per_hour=Decimal(0)).spent_ratios(now=NOON) == {"hour": 0}


@pytest.mark.parametrize(
    ("spent", "cost", "passes"),
    [("1", "9", True), ("1", "9.01", False), ("1", "2", False), ("1", "2.01", True), ("2", "3", False)],
)
def test_a_call_larger_than_our_share_may_pass_the_share_and_not_the_cap(
    spent: str, cost: str, *, passes: bool
) -> None:
    """As long as there is some of our share left."""
    budget = Budget(usd_per_hour=Decimal(10))
    budget.set_share(1.0, now=NOON)
    budget.set_share(0.2, now=NOON)
    _spend(budget, spent, now=NOON)
    assert (budget.wait_seconds(Decimal(cost), now=NOON) == 0) == passes


def test_a_share_is_of_every_cap() -> None:
    """And the ratio is of our share."""
    budget = Budget(usd_per_hour=Decimal(4))
    budget.set_share(0.25, now=NOON)
    _spend(budget, "0.5", now=NOON)
    assert budget.spent_ratios(now=NOON) == {"hour": 0.5}
    assert budget.wait_seconds(Decimal("0.5"), now=NOON) == 0
    assert budget.wait_seconds(Decimal("0.51"), now=NOON) > 0


def test_a_call_larger_than_our_share_waits_for_no_other_window() -> None:
    """While anything of our share is left it goes, once, as far as the whole cap would take it."""
    budget = Budget(usd_per_day=Decimal(1))
    midnight = NOON // 86_400 * 86_400
    budget.set_share(1 / 12, now=midnight)
    _spend(budget, "0.001", now=midnight)
    assert budget.wait_seconds(Decimal("0.09"), now=midnight) == 0
    assert budget.wait_seconds(Decimal("0.083"), now=midnight) > 0, "it fits into our share of the next window"
    assert budget.wait_seconds(Decimal(1), now=midnight) > 0, "more than the whole cap has left"
    budget.reserve(Decimal("0.09"))
    assert budget.wait_seconds(Decimal("0.09"), now=midnight) > 0
    budget.settle(Decimal("0.09"), Decimal("0.09"), now=midnight)
    assert budget.wait_seconds(Decimal("0.09"), now=midnight) > 0


@given(
    cap=st.integers(1, 10).map(Decimal),
    share=st.just(1.0) | st.floats(0.01, 1),
    calls=st.lists(st.tuples(CENTS, st.floats(0, 1), st.floats(0, 1000))),
)
def test_never_over_the_cap(cap: Decimal, share: float, calls: list[tuple[Decimal, float, float]]) -> None:
    """In any window what is spent is at most our share of the cap, where no call costs more than expected.

    But for one call that is larger than the share, and even that only within the whole cap, or all alone.
    """
    budget, now = Budget(usd_per_hour=cap), NOON
    budget.set_share(share, now=now)
    ours = cap * Decimal(str(share))
    by_window: dict[float, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    for expected, part, pause in calls:
        now += pause
        wait = budget.wait_seconds(expected, now=now)
        assert wait <= 3600
        now += wait
        assert budget.wait_seconds(expected, now=now) == 0, "after its wait it passes"
        budget.reserve(expected)
        actual = expected * Decimal(str(round(part, 2)))
        budget.settle(expected, actual, now=now)
        if expected:
            by_window[now // 3600].append((expected, actual))
    for spent in by_window.values():
        *before, last = [actual for _, actual in spent]
        if sum(before) + last > ours:
            assert sum(before) < ours < spent[-1][0]
            assert sum(before) + last <= cap or not any(before)


@pytest.mark.parametrize("share", [0.001, 1 / 3, 1.0])
def test_any_share_is_kept_exactly(share: float) -> None:
    """Dollars are decimal, also when the share is not."""
    budget = Budget(usd_per_hour=Decimal(1))
    budget.set_share(share, now=NOON)
    assert budget.spent_ratios(now=NOON) == {"hour": 0}


def test_a_clock_that_was_ahead_stops_nothing_for_long() -> None:
    """What was spent stays spent, and the window ends with the hour that it really is."""
    budget = Budget(usd_per_hour=Decimal(1))
    _spend(budget, "1", now=NOON + 365 * 86_400)
    assert budget.wait_seconds(Decimal("0.1"), now=NOON + 600) == 3000
    again = Budget(usd_per_hour=Decimal(1))
    again.restore(Spent("hour", NOON + 365 * 86_400, Decimal(1)))
    assert again.wait_seconds(Decimal("0.1"), now=NOON + 600) == 3000


def test_a_clock_that_is_ahead_for_a_moment_forgets_nothing() -> None:
    """What was spent before is there again with the hour, and what was spent meanwhile is added to it."""
    budget = Budget(usd_per_hour=Decimal(10), usd_per_day=Decimal(100))
    _spend(budget, "9", now=NOON + 600)
    _spend(budget, "0.5", now=NOON + 600 + 3600)
    assert budget.spent(now=NOON + 601)[0] == Spent("hour", NOON, Decimal("9.5"))
    assert budget.spent(now=NOON + 3600)[0] == Spent("hour", NOON + 3600, Decimal(0))
    assert budget.spent(now=NOON + 3601)[1].usd == Decimal("9.5")


def _ours(budget: Budget, *, now: float) -> float:
    """How much of the cap may be spent in this window, all told."""
    _spend(budget, "0.0001", now=now)
    ratio = budget.spent_ratios(now=now)["hour"]
    return float(budget.spent(now=now)[0].usd) / ratio if ratio else 0.0


def test_who_joins_within_a_window_has_a_share_of_what_is_left_of_it() -> None:
    """The rest others may have spent, and they give up no more than that. In the next one it has all of its share."""
    first, second = (Budget(usd_per_hour=Decimal(1)) for _ in range(2))
    first.set_share(1.0, now=NOON + 600)
    for budget in (first, second):
        budget.set_share(0.5, now=NOON + 2700)
    assert _ours(first, now=NOON + 2700) == pytest.approx(0.875)
    assert _ours(second, now=NOON + 2700) == pytest.approx(0.125)
    assert _ours(second, now=NOON + 3600) == pytest.approx(0.5)
    second.set_share(1.0, now=NOON + 3600 + 1800)  # the other one has left, and had spent what it might
    assert _ours(second, now=NOON + 3600 + 1800) == pytest.approx(0.75)


def test_who_comes_back_to_a_window_has_its_share_of_all_of_it() -> None:
    """What it had spent is known. A replica of another window only is new."""
    for began_at, ours in ((NOON, 0.5), (NOON - 3600, 0.25)):
        budget = Budget(usd_per_hour=Decimal(1))
        budget.restore(Spent("hour", began_at, Decimal(0)))
        budget.set_share(0.5, now=NOON + 1800)
        assert _ours(budget, now=NOON + 1800) == pytest.approx(ours)


def test_who_is_alone_has_all_of_it() -> None:
    """Whenever it comes."""
    budget = Budget(usd_per_hour=Decimal(1))
    budget.set_share(1.0, now=NOON + 3000)
    assert _ours(budget, now=NOON + 3000) == pytest.approx(1)


def test_a_clock_that_is_ahead_for_a_moment_changes_no_share() -> None:
    """It is what it was."""
    budget = Budget(usd_per_hour=Decimal(1))
    budget.set_share(0.5, now=NOON + 1800)
    assert _ours(budget, now=NOON + 1800 + 3600) == pytest.approx(0.5)
    assert _ours(budget, now=NOON + 1801) == pytest.approx(0.25, abs=0.001)


@given(st.lists(st.tuples(st.floats(0, 300), st.integers(1, 12)), min_size=1, max_size=12))
def test_the_shares_of_a_window_are_never_more_than_the_cap(changes: list[tuple[float, int]]) -> None:
    """However many replicas come and go, each with the same share."""
    budgets: list[Budget] = []
    everybody: list[Budget] = []
    now = NOON
    for pause, count in changes:
        now += pause
        while len(budgets) < count:
            budgets.append(Budget(usd_per_hour=Decimal(1)))
            everybody.append(budgets[-1])
        for gone in budgets[count:]:
            gone.set_share(0.0, now=now)
        del budgets[count:]
        for budget in budgets:
            budget.set_share(1 / count, now=now)
    assert sum(_ours(budget, now=now) for budget in everybody) <= 1.0001

"""What refusals and time-outs say of the pace of all calls, and what a trial makes of it."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.admission.overloads import Overloads, Verdict


def _answered(overloads: Overloads, times: int, *, sent_at: float = 0.0) -> None:
    for _ in range(times):
        overloads.answered(sent_at=sent_at)


def _trial(overloads: Overloads, *, refused: int, calls: int = 150) -> Verdict | None:
    overloads.begin_trial(calls=calls, now=10.0)
    for number in range(calls):
        assert overloads.verdict() is None
        if number % calls < calls - refused:
            overloads.answered(sent_at=10.0)
        else:
            overloads.met(sent_at=10.0)
    return overloads.verdict()


def _held(share: float, calls: int, *, overloads: Overloads | None = None) -> float:
    """Of a random share of overloads, the part that is taken for more than accidents."""
    overloads, chance, held = overloads or Overloads(), random.Random(1), []
    _answered(overloads, 40)
    for _ in range(calls):
        if chance.random() < share:
            held.append(overloads.met(sent_at=0.0))
        else:
            overloads.answered(sent_at=0.0)
    return sum(held) / len(held)


def test_before_the_first_answers_one_is_enough() -> None:
    """A limit that is met at the start is to be kept to at once."""
    assert Overloads().met(sent_at=0.0)


@pytest.mark.parametrize("share", [0.002, 0.005, 0.01])
def test_rare_ones_are_accidents(share: float) -> None:
    """They make nobody wait."""
    assert _held(share, 20_000) < 0.03


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_frequent_ones_are_a_limit(share: float) -> None:
    """One call in ten is no accident, as far as is known."""
    assert _held(share, 5_000) > 0.6


@pytest.mark.parametrize("share", [0.03, 0.06, 0.1])
def test_what_going_slowly_does_not_end_are_accidents(share: float) -> None:
    """As many are expected from then on, and one in thirty of them at most still makes others wait."""
    overloads = Overloads()
    assert _trial(overloads, refused=round(150 * share)) is Verdict.ACCIDENTS
    assert _held(share, 20_000, overloads=overloads) < 0.03


def test_a_limit_is_seen_at_the_third_after_many_answers() -> None:
    """For a minute's limit comes at the end of the minute. Among accidents that are known it takes a few more."""
    overloads = Overloads()
    _answered(overloads, 1000)
    assert [overloads.met(sent_at=0.0) for _ in range(4)] == [False, False, True, True]
    _trial(overloads, refused=15)
    _answered(overloads, 1000)
    assert [overloads.met(sent_at=20.0) for _ in range(6)].index(True) in {4, 5}


def test_one_trial_has_one_verdict() -> None:
    """A limit when hardly any are left, and when far too many are: nothing refuses so much by accident."""
    for refused, verdict in (
        (0, Verdict.LIMIT),
        (2, Verdict.LIMIT),
        (3, Verdict.ACCIDENTS),
        (25, Verdict.ACCIDENTS),
        (26, Verdict.STILL_TOO_FAST),
    ):
        overloads = Overloads()
        assert _trial(overloads, refused=refused) is verdict
        assert overloads.verdict() is None


def test_accidents_that_have_ceased_are_forgotten() -> None:
    """When slower calls meet none of them, trial after trial."""
    overloads = Overloads()
    _trial(overloads, refused=15)
    for _ in range(6):
        assert _trial(overloads, refused=0) is Verdict.LIMIT
    assert _held(0.1, 5_000, overloads=overloads) > 0.3


def test_what_is_expected_follows_the_trials() -> None:
    """Half as many again as were met, at once. Less only as fast as trials outweigh two hundred calls of before."""
    overloads = Overloads()
    _trial(overloads, refused=15)
    assert overloads._accidents == pytest.approx(0.15)
    _trial(overloads, refused=0)
    assert overloads._accidents == pytest.approx(0.15 * 200 / 350)
    _trial(overloads, refused=24)
    assert overloads._accidents == pytest.approx(0.2), "no more are accidents"
    for _ in range(20):
        _trial(overloads, refused=0)
    assert overloads._accidents == pytest.approx(0.005), "some are always possible"


def test_calls_from_before_a_trial_tell_nothing_in_it() -> None:
    """But they are held back like the one that began it."""
    overloads = Overloads()
    overloads.begin_trial(calls=1, now=10.0)
    _answered(overloads, 5, sent_at=9.0)
    assert overloads.met(sent_at=9.0)
    assert overloads.verdict() is None
    overloads.answered(sent_at=10.0)
    assert overloads.verdict() is Verdict.LIMIT


@pytest.mark.parametrize(("accidents", "times"), [(0, 2), (6, 4), (15, 6)])
def test_a_document_that_is_refused_too_often_for_accidents_has_its_turn(accidents: int, times: int) -> None:
    """A large one is to be the first after a pause now and then. The more accidents there are, the later."""
    overloads = Overloads()
    _trial(overloads, refused=accidents)
    _answered(overloads, 100)
    assert [number for number in range(10) if overloads.gives_turn(times_alone=number)] == [times]
    _answered(overloads, 49)
    assert not overloads.gives_turn(times_alone=9)
    _answered(overloads, 1)
    assert overloads.gives_turn(times_alone=9)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 20)), max_size=400))
def test_whatever_happens_it_stays_within_its_bounds(steps: list[tuple[bool, bool, int]]) -> None:
    """The expected share of accidents is one in two hundred at least and one in five at most. A trial ends."""
    overloads, begun = Overloads(), 0
    for is_overload, begins, sent_at in steps:
        if begins:
            overloads.begin_trial(calls=20, now=float(sent_at))
            begun += 1
        if is_overload:
            overloads.met(sent_at=float(sent_at))
        else:
            overloads.answered(sent_at=float(sent_at))
        begun -= overloads.verdict() is not None
        assert begun >= 0
        assert 0.005 <= overloads._accidents <= 0.2
        assert 0.0 <= overloads._evidence <= 12.0

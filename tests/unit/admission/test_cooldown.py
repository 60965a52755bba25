"""The pause that a provider asks for."""

from __future__ import annotations

import pytest

from docsluice_consumer.admission.cooldown import Cooldown


def test_it_is_open_to_begin_with() -> None:
    """Nobody has asked for a pause yet."""
    assert Cooldown().wait_seconds(now=0.0, crowd=16) == 0


def test_it_opens_slowly() -> None:
    """The first crowd goes out evenly over the opening, and later calls go at once."""
    gate = Cooldown(opening_seconds=2.0)
    gate.close(7.0, now=100.0)
    waits = []
    for _ in range(5):
        waits.append(gate.wait_seconds(now=100.0, crowd=4))
        gate.passed()
    assert waits == pytest.approx([7.0, 7.5, 8.0, 8.5, 7.0])


def test_who_comes_long_after_waits_for_nothing() -> None:
    """The opening is over, however few have passed."""
    gate = Cooldown(opening_seconds=2.0)
    gate.close(1.0, now=0.0)
    gate.passed()
    assert gate.wait_seconds(now=3.0, crowd=100) == 0


def test_the_longest_pause_holds() -> None:
    """A shorter one changes nothing, not even how many have passed."""
    gate = Cooldown()
    gate.close(10.0, now=0.0)
    gate.close(1.0, now=0.0)
    assert gate.wait_seconds(now=0.0, crowd=1) == 10
    gate.close(20.0, now=1.0)
    assert gate.wait_seconds(now=1.0, crowd=1) == 20


def test_one_that_is_just_as_long_keeps_who_has_passed() -> None:
    """Refusals come together, and the opening goes on where it was: by default over two seconds."""
    gate = Cooldown()
    gate.close(10.0, now=0.0)
    gate.passed()
    gate.close(10.0, now=0.0)
    assert gate.wait_seconds(now=0.0, crowd=2) == 11


def test_a_second_longer_is_no_news() -> None:
    """It holds, and is not told again."""
    gate = Cooldown()
    assert gate.close(10.0, now=100.0) == 10
    assert gate.close(11.0, now=100.0) == 0
    assert gate.wait_seconds(now=100.0, crowd=1) == 11
    assert gate.close(12.5, now=100.0) == 12.5


def test_it_can_be_opened_before_its_time() -> None:
    """As slowly as ever, whoever had passed before."""
    gate = Cooldown(opening_seconds=2.0)
    gate.close(10.0, now=0.0)
    gate.passed()
    gate.open(now=3.0)
    assert gate.wait_seconds(now=3.0, crowd=2) == 0
    gate.passed()
    assert gate.wait_seconds(now=3.0, crowd=2) == 1


def test_a_provider_that_only_refuses_is_asked_ever_less() -> None:
    """Whatever it says: a word of no time at all would be a busy loop. Refusals that come together are one."""
    gate, now, pauses = Cooldown(), 0.0, []
    for _ in range(10):
        gate.close(0.0, now=now)
        pauses.append(gate.wait_seconds(now=now, crowd=1))
        assert gate.close(0.0, now=now) == 0, "that is known"
        now += pauses[-1]
    assert pauses == [0.25, 0.5, 1, 2, 4, 8, 15, 15, 15, 15]
    gate.answered()
    gate.close(0.0, now=now)
    assert gate.wait_seconds(now=now, crowd=1) == 0.25


def test_a_minute_is_kept_to_at_most() -> None:
    """Of whatever was asked: then one call tries."""
    assert Cooldown().close(3600.0, now=0.0) == 60

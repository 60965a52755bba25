"""Whether a provider is well."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice_consumer.admission.circuit_breaker import CircuitBreaker


def _opened(now: float = 0.0) -> CircuitBreaker:
    circuit = CircuitBreaker()
    assert [circuit.failed(is_probe=False, now=now) for _ in range(5)] == [False] * 4 + [True]
    return circuit


def test_it_opens_on_faults_in_a_row() -> None:
    """An answer in between begins the count again."""
    circuit = CircuitBreaker()
    for _ in range(10):
        for _ in range(4):
            assert not circuit.failed(is_probe=False, now=0.0)
        assert not circuit.answered(is_probe=False)
    assert not circuit.is_open
    assert circuit.wait_seconds(now=0.0) == 0


def test_where_answers_come_between_many_faults_more_are_needed() -> None:
    """Nine calls in ten fail for a while, and that is unlearned within a few answers."""
    circuit = CircuitBreaker()
    for _ in range(10):
        for _ in range(9):
            circuit.failed(is_probe=True, now=0.0)
        circuit.answered(is_probe=True)
    assert not any(circuit.failed(is_probe=False, now=0.0) for _ in range(17))
    assert circuit.failed(is_probe=False, now=0.0)
    circuit.answered(is_probe=True)
    assert [circuit.failed(is_probe=False, now=3.0 * n) for n in range(5)] == [False] * 4 + [True], "all the while"
    for _ in range(30):
        circuit.answered(is_probe=True)
    assert [circuit.failed(is_probe=False, now=0.0) for _ in range(5)] == [False] * 4 + [True]


def _used_to(faults: int) -> CircuitBreaker:
    """One whose answers came after so many faults in a row."""
    circuit = CircuitBreaker()
    for _ in range(faults):
        circuit.failed(is_probe=True, now=0.0)
    circuit.answered(is_probe=True)
    return circuit


def test_what_it_is_used_to_is_forgotten_bit_by_bit() -> None:
    """One more answer takes a tenth of it."""
    circuit = _used_to(9)
    circuit.answered(is_probe=False)
    assert [circuit.failed(is_probe=False, now=0.0) for _ in range(17)] == [False] * 16 + [True]


def test_a_hundred_faults_open_it_whatever_it_is_used_to() -> None:
    """So many in a row are an outage."""
    circuit = _used_to(60)
    assert [circuit.failed(is_probe=False, now=0.0) for _ in range(100)] == [False] * 99 + [True]


@pytest.mark.parametrize(("seconds", "opens"), [(9.5, False), (10.0, True)])
def test_ten_seconds_of_faults_open_it_whatever_it_is_used_to(seconds: float, *, opens: bool) -> None:
    """From the first of the row on, whenever that is."""
    circuit = _used_to(9)
    times = [100.0, 101.0, 102.0, 103.0, 100.0 + seconds]
    assert [circuit.failed(is_probe=False, now=now) for now in times] == [False] * 4 + [opens]


def test_while_it_is_open_probes_go_out_one_by_one() -> None:
    """Each later than the one before, up to every two seconds."""
    circuit, now, pauses = _opened(), 0.0, []
    for _ in range(6):
        pauses.append(circuit.wait_seconds(now=now))
        now += pauses[-1]
        assert circuit.sent(now=now)
        assert circuit.wait_seconds(now=now) > 5, "until this one has ended"
        assert not circuit.failed(is_probe=True, now=now)
    assert pauses == [0.5, 1.0, 2.0, 2.0, 2.0, 2.0]


def test_probes_that_may_be_paid_for_go_out_ever_more_rarely() -> None:
    """Up to one a minute."""
    circuit, now, pauses = _opened(), 0.0, []
    for _ in range(9):
        pauses.append(circuit.wait_seconds(now=now))
        now += pauses[-1]
        circuit.sent(now=now)
        circuit.failed(is_probe=True, is_paid=True, now=now)
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]


def test_a_probe_that_is_overdue_may_go_out_now() -> None:
    """Nobody waits for less than no time."""
    assert _opened().wait_seconds(now=100.0) == 0


def test_a_word_about_a_day_is_believed_for_a_minute() -> None:
    """Then a probe asks whether it still holds."""
    circuit = CircuitBreaker()
    circuit.shut("quota", now=0.0, pause_seconds=3600.0)
    assert circuit.wait_seconds(now=0.0) == 60


def test_a_probe_that_is_answered_closes_it() -> None:
    """And nothing else does: other answers are to calls of before."""
    circuit = _opened()
    assert not circuit.answered(is_probe=False)
    assert circuit.is_open
    circuit.sent(now=1.0)
    assert circuit.answered(is_probe=True)
    assert (circuit.is_open, circuit.opened_for, circuit.wait_seconds(now=1.0)) == (False, None, 0)
    assert not circuit.sent(now=1.0)


def test_faults_of_calls_from_before_change_nothing() -> None:
    """Thirty calls in flight fail together, and the probe is not put off thirty times."""
    circuit = _opened(now=10.0)
    for _ in range(30):
        assert not circuit.failed(is_probe=False, now=10.4)
    assert circuit.wait_seconds(now=10.4) == pytest.approx(0.1)


def test_a_probe_that_hangs_does_not_hide_the_end_of_an_outage() -> None:
    """After ten seconds another one goes out beside it."""
    circuit = _opened()
    circuit.sent(now=1.0)
    assert circuit.wait_seconds(now=10.9) > 0
    assert circuit.wait_seconds(now=11.0) == 0


def test_an_empty_account_opens_it_at_once_and_for_longer() -> None:
    """Whether or not it was open for another reason. Each that is told so puts the next probe off."""
    for circuit in (CircuitBreaker(), _opened()):
        was_open = circuit.is_open
        assert circuit.shut("quota", now=5.0) is not was_open
        assert circuit.opened_for == "quota"
        assert circuit.wait_seconds(now=5.0) == 10
        assert not circuit.shut("quota", now=7.0)
        assert circuit.wait_seconds(now=7.0) == 10


@given(st.lists(st.tuples(st.sampled_from(["answered", "failed", "exhausted", "sent", "given_up"]), st.booleans())))
def test_it_always_lets_a_probe_out_in_time(events: list[tuple[str, bool]]) -> None:
    """Whatever happens, the next call may go out within ten seconds: nothing waits for ever."""
    circuit, now = CircuitBreaker(), 0.0
    for event, is_probe in events:
        now += 0.7
        match event:
            case "answered":
                circuit.answered(is_probe=is_probe)
            case "failed":
                circuit.failed(is_probe=is_probe, now=now)
            case "exhausted":
                circuit.shut("quota", now=now)
            case "sent":
                circuit.sent(now=now)
            case _:
                circuit.given_up(now=now)
        assert 0 <= circuit.wait_seconds(now=now) <= 10.001
        assert circuit.is_open or circuit.wait_seconds(now=now) == 0

"""Which calls the rehearsal provider lets fail."""

import re
from pathlib import Path

import pytest

from docsluice_local.rehearsal.faults import Fault, Trouble, UnknownFaultError, drawn_fault, fault_named, marked_fault
from docsluice_local.rehearsal.settings import RehearsalSettings

PAGE = Path(__file__).parents[4] / "docs/how-to/rehearse.md"


def _fates(text: str, calls: int) -> list[Trouble | None]:
    return [marked_fault(text, call_number=number) for number in range(1, calls + 1)]


def test_a_bare_marker_fails_every_call() -> None:
    """A refused document stays refused."""
    assert _fates("A story. [[rehearse:refusal]]", 3) == [Fault.REFUSAL] * 3


def test_a_counted_marker_fails_the_first_calls_only() -> None:
    """`x2` is two failures, then success."""
    assert _fates("[[rehearse:500x2]] A story.", 4) == [Fault.INTERNAL_ERROR] * 2 + [None] * 2


def test_markers_follow_one_another() -> None:
    """A whole course of trouble can be written down."""
    text = "[[rehearse:429x1]][[rehearse:context_length_exceededx1]] then [[rehearse:hangx1]]"
    assert _fates(text, 4) == [Fault.RATE_LIMITED, Fault.CONTEXT_LENGTH_EXCEEDED, Fault.HANG, None]


def test_a_marker_may_be_for_one_task() -> None:
    """The others are answered."""
    text = "[[rehearse:refusalx1@keywords]] [[rehearse:500x1]]"
    assert marked_fault(text, call_number=1, task="keywords") is Fault.REFUSAL
    assert marked_fault(text, call_number=2, task="keywords") is Fault.INTERNAL_ERROR
    assert marked_fault(text, call_number=1, task="summary") is Fault.INTERNAL_ERROR
    assert marked_fault(text, call_number=2, task="summary") is None


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_has_a_marker(fault: Fault) -> None:
    """Counted or not, also where the name holds an x or digits."""
    assert _fates(f"[[rehearse:{fault}]]", 1) == [fault]
    assert _fates(f"[[rehearse:{fault}x1]]", 2) == [fault, None]
    assert fault_named(str(fault)) is fault


def test_every_fault_is_on_the_page() -> None:
    """docs/how-to/rehearse.md has a row for each, and none that does not exist."""
    table = PAGE.read_text(encoding="utf-8").partition("| fault |")[2].partition("\n\n")[0]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(Fault)


def test_a_misspelt_fault_is_an_error() -> None:
    """A rehearsal of nothing must not look like a success."""
    with pytest.raises(UnknownFaultError, match="refusel"):
        marked_fault("[[rehearse:refusel]]", call_number=1)


def test_text_without_a_marker_is_left_alone() -> None:
    """Square brackets alone ask for nothing."""
    assert _fates("[[1]] [rehearse:500]", 1) == [None]


def test_rates_divide_the_calls() -> None:
    """Each rate is a share of all calls, and the rest passes."""
    rates: dict[Trouble, float] = {Fault.RATE_LIMITED: 0.25, Fault.HANG: 0.25}
    drawn = [drawn_fault(rates, quantile=quantile) for quantile in (0.1, 0.3, 0.6, 0.9)]
    assert drawn == [Fault.RATE_LIMITED, Fault.HANG, None, None]


def test_rates_of_more_than_all_calls_are_refused() -> None:
    """Shares above one can only be a mistake."""
    with pytest.raises(ValueError, match="fault rates"):
        RehearsalSettings(fault_rates={Fault.HANG: 0.7, Fault.RESET: 0.4})

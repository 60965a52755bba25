"""Sums of money that others have written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.outcomes.money import dollars
from docsluice.outcomes.outcome import Unreadable, outcome_of
from docsluice_producer.dead_letters.counts import Counts
from docsluice_producer.dead_letters.redriving import Forecast
from docsluice_producer.following.display import totals_text
from docsluice_producer.following.tally import Tally
from tests.fakes.dead_letters import fetched, letter
from tests.fakes.outcomes import Fetched, dead_letter, result, result_outcome

FORGED = ["NaN", "sNaN", "Infinity", "-Infinity", "1e999", "1E+3", "-1", "-0.01", "1000000.01", "9" * 12, "9" * 5_000]
FORGED += ["", " 1", "1_000", "0x10", "\u0661", "1,5", "$1", "free"]


@pytest.mark.parametrize("written", FORGED)
def test_what_is_no_sum_of_money_is_taken_for_none(written: str) -> None:
    """Not a number, endless, negative, more than any document can cost, or not as the service writes it."""
    assert dollars(written) is None


@pytest.mark.parametrize("written", ["0", "0.5", "1000000", "0." + "0" * 27 + "1"])
def test_what_the_service_writes_is_taken(written: str) -> None:
    """To the last digit."""
    assert dollars(written) == Decimal(written)


@given(st.lists(st.text() | st.decimals().map(str) | st.floats().map(str)))
def test_no_header_spoils_a_total(written: list[str]) -> None:
    """The sum is that of the true costs, and the others are counted beside it."""
    tally, counts = Tally(), Counts()
    for number, text in enumerate([*written, "0.25"]):
        taken = text.encode(errors="replace").decode()
        tally.add(dead_letter(number, errors={"cost_usd": taken}))
        counts.add(letter(fetched(number, cost_usd=taken)))
    true = [amount for text in [*written, "0.25"] if (amount := dollars(text)) is not None]
    assert tally.cost_usd == sum(true, Decimal(0)) >= Decimal("0.25")
    assert tally.costs_left_out == len(written) + 1 - len(true)
    assert counts.lines[-1].startswith(f"{len(written) + 1} dead letter")


def test_it_is_told_how_many_costs_were_left_out() -> None:
    """In the totals of follow, in the list of dead letters, and before a redrive."""
    tally, counts, forecast = Tally(), Counts(), Forecast()
    tally.add(result_outcome(9))
    for number, text in enumerate(["NaN", "-1", "0.5"]):
        tally.add(dead_letter(number, errors={"cost_usd": text}))
        one = letter(fetched(number, cost_usd=text))
        counts.add(one)
        forecast.add(one)
    assert "cost: $0.5003 (2 costs left out: no sums of money)" in totals_text(tally)
    assert counts.lines[-1] == "3 dead letters, $0.5 spent on them (2 costs left out: no sums of money)"
    assert "no cost is known of 2 dead letters" in forecast.sentences


def test_a_dead_letter_without_a_cost_is_left_out_of_nothing() -> None:
    """Other programs write dead letters, too."""
    counts = Counts()
    counts.add(letter(fetched(1, cost_usd=None)))
    assert counts.lines[-1] == "1 dead letter, $0 spent on it"


@pytest.mark.parametrize("amount", ["-0.5", "1000000.5", "1E-40"])
@pytest.mark.parametrize("name", ["cost_usd", "saved_usd"])
def test_a_result_with_such_a_cost_is_unreadable(name: str, amount: str) -> None:
    """The service would never have written it."""
    found = outcome_of(Fetched(value=result(1, **{name: Decimal(amount)}).model_dump_json().encode()))
    assert isinstance(found, Unreadable)

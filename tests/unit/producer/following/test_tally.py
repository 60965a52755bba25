"""What is counted, how often, and how a person is told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from docsluice.messages import SourcePosition, Usage
from docsluice.outcomes.outcome import Unreadable
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.following import tally as tally_room
from docsluice_producer.following.display import time_up_text, totals_text
from docsluice_producer.following.tally import Tally
from tests.fakes.outcomes import Fetched, dead_letter, outcome, result, result_outcome


def test_each_document_counts_once() -> None:
    """A result that comes again, or the result of a record that was a dead letter before, is a repeat."""
    tally = Tally()
    assert tally.add(result_outcome(1))
    assert not tally.add(result_outcome(1, source=SourcePosition(topic="documents", partition=3, offset=99)))
    assert tally.add(dead_letter(2))
    assert not tally.add(dead_letter(2))
    assert not tally.add(result_outcome(2))
    assert (tally.results, tally.dead_letters, tally.repeats, tally.documents) == (1, 1, 3, 2)


def test_a_redriven_document_that_fails_again_counts_again() -> None:
    """It keeps its first origin. The replay count tells one run from the next."""
    tally = Tally()
    assert tally.add(dead_letter(2))
    assert not tally.add(dead_letter(2))
    assert tally.add(dead_letter(2, errors={"replay_count": "1"}))


def test_a_redriven_document_that_does_well_counts_again() -> None:
    """Its result names the place to which it was sent again, so it is taken for no repeat of the dead letter."""
    tally = Tally()
    assert tally.add(dead_letter(2))
    assert tally.add(result_outcome(2, source=SourcePosition(topic="documents", partition=0, offset=50)))
    assert not tally.add(result_outcome(2, source=SourcePosition(topic="documents", partition=0, offset=50)))
    assert (tally.dead_letters, tally.results, tally.repeats) == (1, 1, 1)


def test_a_record_that_is_asked_something_else_counts_again() -> None:
    """What another pipeline makes of the same record is another result, and so is what comes of its dead letter."""
    tally = Tally()
    assert tally.add(result_outcome(1))
    assert tally.add(result_outcome(1, result_id="other", pipeline_version="p2"))
    assert tally.add(dead_letter(2))
    assert tally.add(dead_letter(2, errors={"pipeline_version": "p2"}))
    assert tally.add(result_outcome(2, pipeline_version="p3"))
    assert (tally.documents, tally.repeats) == (5, 0)


def test_a_topic_that_was_made_anew_repeats_nothing() -> None:
    """Other documents in the places of earlier ones are no repeats, however they end."""
    tally = Tally()
    assert tally.add(result_outcome(1))
    assert tally.add(result_outcome(1, document_id="another", result_id="another"))
    assert tally.add(dead_letter(1, key=b"a third"))
    assert (tally.documents, tally.repeats) == (3, 0)


def test_the_key_names_the_record_of_a_result() -> None:
    """A result and a dead letter of one record have its key in common, whatever the event calls the document."""
    tally = Tally()
    assert tally.add(dead_letter(1, key=b"k"))
    assert not tally.add(outcome(Fetched(key=b"k", value=result(1).model_dump_json().encode())))


def test_totals_are_exact() -> None:
    """Tokens and dollars are summed over results and dead letters without rounding, repeats left out."""
    tally = Tally()
    for other in (False, True, True):
        tally.add_unreadable(Unreadable(where="there", problem="odd", of_another_version=other))
    for one in (result_outcome(1), result_outcome(1), result_outcome(2), dead_letter(3)):
        tally.add(one)
    assert tally.usage == Usage(input_tokens=200, output_tokens=40, cached_tokens=20)
    assert tally.cost_usd == Decimal("0.5006")
    assert totals_text(tally).splitlines() == [
        "model  results  tokens in  tokens out     cost",
        "m            2        200          40  $0.0006",
        "seconds a result: p50 59, p95 122",
        "2 results, 1 dead letter (too_large 1), 1 repeat dropped, 1 unreadable record, 2 of another schema version",
        "tokens: 200 in (20 cached), 40 out · cost: $0.5006",
    ]


def test_each_model_has_a_row_and_each_task_that_several_have_answered_a_line() -> None:
    """The dearest model comes first. A document that two models answered is in a row of its own."""
    tally = Tally()
    tally.add(result_outcome(1, models={"summary": "small", "keywords": "small"}))
    tally.add(result_outcome(2, models={"summary": "large", "keywords": "small"}, cost_usd=Decimal("0.5")))
    tally.add(result_outcome(3, models={"summary": "small", "keywords": "small"}))
    assert totals_text(tally).splitlines()[:4] == [
        "model          results  tokens in  tokens out     cost",
        "large + small        1        100          20     $0.5",
        "small                2        200          40  $0.0006",
        "summary: small 2, large 1",
    ]


def test_each_task_with_calls_of_its_own_has_a_row() -> None:
    """The dearest first."""
    tally = Tally()
    for number in (1, 2):
        summary = {"input_tokens": 70, "output_tokens": 15, "cost_usd": Decimal("0.0002")}
        category = {"input_tokens": 30, "output_tokens": 5, "cost_usd": Decimal("0.0001")}
        tally.add(result_outcome(number, usage_by_task={"category": category, "summary": summary}))
    tally.add(result_outcome(3))
    assert totals_text(tally).splitlines()[2:5] == [
        "task      results  tokens in  tokens out     cost",
        "summary         2        140          30  $0.0004",
        "category        2         60          10  $0.0002",
    ]


def test_names_of_models_are_bounded() -> None:
    """A foreign topic may name another model in each record. The rest of them share a row."""
    tally = Tally()
    for number in range(1, 80):
        tally.add(result_outcome(number, models={"summary": f"m{number}"}))
    assert len(tally.by_model) == 51
    assert tally.by_model[tally_room.OTHER_MODELS].documents == 29
    assert sum(spent.documents for spent in tally.by_model.values()) == 79


def test_what_was_spent_before_a_redrive_is_summed_once() -> None:
    """A dead letter's cost is that of all its runs, and those that were seen to fail have been counted then."""
    tally = Tally()
    for number, replays, cost in (
        (1, 0, "0.5"),
        (2, 0, "0.25"),
        (1, 1, "0.75"),
        (1, 1, "0.75"),
        (1, 2, "1"),
        (3, 2, "4"),
    ):
        tally.add(dead_letter(number, errors={"replay_count": str(replays), "cost_usd": cost}))
    assert tally.cost_usd == Decimal("5.25")  # of the third it was not seen how it failed before


def test_a_run_that_begins_at_nothing_is_summed_as_it_is() -> None:
    """Read once more under another pipeline a record has no earlier cost, and no header makes the sum less."""
    tally = Tally()
    tally.add(dead_letter(1))
    tally.add(dead_letter(1, errors={"pipeline_version": "p2", "cost_usd": "0.25"}))
    tally.add(dead_letter(1, errors={"replay_count": "1", "cost_usd": "0.125"}))
    tally.add(dead_letter(1, key=b"another"))
    for offset in (1, 2):
        tally.add(dead_letter(1, errors={"topic": "", "replay_count": str(offset)}))
    assert tally.cost_usd == Decimal("2.25")


def test_savings_are_summed_where_there_are_any() -> None:
    """What the store of steps has spared stands beside the cost."""
    tally = Tally()
    for number in (1, 2, 2):
        tally.add(result_outcome(number, saved_usd=Decimal("0.0014")))
    assert totals_text(tally).endswith("cost: $0.0006 · saved: $0.0028")


def test_what_had_come_when_the_time_was_up() -> None:
    """Documents count, however they ended, and repeats do not."""
    tally = Tally()
    for one in (result_outcome(1), dead_letter(2), dead_letter(2)):
        tally.add(one)
    assert time_up_text(tally, until=None, seconds=60) == "the time of 60 s is up: 2 documents had ended"
    assert time_up_text(tally, until=1_000, seconds=0.5) == "the time of 0.5 s is up: 2 of 1,000 documents had ended"


def test_the_rate_is_that_of_the_outcomes_themselves() -> None:
    """Documents an hour come from when they ended, not from how fast an old topic is read, and not from repeats."""
    tally = Tally()
    for number in range(5, 0, -1):
        tally.add(result_outcome(number))
        tally.add(result_outcome(number))
    assert tally.documents_per_hour is None
    for number in range(10, 5, -1):
        tally.add(result_outcome(number))
    assert tally.documents_per_hour == pytest.approx(60)
    assert totals_text(tally).endswith(" · 60 documents an hour")


def test_memory_of_repeats_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many identities are remembered: following for months does not grow."""
    monkeypatch.setattr(tally_room, "REMEMBERED", 4)
    tally = Tally()
    assert all(tally.add(result_outcome(number)) for number in (1, 2, 3))
    assert not tally.add(result_outcome(3))
    assert tally.add(result_outcome(1))


def test_numbers_and_nouns() -> None:
    """One document, two documents."""
    assert [counted(number, "row") for number in (0, 1, 1_200)] == ["0 rows", "1 row", "1,200 rows"]

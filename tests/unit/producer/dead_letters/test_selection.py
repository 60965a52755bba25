"""Which dead letters are meant, and what they come to."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from docsluice_producer.dead_letters.counts import Counts
from docsluice_producer.dead_letters.letter import Source, place_of, source_in
from docsluice_producer.dead_letters.marks import Mark, Marks, Place, State
from docsluice_producer.dead_letters.selection import Selection, Wanted
from tests.fakes.dead_letters import HOUR_MS, WRITTEN_MS, fetched, letter
from tests.fakes.outcomes import Fetched, result

HANDLED_MS = WRITTEN_MS + HOUR_MS


def selection(**wanted: Any) -> Selection:
    return Selection(wanted=Wanted(**wanted), say=lambda _: None)


def taken(chosen: Selection, *records: Fetched, marks: Marks | None = None) -> list[int]:
    found = [chosen.take(record, marks or Marks()) for record in records]
    return [one.record.offset for one in found if one is not None]


def marked(
    record: Fetched,
    state: State,
    *,
    timestamp_ms: int | None = None,
    at_ms: int = HANDLED_MS,
    marks: Marks | None = None,
) -> Marks:
    marks = Marks() if marks is None else marks
    time = record.timestamp if timestamp_ms is None else timestamp_ms
    marks.add(Mark(Place(record.partition, record.offset), time, state), at_ms=at_ms)
    return marks


def again(offset: int, *, timestamp_ms: int) -> Fetched:
    """The dead letter of document `d1` once more, under the same pipeline and without having been sent again."""
    record = fetched(1)
    record.offset, record.timestamp = offset, timestamp_ms
    return record


@pytest.mark.parametrize(
    ("wanted", "offsets"),
    [
        ({}, [1, 2, 3]),
        ({"reasons": frozenset({"refused"})}, [2]),
        ({"reasons": frozenset({"refused", "undecodable"})}, [2, 3]),
        ({"steps": frozenset({"summary"})}, [1, 2]),
        ({"steps": frozenset({"keywords"})}, []),
        ({"document_id": "d3"}, [3]),
        ({"reasons": frozenset({"refused"}), "document_id": "d3"}, []),
        ({"document_id": "documents/0@2", "source": Source("documents", 0, 2)}, [2]),
        ({"document_id": "d1", "source": Source("documents", 0, 2)}, [1, 2]),
        ({"document_id": "mails/0@2", "source": Source("mails", 0, 2)}, []),
    ],
)
def test_filters_narrow_the_choice(wanted: dict[str, Any], offsets: list[int]) -> None:
    """A dead letter passes when each filter that was given lets it pass."""
    records = [fetched(1), fetched(2, reason="refused"), fetched(3, reason="undecodable", step=None)]
    assert taken(selection(**wanted), *records) == offsets


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("documents/0@150", Source("documents", 0, 150)),
        ("a.b-c_d/12@9000000000", Source("a.b-c_d", 12, 9_000_000_000)),
        ("0@150", None),
        ("a/b/0@150", None),
        ("documents/0@", None),
        ("mail/17", None),
    ],
)
def test_a_source_place_is_told_from_an_id(text: str, source: Source | None) -> None:
    """It is `topic/partition@offset`, as the service's log names a record."""
    assert source_in(text) == source
    assert source is None or str(source) == text


def test_a_place_as_earlier_releases_wrote_it() -> None:
    """It may stand in a ticket, or in a file of results."""
    assert source_in("a.b/3@17") == source_in("a.b[3]@17") == Source("a.b", 3, 17)
    assert source_in("a.b[3@17") is None


def test_a_place_may_name_the_dead_letter_topic() -> None:
    """It is then that of the dead letter itself, and else that of the record as it was first read."""
    assert place_of(Source("documents.dlq", 3, 17), topic="documents.dlq") == Place(3, 17)
    assert place_of(Source("documents", 3, 17), topic="documents.dlq") is None


@pytest.mark.parametrize("state", [State.REDRIVEN, State.DROPPED])
def test_what_is_handled_is_passed_over(state: State) -> None:
    """It is counted, and taken when asked for, with its state."""
    record = fetched(1)
    chosen = selection()
    assert taken(chosen, record, marks=marked(record, state)) == []
    assert chosen.remarks == ["1 handled already (redriven or dropped; list --all shows them)"]
    found = selection(handled_too=True).take(record, marked(record, state))
    assert found is not None
    assert found.fields["state"] == state.value


def test_a_topic_made_anew_has_no_marks() -> None:
    """The mark of another record in the same place says nothing of this one."""
    record = fetched(1)
    assert taken(selection(), record, marks=marked(record, State.DROPPED, timestamp_ms=5)) == [1]


def test_a_dead_letter_that_came_twice_is_taken_once() -> None:
    """At-least-once delivery may write one twice. The second is no other document, even when the first is handled."""
    first, repeat = fetched(1), again(2, timestamp_ms=HANDLED_MS)
    chosen = selection()
    assert taken(chosen, first, repeat, again(3, timestamp_ms=HANDLED_MS + HOUR_MS)) == [1]
    assert chosen.remarks == ["2 repeats of others"]
    for handled_too in (False, True):
        chosen = selection(handled_too=handled_too)
        assert taken(chosen, first, repeat, marks=marked(first, State.REDRIVEN)) == ([1] if handled_too else [])
        assert chosen.repeats == 1


def test_a_repeat_that_failed_otherwise_is_a_repeat_under_every_filter() -> None:
    """Read again after a crash a document may fail for another reason. Asked for by that it would be sent twice."""
    first, repeat = fetched(1, reason="truncated"), fetched(1, reason="refused")
    repeat.offset = 2
    for marks in (Marks(), marked(first, State.REDRIVEN)):
        chosen = selection(reasons=frozenset({"refused"}))
        assert taken(chosen, first, repeat, marks=marks) == []
        assert chosen.remarks == ["1 repeat of others"]


@pytest.mark.parametrize("state", [State.REDRIVEN, State.DROPPED])
def test_what_fails_again_after_it_was_handled_is_no_repeat(state: State) -> None:
    """An outage's dead letters are dropped and their records read again: what fails then is another dead letter."""
    first, repeat = fetched(1), again(2, timestamp_ms=HANDLED_MS)
    failed, its_repeat = (again(offset, timestamp_ms=HANDLED_MS + offset) for offset in (3, 4))
    marks = marked(first, state)
    chosen = selection()
    assert taken(chosen, first, repeat, failed, its_repeat, marks=marks) == [3]
    assert chosen.remarks == ["1 handled already (redriven or dropped; list --all shows them)", "2 repeats of others"]
    assert taken(selection(handled_too=True), first, repeat, failed, its_repeat, marks=marks) == [1, 3]
    marked(failed, state, at_ms=HANDLED_MS + HOUR_MS, marks=marks)
    once_more = again(5, timestamp_ms=HANDLED_MS + HOUR_MS + 1)
    assert taken(selection(), first, repeat, failed, its_repeat, once_more, marks=marks) == [5]


@pytest.mark.parametrize(
    "changed", [{"replay_count": "1"}, {"timestamp": "5"}, {"group": "other"}, {"pipeline_version": "p2"}]
)
def test_another_life_is_no_repeat(changed: dict[str, Any]) -> None:
    """What was redriven and failed again is another dead letter, and so is one of another group or pipeline."""
    again = fetched(1, **changed)
    again.offset = 2
    assert taken(selection(), fetched(1), again) == [1, 2]


def test_dead_letters_without_an_origin_are_all_different() -> None:
    """Where the headers do not tell where it came from, nothing is taken for a repeat."""
    records = [fetched(number, topic=None, partition=None, offset=None) for number in (1, 2)]
    assert taken(selection(), *records) == [1, 2]


def test_what_is_no_dead_letter_is_named_and_counted() -> None:
    """By its place, for the first ten of them."""
    said: list[str] = []
    chosen = Selection(wanted=Wanted(), say=said.append)
    junk = Fetched(value=b"\x1b[2Jjunk", topic="documents.dlq")
    of_result = Fetched(value=result().model_dump_json().encode(), topic="documents.dlq")
    assert taken(chosen, *[junk] * 20, of_result) == []
    assert chosen.remarks == ["21 records are no dead letters"]
    assert said == ["0@7: no dead letter: no header of it gives a reason"] * 10


def test_a_result_among_dead_letters_is_named_as_such() -> None:
    """Somebody has given two topics one name."""
    said: list[str] = []
    chosen = Selection(wanted=Wanted(), say=said.append)
    assert taken(chosen, Fetched(value=result().model_dump_json().encode(), topic="documents.dlq")) == []
    assert said == ["0@7: no dead letter: it is a result"]
    assert chosen.remarks == ["1 record is no dead letter"]


def test_counts_are_by_reason_and_step() -> None:
    """The most frequent first, with the time of the newest and what was spent. A sum at the end."""
    counts = Counts()
    for one in (
        letter(fetched(1, last_failed_at="2026-01-02T00:00:00Z")),
        letter(fetched(2)),
        letter(fetched(3, reason="undecodable", step=None, cost_usd="0")),
    ):
        counts.add(one)
    head, first, second, total = counts.lines
    assert head.split() == ["reason", "step", "count", "newest", "spent"]
    assert first.split() == ["invalid_answer", "summary", "2", "2026-01-02T00:00:00.000Z", "$1"]
    assert second.split() == ["undecodable", "-", "1", "2026-01-01T12:30:00.000Z", "$0"]
    assert total == "3 dead letters, $1 spent on them"


def test_what_a_redriven_one_has_cost_is_counted_in_its_next_life() -> None:
    """Cost goes along when a record is sent again, so that it would be counted twice. The sum says what it is of."""
    counts = Counts()
    for one in (
        letter(fetched(1), state=State.REDRIVEN),
        letter(fetched(1, replay_count="1", cost_usd="0.75")),
        letter(fetched(2), state=State.DROPPED),
    ):
        counts.add(one)
    _, row, total = counts.lines
    assert row.split() == ["invalid_answer", "summary", "3", "2026-01-01T12:30:00.000Z", "$1.25"]
    assert total == "3 dead letters, $1.25 spent on those that are not redriven"


def test_no_counts_are_one_line() -> None:
    """An empty table has no head."""
    assert Counts().lines == ["0 dead letters, $0 spent on them"]


@pytest.mark.parametrize(
    ("changed", "cost"),
    [
        ({}, Decimal("0.5")),
        ({"replay_count": "1"}, Decimal("0.25")),
        ({"replay_count": "many"}, Decimal("0.5")),
        ({"cost_usd": "0"}, Decimal(0)),
        ({"cost_usd": None}, None),
        ({"cost_usd": "NaN"}, None),
    ],
)
def test_a_run_has_cost_its_share(changed: dict[str, Any], cost: Decimal | None) -> None:
    """The cost header is of all runs together. Without one that can be read the cost is not known."""
    assert letter(fetched(1, **changed)).cost_of_a_run == cost

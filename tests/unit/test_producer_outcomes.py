"""Results and dead letters to outcomes, totals, lines and tables."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.contracts import ERROR_HEADER_PREFIX, DocumentResult, Headers, SourcePosition, Usage
from producer.faults import WrongUsage
from producer.following import tally as tally_room
from producer.following.display import outcome_text, time_up_text, totals_text, unreadable_text
from producer.following.outcome import Outcome, Unreadable, outcome_of
from producer.following.tables import json_line, open_table
from producer.following.tally import Tally
from producer.printable import counted, printable

SECRET_TEXT = "the text of the document"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Fetched:
    value: bytes | None
    key: bytes | None = None
    headers: Headers = field(default_factory=tuple)
    topic: str = "documents.results"
    partition: int = 0
    offset: int = 7
    timestamp: int = 1_767_268_800_000


def result(number: int = 1, **changed: Any) -> DocumentResult:
    fields: dict[str, Any] = {
        "result_id": f"r{number}",
        "document_id": f"d{number}",
        "outputs": {"summary": "Short.", "keywords": ["a", "b"]},
        "models": {"summary": "m"},
        "usage": Usage(input_tokens=100, output_tokens=20, cached_tokens=10),
        "cost_usd": Decimal("0.00030"),
        "attempts": 2,
        "started_at": NOON,
        "finished_at": NOON + timedelta(minutes=number),
        "pipeline_version": "p1",
        "mode": "fanout",
        "source": SourcePosition(topic="documents", partition=0, offset=number),
        "excerpt": "The text…",
        "metadata": {"lang": "en"},
    }
    return DocumentResult(**fields | changed)


def outcome(record: Fetched) -> Outcome:
    found = outcome_of(record)
    assert isinstance(found, Outcome), found
    return found


def result_outcome(number: int = 1, **changed: Any) -> Outcome:
    return outcome(Fetched(value=result(number, **changed).model_dump_json().encode()))


def dead_letter(
    number: int = 1, *, key: bytes | None = None, value: bytes | None = None, errors: dict[str, str] | None = None
) -> Outcome:
    said = {
        "topic": "documents",
        "partition": "0",
        "offset": str(number),
        "reason": "too_large",
        "stage": "analyze",
        "step": "summary",
        "exception.message": "9,000 tokens, and the model takes 8,192",
        "exception.stacktrace": "Traceback: secret",
        "cost_usd": "0.5",
        "attempts": "3",
        "last_failed_at": "2026-01-01T12:30:00.000Z",
        "replay_count": "0",
    }
    headers = [(ERROR_HEADER_PREFIX + name, text.encode()) for name, text in (said | (errors or {})).items()]
    value = value or json.dumps({"document_id": f"d{number}", "text": SECRET_TEXT}).encode()
    return outcome(Fetched(value=value, key=key, headers=headers, topic="documents.dlq"))


def test_a_result_is_read() -> None:
    """Everything that a line or a table shows of a result comes from its JSON."""
    found = result_outcome()
    assert (found.document_id, found.is_dead_letter, found.cost_usd) == ("d1", False, Decimal("0.0003"))
    assert found.outputs == {"summary": "Short.", "keywords": ["a", "b"]}
    assert found.usage.output_tokens == 20


def test_a_dead_letter_is_known_by_its_headers() -> None:
    """Reason, step and message come from the error headers, on whatever topic the record is."""
    found = dead_letter(key=b"the-key")
    assert (found.document_id, found.reason, found.stage, found.step) == ("the-key", "too_large", "analyze", "summary")
    assert (found.message, found.cost_usd) == ("9,000 tokens, and the model takes 8,192", Decimal("0.5"))


@pytest.mark.parametrize(
    ("key", "value", "document_id"),
    [
        (b"k", b"{}", "k"),
        (None, b'{"document_id": "from json"}', "from json"),
        (b"", b'{"document_id": "from json"}', "from json"),
        (None, b'{"document_id": 5}', "documents.dlq[0]@7"),
        (None, b"\xff", "documents.dlq[0]@7"),
        (None, b"[" * 100_000, "documents.dlq[0]@7"),
        (b"\xff", b"", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_dead_letter_has_an_id_whatever_it_holds(key: bytes | None, value: bytes, document_id: str) -> None:
    """The key names the document, else its JSON, else the place of the record."""
    assert dead_letter(key=key, value=value).document_id == document_id


@given(st.text(), st.text(), st.text())
@example("NaN", "2026-01-01T00:00:00", "-1")
@example("Infinity", "2026-01-01", "")
def test_foreign_headers_do_not_break_the_reading(cost_usd: str, last_failed_at: str, offset: str) -> None:
    """A dead letter with headers that make no sense is still a dead letter."""
    changed = {"cost_usd": cost_usd, "last_failed_at": last_failed_at, "offset": offset}
    found = dead_letter(errors={name: text.encode(errors="replace").decode() for name, text in changed.items()})
    assert found.cost_usd.is_finite()
    tally = Tally()
    assert tally.add(result_outcome(1, source=SourcePosition(topic="other", partition=0, offset=0)))
    assert tally.add(found)


@pytest.mark.parametrize(
    "value", [None, b"", b"junk", b"{}", b"[]", b"\xff", b'{"document_id": "d", "text": "secret"}']
)
def test_anything_else_is_unreadable_and_says_where(value: bytes | None) -> None:
    """A record that is neither is named by its place, and its contents are not shown."""
    found = outcome_of(Fetched(value=value))
    assert isinstance(found, Unreadable)
    assert found.where == "documents.results[0] offset 7"
    assert "secret" not in unreadable_text(found).plain


def test_the_document_s_text_is_shown_nowhere() -> None:
    """Neither the lines nor the JSON of a dead letter hold the document or the stack trace."""
    for shown in (outcome_text(dead_letter()).plain, json_line(dead_letter())):
        assert SECRET_TEXT not in shown
        assert "Traceback" not in shown
        assert "too_large" in shown


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
    """It keeps its first origin; the replay count tells one life from the next."""
    tally = Tally()
    assert tally.add(dead_letter(2))
    assert tally.add(dead_letter(2, errors={"replay_count": "1"}))


def test_totals_are_exact() -> None:
    """Tokens and dollars are summed over results and dead letters without rounding, repeats left out."""
    tally = Tally(unreadable=1)
    for one in (result_outcome(1), result_outcome(1), result_outcome(2), dead_letter(3)):
        tally.add(one)
    assert tally.usage == Usage(input_tokens=200, output_tokens=40, cached_tokens=20)
    assert tally.cost_usd == Decimal("0.5006")
    assert totals_text(tally).splitlines() == [
        "2 results, 1 dead letter (too_large 1), 1 repeat, 1 unreadable record",
        "tokens: 200 in (20 cached), 40 out · cost: $0.5006",
    ]


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


def test_a_result_is_shown_with_whatever_outputs_it_has() -> None:
    """Every output has its line, lists joined, anything deeper as JSON."""
    shown = outcome_text(result_outcome(outputs={"mood": "calm", "tags": ["x", "y"], "parts": {"a": 1}})).plain
    assert shown.splitlines() == [
        "d1  100 (10 cached) → 20 tokens  $0.0003",
        "  mood: calm",
        "  tags: x; y",
        '  parts: {"a": 1}',
    ]


@given(st.text())
def test_nothing_printed_moves_the_cursor(text: str) -> None:
    """What a model says cannot clear the screen: one line, no control characters, words untouched."""
    shown = printable(text)
    assert all(ord(one) >= 0x20 and not 0x7F <= ord(one) < 0xA0 for one in shown)
    assert "\n" not in shown
    shown.encode()


def test_numbers_and_nouns() -> None:
    """One document, two documents."""
    assert [counted(number, "row") for number in (0, 1, 1_200)] == ["0 rows", "1 row", "1,200 rows"]


def test_a_csv_grows_a_column_for_a_new_output(tmp_path: Path) -> None:
    """Outputs become columns as they come, earlier rows stay, and a name that is taken is told apart."""
    path = tmp_path / "out.csv"
    table = open_table(path)
    table.write(dead_letter(1))
    table.write(result_outcome(2, outputs={"summary": 'a "b", c\nd', "keywords": ["x", "y"]}))
    table.write(result_outcome(3, outputs={"summary": "e", "reason": "because"}))
    with path.open(encoding="utf-8", newline="") as file:  # before it is closed: each row is flushed as it comes
        first, second, third = csv.DictReader(file)
    table.close()
    assert (first["outcome"], first["reason"], first["summary"]) == ("dead_letter", "too_large", "")
    assert (first["topic"], first["offset"], first["finished_at"]) == ("documents", "1", "2026-01-01T12:30:00.000Z")
    assert (second["summary"], second["keywords"], second["outputs.reason"]) == ('a "b", c\nd', "x; y", "")
    assert (second["input_tokens"], second["cost_usd"], second["offset"]) == ("100", "0.0003", "2")
    assert (third["outputs.reason"], third["reason"], third["metadata"]) == ("because", "", '{"lang": "en"}')
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_json_lines_hold_the_whole_result(tmp_path: Path) -> None:
    """Each line is the result as it was published, and what kind of outcome it is; an old file is replaced."""
    path = tmp_path / "out.jsonl"
    path.write_text("old\n", encoding="utf-8")
    table = open_table(path)
    table.write(result_outcome(1))
    table.write(dead_letter(2))
    one, two = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    table.close()
    assert one.pop("outcome") == "result"
    assert DocumentResult.model_validate(one) == result(1)
    assert (two["outcome"], two["document_id"], two["reason"]) == ("dead_letter", "d2", "too_large")


@pytest.mark.parametrize("name", ["out.xlsx", "missing/out.csv"])
def test_a_table_that_cannot_be_opened_is_wrong_usage(tmp_path: Path, name: str) -> None:
    """An unknown suffix and a missing folder are told before anything is read."""
    with pytest.raises(WrongUsage, match="--to"):
        open_table(tmp_path / name)

"""Results and dead letters to outcomes, and these to what a person reads."""

from __future__ import annotations

import base64
import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from docsluice.messages import SourcePosition, Usage
from docsluice.outcomes.originals import LARGEST_VALUE_BYTES
from docsluice.outcomes.outcome import Outcome, Unreadable, outcome_of
from docsluice_producer.following.display import outcome_text, totals_text, unreadable_text
from docsluice_producer.following.tables import json_line
from docsluice_producer.following.tally import Tally
from tests.fakes.dead_letters import fetched
from tests.fakes.outcomes import SECRET_TEXT, Fetched, dead_letter, outcome, result, result_outcome

JSON_LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.datetimes().map(str)
    | st.decimals().map(str)
    | st.sampled_from([10**4_200, "1E+999999", "0001-01-01T00:00:00+23:59", "\ud800"])
)


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
        (None, b'{"document_id": 5}', "documents.dlq/0@7"),
        (None, b"\xff", "documents.dlq/0@7"),
        (None, b"[" * 100_000, "documents.dlq/0@7"),
        (b"\xff", b"", "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_a_dead_letter_has_an_id_whatever_it_holds(key: bytes | None, value: bytes, document_id: str) -> None:
    """The key names the document, else its JSON, else the place of the record."""
    assert dead_letter(key=key, value=value).document_id == document_id


def test_a_dead_letter_of_plain_text_is_named_as_the_service_names_it() -> None:
    """Without a key, by the CloudEvent that it is."""
    own = [("content-type", b"text/plain"), ("ce_subject", b"d9")]
    assert outcome(fetched(key=b"", value=b"T", own=own)).document_id == "d9"


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
    "value",
    [None, b"", b"junk", b"{}", b"[]", b"[" * 100_000, b"\xff", b'{"document_id": "d", "text": "secret"}'],
)
def test_anything_else_is_unreadable_and_says_where(value: bytes | None) -> None:
    """A record that is neither is named by its place, and its contents are not shown."""
    found = outcome_of(Fetched(value=value))
    assert isinstance(found, Unreadable)
    assert found.where == "documents.results/0@7"
    assert "secret" not in unreadable_text(found).plain


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (b"junk", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (rb'{"document_id": "\ud800b"}', "it holds half of a surrogate pair"),
        (rb'{"document_id": "\udfff"}', "it holds half of a surrogate pair"),
        (b"[1]", "it is no JSON object"),
        (b"5", "it is no JSON object"),
        (b'{"document_id": "d", "text": "secret"}', "it has no result_id"),
        (result().model_dump_json(exclude={"usage", "source"}).encode(), "it has no usage"),
        (
            result().model_copy(update={"attempts": "many"}).model_dump_json(warnings=False).encode(),
            "attempts is not as a result has it",
        ),
        (b'{"usage": {"input_tokens": []}}', "it has no result_id"),
    ],
)
def test_what_is_no_result_is_said_in_plain_words(value: bytes, problem: str) -> None:
    """Not in the validator's own, which speak of input and of models."""
    found = outcome_of(Fetched(value=value))
    assert isinstance(found, Unreadable)
    assert found.problem.startswith(f"not a result ({problem}")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"finished_at": "2026-01-01T12:00:00"}, "a time"),
        ({"started_at": "0001-01-01T00:00:00+23:59"}, "a time"),
        ({"finished_at": "9999-12-31T23:59:59-23:59"}, "a time"),
        ({"cost_usd": "-1"}, "cost_usd"),
        ({"cost_usd": "NaN"}, "cost_usd"),
        ({"cost_usd": "1E+999999"}, "cost_usd"),
        ({"cost_usd": "1E-999999"}, "cost_usd"),
        ({"saved_usd": "-1"}, "saved_usd"),
        ({"saved_usd": "1E+999999"}, "saved_usd"),
        ({"usage": {"input_tokens": 10**4_200}}, "usage"),
        ({"usage": {"output_tokens": -1}}, "usage"),
        ({"metadata": {"score": math.inf}}, "metadata"),
        ({"outputs": {"summary": "\ud800"}}, "it holds half of a surrogate pair"),
        ({"schema_version": "two"}, "schema_version is not as a result has it"),
    ],
)
def test_a_result_with_impossible_values_is_unreadable(changed: dict[str, Any], problem: str) -> None:
    """What would break a sum or a file later is refused at once, and named."""
    fields = json.loads(result().model_dump_json())
    assert isinstance(outcome_of(Fetched(value=json.dumps(fields).encode())), Outcome)
    found = outcome_of(Fetched(value=json.dumps(fields | changed).encode()))
    assert isinstance(found, Unreadable)
    assert not found.of_another_version
    assert f"not a result ({problem}" in found.problem


@pytest.mark.parametrize("changed", [{}, {"result_id": 5}, {"colour": "red", "agents": []}])
def test_a_result_of_another_schema_version_is_told_apart(changed: dict[str, Any]) -> None:
    """Whatever else is different in it, its version is what the person needs to know."""
    fields = json.loads(result().model_dump_json()) | {"schema_version": 2} | changed
    found = outcome_of(Fetched(value=json.dumps(fields).encode()))
    assert isinstance(found, Unreadable)
    assert found.of_another_version
    assert "schema version 2" in unreadable_text(found).plain


@given(
    st.recursive(JSON_LEAVES, lambda some: st.lists(some, max_size=3) | st.dictionaries(st.text(), some, max_size=3))
)
def test_nothing_in_a_result_breaks_the_following(value: Any) -> None:
    """Whatever stands in one field of a result, it is shown, counted and written, or is unreadable."""
    fields = json.loads(result().model_dump_json())
    for name in fields:
        found = outcome_of(Fetched(value=json.dumps(fields | {name: value}).encode()))
        tally = Tally()
        tally.add(result_outcome(2))
        if isinstance(found, Outcome):
            tally.add(found)
            json.loads(json_line(found), parse_constant=pytest.fail)
            assert outcome_text(found).plain
        assert totals_text(tally)


def test_the_document_s_text_is_shown_nowhere() -> None:
    """Neither the lines nor the JSON of a dead letter hold the document or the stack trace."""
    for shown in (outcome_text(dead_letter()).plain, json_line(dead_letter())):
        assert SECRET_TEXT not in shown
        assert "Traceback" not in shown
        assert "too_large" in shown


def test_a_result_is_shown_with_whatever_outputs_it_has() -> None:
    """Every output has its line, lists joined, anything deeper as JSON."""
    shown = outcome_text(result_outcome(outputs={"mood": "calm", "tags": ["x", "y"], "parts": {"a": 1}})).plain
    assert shown.splitlines() == [
        "d1  100 (10 cached) → 20 tokens  $0.0003",
        "  mood: calm",
        "  tags: x; y",
        '  parts: {"a": 1}',
    ]


@pytest.mark.parametrize(
    ("long", "said"),
    [
        ({}, ""),
        ({"summary": "split", "keywords": "split"}, "  split"),
        ({"summary": "head", "keywords": "head"}, "  head only"),
        ({"keywords": "split"}, "  split (keywords)"),
        ({"summary": "head", "keywords": "split"}, "  split (keywords)  head only (summary)"),
    ],
)
def test_a_result_says_what_was_done_about_a_long_document(long: dict[str, str], said: str) -> None:
    """An answer of parts, or of the beginning, is told as such. Tasks are named unless it is all of them."""
    assert outcome_text(result_outcome(long=long)).plain.splitlines()[0] == (
        f"d1  100 (10 cached) → 20 tokens  $0.0003{said}"
    )


def test_a_result_and_the_totals_say_what_went_into_thinking() -> None:
    """A part of the output that nobody sees, and that is paid for."""
    thoughtful = result_outcome(usage=Usage(input_tokens=100, output_tokens=1_020, reasoning_tokens=1_000))
    assert "  100 → 1,020 (1,000 reasoning) tokens  " in outcome_text(thoughtful).plain.splitlines()[0]
    tally = Tally()
    tally.add(thoughtful)
    assert "tokens: 100 in (0 cached), 1,020 out (1,000 reasoning) ·" in totals_text(tally)


def test_a_result_says_what_was_saved() -> None:
    """What answers that were paid for before had cost stands behind what this one has."""
    first = outcome_text(result_outcome(saved_usd=Decimal("0.00140"), long={"summary": "head"})).plain.splitlines()[0]
    assert first.endswith("  $0.0003  saved $0.0014  head only (summary)")


@pytest.mark.parametrize("last_failed_at", ["soon", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
@pytest.mark.parametrize(
    ("timestamp", "finished_at"),
    [
        (-1, "1970-01-01T00:00:00.000Z"),
        (1_767_268_800_000, "2026-01-01T12:00:00.000Z"),
        (2**62, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_that_is_none_is_the_record_s(last_failed_at: str, timestamp: int, finished_at: str) -> None:
    """A time beyond the calendar is not taken, neither from a header nor from a record."""
    assert (
        dead_letter(errors={"last_failed_at": last_failed_at}, timestamp=timestamp).fields["finished_at"] == finished_at
    )


EVENT = {"document_id": "inside", "text": SECRET_TEXT, "metadata": {"lang": "vi", "page": 3, "new": True, "score": 0.5}}


@pytest.mark.parametrize(
    "value",
    [
        EVENT,
        {"specversion": "1.0", "id": "x", "data": EVENT},
        {"specversion": "1.0", "id": "x", "data_base64": base64.b64encode(json.dumps(EVENT).encode()).decode()},
    ],
)
def test_a_dead_letter_has_the_metadata_of_its_event(value: dict[str, Any]) -> None:
    """Id and metadata are found in plain events and in both forms of a structured CloudEvent."""
    found = dead_letter(value=json.dumps(value).encode())
    assert found.document_id == "inside"
    assert found.fields["metadata"] == EVENT["metadata"]


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        b"[1]",
        b"[" * 100_000,
        b'{"metadata": ["lang"]}',
        b'{"metadata": {"a": [1], "b": {}, "c": null, "d": NaN, "e": 1e999}}',
        b'{"specversion": "1.0", "data": 5}',
        b'{"specversion": "1.0", "data_base64": "A"}',
        b'{"specversion": "1.0", "data_base64": "W10="}',
        b'{"metadata": {"lang": "vi"}, "text": "' + b"x" * LARGEST_VALUE_BYTES + b'"}',
    ],
    ids=lambda value: value[:40].decode(),
)
def test_a_dead_letter_may_have_no_metadata(value: bytes) -> None:
    """What is no event, no plain metadata or too large to look into leaves the metadata empty."""
    assert dead_letter(value=value or b" ").fields["metadata"] == {}

"""The shapes on the topics, held still by golden files: others rely on them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from docsluice.messages import (
    ERROR_HEADER_PREFIX,
    ORIGINAL_TOPIC_HEADER,
    REPLAY_COUNT_HEADER,
    DeadLetterReason,
    DocumentEvent,
    DocumentResult,
    SourcePosition,
    Stage,
    Usage,
    excerpt,
    result_headers,
    result_id,
)
from docsluice_consumer.dead_letters.record import Failure, dead_letter
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.model_ref import model_ref
from tests.fakes.samples import record

GOLDEN = Path(__file__).parent / "golden"

MOMENT = datetime(2026, 3, 4, 5, 6, 7, 891_234, tzinfo=UTC)


def _golden(name: str) -> str:
    return (GOLDEN / name).read_text(encoding="utf-8")


def _result(**changes: Any) -> DocumentResult:
    fields: dict[str, Any] = {
        "result_id": result_id(document_id="doc-1", text="Một tài liệu.", pipeline_version="0123456789ab"),
        "document_id": "doc-1",
        "outputs": {"summary": "Tóm tắt.", "category": "tech", "keywords": ["a", "b"], "own": {"score": 0.5}},
        "models": {"summary": "gpt-4o-mini", "category": "gpt-4o-mini", "keywords": "gpt-4o-mini", "own": "m"},
        "usage": Usage(input_tokens=1200, output_tokens=150, cached_tokens=1024, reasoning_tokens=100),
        "cost_usd": Decimal("0.000193"),
        "attempts": 4,
        "started_at": MOMENT,
        "finished_at": MOMENT + timedelta(seconds=2),
        "pipeline_version": "0123456789ab",
        "mode": "fanout",
        "source": SourcePosition(topic="documents", partition=3, offset=42),
        "excerpt": excerpt("Một tài liệu."),
        "metadata": {"lang": "vi", "pages": 3, "score": 0.5, "ok": True},
    }
    return DocumentResult.model_validate(fields | changes)


def _as_text(headers: Any) -> list[list[str]]:
    return [[name, value.decode()] for name, value in headers]


def test_an_event_of_version_1_is_read_and_written_as_ever() -> None:
    """The golden event has every field. It is understood, and written back the same."""
    golden = _golden("event.v1.json")
    event = DocumentEvent.model_validate_json(golden)
    assert set(json.loads(golden)) == set(DocumentEvent.model_fields)
    assert event.model_dump_json() == json.dumps(json.loads(golden), ensure_ascii=False, separators=(",", ":"))


def test_a_result_of_version_1_is_written_as_ever() -> None:
    """The bytes of a result are those of the golden file, field by field and in its order."""
    golden = json.loads(_golden("result.v1.json"))
    assert _result().model_dump_json() == json.dumps(golden, ensure_ascii=False, separators=(",", ":"))


def test_the_headers_of_a_result_are_as_ever() -> None:
    """CloudEvents attributes in binary mode, with the result's own identifier."""
    golden = json.loads(_golden("result-headers.v1.json"))
    assert _as_text(result_headers(_result(), group_id="docsluice")) == golden


def _refuse() -> None:
    raise RecordRejected(DeadLetterReason.REFUSED, "the model refused", step="summary", model=model_ref("gpt-4o-mini"))


def _dead_letter_headers() -> list[list[str]]:
    try:
        _refuse()
    except RecordRejected as error:
        failure = Failure(
            error=error,
            attempts=2,
            cost_usd=Decimal("0.00012"),
            first_failed_at=MOMENT,
            failed_at=MOMENT + timedelta(seconds=9),
            group_id="docsluice",
            pipeline_version="0123456789ab",
        )
    sent = record(b"value", headers=[("traceparent", b"00-1-2-01")])
    headers = dict(_as_text(dead_letter(sent, failure, topic="documents.dlq").headers))
    trace = headers[ERROR_HEADER_PREFIX + "exception.stacktrace"]
    assert trace.startswith("Traceback")
    assert trace.endswith("RecordRejected: the model refused\n")
    headers[ERROR_HEADER_PREFIX + "exception.stacktrace"] = "Traceback ..."  # it has paths and line numbers
    return [list(item) for item in headers.items()]


def test_the_headers_of_a_dead_letter_are_as_ever() -> None:
    """Every name and every form of value, the original's own header first."""
    assert sorted(_dead_letter_headers()) == sorted(json.loads(_golden("dead-letter-headers.v1.json")))


def test_reasons_and_stages_are_closed_lists() -> None:
    """Each reason has its remedy in the documentation, so a new one is a decision and not an accident."""
    names = {"reasons": [reason.value for reason in DeadLetterReason], "stages": [stage.value for stage in Stage]}
    assert names == json.loads(_golden("dead-letter-names.v1.json"))


def test_header_names_belong_together() -> None:
    """The names that the producer's commands look for are those that are written."""
    assert REPLAY_COUNT_HEADER == ERROR_HEADER_PREFIX + "replay_count"
    written = {name for name, _ in _dead_letter_headers()}
    assert {REPLAY_COUNT_HEADER, ORIGINAL_TOPIC_HEADER} <= written


@pytest.mark.parametrize("contract", [DocumentResult, Usage, SourcePosition])
def test_a_field_of_a_later_release_is_left_out(contract: type[DocumentResult]) -> None:
    """A subscriber need not be upgraded before the service is."""
    known = {DocumentResult: _result(), Usage: Usage(), SourcePosition: _result().source}[contract]
    written = known.model_dump_json()
    later = json.dumps({**json.loads(written), "of_tomorrow": {"x": 1}})
    assert contract.model_validate_json(later) == contract.model_validate_json(written)


def test_what_crosses_a_topic_does_not_change_on_the_way() -> None:
    """The contracts are frozen."""
    with pytest.raises(ValidationError, match="frozen"):
        _result().attempts = 5  # type: ignore[misc]


def test_a_result_is_read_back_as_it_was_written() -> None:
    """A reader with the same contract gets the same values, dollars to the last digit."""
    result = _result()
    again = DocumentResult.model_validate_json(result.model_dump_json())
    assert again.cost_usd == result.cost_usd
    assert again.model_dump(exclude={"started_at", "finished_at"}) == result.model_dump(
        exclude={"started_at", "finished_at"}
    )


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=None))
def test_dollars_are_plain_digits(amount: Decimal) -> None:
    """Never an exponent, never a trailing zero, never a lost digit: readers parse it as a decimal string."""
    written = json.loads(_result(cost_usd=amount).model_dump_json())["cost_usd"]
    assert set(written) <= set("0123456789.")
    assert Decimal(written) == +amount
    assert written == "0" or not written.endswith(".")
    assert "." not in written or not written.endswith("0")


@pytest.mark.parametrize(
    ("amount", "written"),
    [("0", "0"), ("-0.0", "0"), ("0E-20", "0"), ("1E-9", "0.000000001"), ("1E+3", "1000"), ("0.1000", "0.1")],
)
def test_dollars_that_python_writes_otherwise(amount: str, written: str) -> None:
    """The forms in which Decimal likes exponents and zeros."""
    assert json.loads(_result(cost_usd=Decimal(amount)).model_dump_json())["cost_usd"] == written


def test_moments_are_utc_in_milliseconds() -> None:
    """Whatever the zone they were taken in."""
    moment = datetime(2026, 3, 4, 12, 6, 7, 891_999, tzinfo=timezone(timedelta(hours=7)))
    written = json.loads(_result(started_at=moment).model_dump_json())["started_at"]
    assert written == "2026-03-04T05:06:07.891Z"


@given(a=st.tuples(st.text(), st.text(), st.text()), b=st.tuples(st.text(), st.text(), st.text()))
def test_result_ids_differ_when_and_only_when_the_work_does(a: tuple[str, str, str], b: tuple[str, str, str]) -> None:
    """The same document under the same pipeline has the same id, so that repeats can be dropped. Nothing else has."""
    first, second = (result_id(document_id=i, text=t, pipeline_version=v) for i, t, v in (a, b))
    assert (first == second) == (a == b)


def test_a_result_id_is_the_same_in_every_process() -> None:
    """It is no hash of Python's own, which changes from process to process, and the parts do not run together."""
    assert result_id(document_id="doc", text="text", pipeline_version="v") == "16ff11c51a3341b2964842dfa427a4f5"
    assert result_id(document_id="ab", text="c", pipeline_version="v") != result_id(
        document_id="a", text="bc", pipeline_version="v"
    )


def test_an_excerpt_is_a_hundred_characters() -> None:
    """Characters and not bytes, so that none is cut in two."""
    assert excerpt("ế" * 150) == "ế" * 100
    assert excerpt("short") == "short"


def test_usage_adds_up() -> None:
    """Tokens of all attempts together."""
    first = Usage(input_tokens=1, output_tokens=2, cached_tokens=3, reasoning_tokens=1)
    total = first + Usage(input_tokens=10, output_tokens=20, reasoning_tokens=4)
    assert total == Usage(input_tokens=11, output_tokens=22, cached_tokens=3, reasoning_tokens=5)

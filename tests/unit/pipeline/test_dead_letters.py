"""Which records become dead letters, and what these say."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog

from docsluice.messages import DeadLetterReason, Headers
from docsluice_consumer.errors import ProviderUnavailable, RecordRejected
from docsluice_consumer.llm.chat import ChatRequest
from tests.fakes.chat import Reply, by_step, in_turn, of_documents, say
from tests.fakes.line import Line, errors_of
from tests.fakes.pipelines import DEAD_LETTERS
from tests.fakes.prices import MODEL, MODEL_REF
from tests.fakes.samples import SECRET_TEXT, document, record


def _structured(**fields: Any) -> tuple[bytes, Headers]:
    return json.dumps({"specversion": "1.0", **fields}).encode(), [("content-type", b"application/cloudevents+json")]


@pytest.mark.parametrize(
    ("value", "headers", "reason"),
    [
        (b"not JSON", [], "undecodable"),
        (b"\xff\xfe", [("own", b"1"), ("own", b"\xff")], "undecodable"),
        (b"", [], "undecodable"),
        (b"[]", [], "invalid_event"),
        (json.dumps({"document_id": "d", "text": " "}).encode(), [], "invalid_event"),
        (json.dumps({"document_id": "d", "txet": SECRET_TEXT}).encode(), [("null", None)], "invalid_event"),
        (*_structured(data_base64="?"), "undecodable"),
        (*_structured(data_base64=base64.b64encode(b"{}").decode()), "invalid_event"),
    ],
)
async def test_bytes_that_are_no_event_become_a_dead_letter(value: bytes, headers: Headers, reason: str) -> None:
    """Untouched, without a call, and without a step or a cost."""
    line = Line()
    errors = await line.errors(record(value, headers=headers))
    assert (errors["stage"], errors["reason"], errors["attempts"], errors["cost_usd"]) == ("decode", reason, "0", "0")
    assert "step" not in errors
    assert line.client.requests == []
    assert line.counted("documents_total") == {("dead_letter",): 1}
    assert line.counted("dead_letters_total") == {(reason, ""): 1}
    assert line.counted("document_duration_seconds_count") == {(): 1}


async def test_unknown_fields_are_left_out_counted_and_said_once() -> None:
    """By their names alone, cut short, and no more than a few of them, however many a producer thinks of."""
    line = Line()
    long_name: dict[str, Any] = {"n" * 1000: 1}
    many: dict[str, Any] = {f"x{number}": SECRET_TEXT for number in range(1000)}
    with structlog.testing.capture_logs() as logs:
        for number in range(3):
            await line.process(document(document_id=f"d{number}", txet=SECRET_TEXT, schema_version=2, **long_name))
        await line.process(document(document_id="many", **many))
    assert line.counted("documents_total") == {("result",): 4}
    assert line.counted("event_fields_ignored_total") == {(): 1006}
    said = [entry for entry in logs if entry["event"].startswith("event.")]
    assert [entry["field"] for entry in said if "field" in entry][:3] == ["txet", "n" * 64, "x0"]
    assert [entry["event"] for entry in said].count("event.later_version") == 1
    assert [entry["event"] for entry in said].count("event.unknown_fields") == 1
    assert len(said) < 25
    assert SECRET_TEXT[:12] not in str(logs)


REJECTIONS: list[tuple[list[Reply], str]] = [
    ([say("", refusal="no")], "refused"),
    ([say("", finish_reason="content_filter")], "content_filtered"),
    ([say("{", finish_reason="length")], "truncated"),
    ([say("nonsense"), say("nonsense")], "invalid_answer"),
    ([RecordRejected(DeadLetterReason.REJECTED, "400", step="category", model=MODEL_REF)], "rejected"),
    ([RecordRejected(DeadLetterReason.TOO_LARGE, "413", step="category", model=MODEL_REF)], "too_large"),
]


@pytest.mark.parametrize(("replies", "reason"), REJECTIONS, ids=[reason for _, reason in REJECTIONS])
async def test_what_the_model_will_not_do_becomes_a_dead_letter(replies: list[Reply], reason: str) -> None:
    """With the step, the model, and what was spent on all steps."""
    line = Line(of_documents(by_step({"category": replies})))
    errors = await line.errors(document())
    assert (errors["stage"], errors["reason"]) == ("analyze", reason)
    assert (errors["step"], errors["model"]) == ("category", MODEL)
    rejected = sum(isinstance(reply, Exception) for reply in replies)  # and then a text of our own is tried
    assert errors["attempts"] == str(1 + len(replies) + rejected)
    paid = 1 + len(replies)
    assert Decimal(errors["cost_usd"]) == paid * Decimal("0.0002")
    assert line.counted("dead_letters_total") == {(reason, "category"): 1}


@pytest.mark.parametrize(("keeps", "kept"), [(True, "other words"), (False, None)])
async def test_the_answer_that_was_rejected_is_in_the_dead_letter(keeps: bool, kept: str | None) -> None:  # noqa: FBT001 - both ways
    """The last one, which its message is about, or none, by setting."""
    replies = {"category": [say("some words"), say("other words")]}
    errors = await Line(by_step(replies), keeps_answers=keeps).errors(document())
    assert errors.get("answer") == kept


async def test_a_document_that_always_fails_becomes_a_dead_letter() -> None:
    """While others are answered. It says when it failed first, which may be long ago."""
    answered = say(json.dumps({"summary": ["a", "b"], "category": "tech"}))
    failed: list[datetime] = []

    def reply(request: ChatRequest) -> Reply:
        if "doomed" not in request.messages[-1].content:
            return answered
        while failed and datetime.now(UTC) < failed[0] + timedelta(milliseconds=5):
            pass  # until the clock has moved on
        failed.append(datetime.now(UTC))
        return ProviderUnavailable("500")

    line = Line(reply, mode="fused")
    doomed = asyncio.create_task(line.pipeline.process(document("doomed")))
    while not doomed.done():
        await line.process(document("healthy"))
    (dead,) = line.sink.to(DEAD_LETTERS)
    errors = errors_of(dead)
    assert errors["reason"] == "attempts_exhausted"
    trials = [request for request in line.client.requests if "harbour office" in request.messages[-1].content]
    assert int(errors["attempts"]) - len(trials) == len(failed) >= 3
    assert datetime.fromisoformat(errors["first_failed_at"]) < failed[1]
    assert datetime.fromisoformat(errors["last_failed_at"]) >= failed[-1].replace(microsecond=0)
    assert errors["first_failed_at"] < errors["last_failed_at"]


async def test_a_bug_on_one_record_becomes_a_dead_letter() -> None:
    """It stops nobody else. Its class and trace are there for the person who fixes it."""
    line = Line(in_turn(KeyError("a bug of ours")))
    with structlog.testing.capture_logs() as logs:
        errors = await line.errors(document())
    assert errors["reason"] == "unexpected"
    assert errors["exception.class.name"] == "builtins.KeyError"
    assert "in ask" in errors["exception.stacktrace"]
    assert [(entry["log_level"], entry["error"]) for entry in logs] == [("error", "KeyError")]


async def test_a_tombstone_is_skipped() -> None:
    """A null value says that a key is gone. There is nothing to analyze."""
    line = Line()
    await line.process(record(None))
    assert line.sink.published == []
    assert line.counted("documents_total") == {("skipped",): 1}

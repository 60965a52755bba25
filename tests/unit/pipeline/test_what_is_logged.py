"""What is said of a record on its path, and what is not."""

from __future__ import annotations

import json

import pytest
import structlog

from docsluice.messages import DeadLetterReason
from docsluice_consumer.errors import ProviderUnavailable, RecordRejected
from tests.fakes.chat import Reply, by_step, say
from tests.fakes.line import Line
from tests.fakes.pipelines import RESULTS
from tests.fakes.prices import MODEL, MODEL_REF
from tests.fakes.samples import SECRET_TEXT, document, record
from tests.fakes.sink import FakeSink


async def test_no_document_is_logged() -> None:
    """Whatever becomes of it, its text and the model's words stay out of the logs."""
    replies: list[list[Reply]] = [
        [],
        [say(SECRET_TEXT), say(SECRET_TEXT)],
        [say("", refusal=SECRET_TEXT)],
        [KeyError(SECRET_TEXT)],
        [RecordRejected(DeadLetterReason.REJECTED, SECRET_TEXT, step="category")],
        [ProviderUnavailable("500 : try later")],
    ]
    with structlog.testing.capture_logs() as logs:
        for row in replies:
            await Line(by_step({"category": row})).process(document())
        for value in (b"{" + SECRET_TEXT.encode(), json.dumps({"document_id": "d", "text": [SECRET_TEXT]}).encode()):
            await Line().process(record(value))
        await Line(sink=FakeSink(max_bytes={RESULTS: 100})).process(document())
    assert len(logs) == 8
    assert SECRET_TEXT not in str(logs)
    dead = [entry for entry in logs if entry["event"] == "document.dead_letter"]
    assert {entry["source"] for entry in dead} == {"documents/3@42"}
    told = {"event", "log_level", "reason", "stage", "step", "source", "error", "model", "provider", "cause"}
    assert all(set(entry) <= told for entry in dead)


def _given_up(fault: Exception) -> RecordRejected:
    rejection = RecordRejected(
        DeadLetterReason.ATTEMPTS_EXHAUSTED, f"the last: {fault}", step="category", model=MODEL_REF
    )
    rejection.__cause__ = fault
    return rejection


@pytest.mark.parametrize(
    ("replies", "told"),
    [
        ([_given_up(ProviderUnavailable(SECRET_TEXT, cause="503 overloaded"))], ("m", "503 overloaded")),
        ([KeyError(SECRET_TEXT)], (None, None)),
        ([say("", refusal=SECRET_TEXT)], ("m", "the model refused to answer")),
        (
            [say(SECRET_TEXT, finish_reason="length")],
            ("m", "the answer was cut at max_output_tokens (the model's own bound)"),
        ),
        ([say(SECRET_TEXT), say(SECRET_TEXT)], ("m", "the answer is still not valid after a repair")),
        ([RecordRejected(DeadLetterReason.REJECTED, SECRET_TEXT, step="category")], (None, None)),
        (
            [RecordRejected(DeadLetterReason.TOO_LARGE, SECRET_TEXT, model=MODEL_REF, cause="413 too_long: 9 > 8")],
            ("m", "413 too_long: 9 > 8"),
        ),
    ],
)
async def test_a_dead_letter_is_logged_with_its_model_and_its_cause(
    replies: list[Reply], told: tuple[str | None, str | None]
) -> None:
    """As far as they are known, and in words that quote neither the document nor the answer."""
    with structlog.testing.capture_logs() as logs:
        await Line(by_step({"category": replies})).process(document())
    (entry,) = (entry for entry in logs if entry["event"] == "document.dead_letter")
    assert SECRET_TEXT not in str(logs)
    model, cause = told
    assert entry.get("cause") == cause
    assert (entry.get("model"), entry.get("provider")) == ((MODEL, "default") if model else (None, None))


async def test_normal_work_is_quiet() -> None:
    """A result is no news."""
    line = Line()
    with structlog.testing.capture_logs() as logs:
        await line.process(document())
    assert logs == []

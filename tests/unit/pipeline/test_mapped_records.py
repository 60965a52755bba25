"""Records that are no events as they are, on their whole path."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from docsluice.messages import Headers
from docsluice_consumer.kafka.records import Record
from tests.fakes.line import Line
from tests.fakes.samples import SECRET_TEXT, TASKS, document, record
from tests.fakes.tickets import MAPPING, reader_of, ticket

FOR_AUDIENCE = {**TASKS[0], "prompt": "Summarize for {{ metadata.audience }}."}


async def test_a_ticket_becomes_a_result() -> None:
    """With its metadata, and none of its other fields told as unknown."""
    line = Line(reader=reader_of(**MAPPING))
    _, result = await line.result(ticket())
    assert (result.document_id, result.metadata) == ("17", {"customer": "c-1", "tenant": "acme"})
    assert result.excerpt == "Printer on fire\n\nIt burns."
    assert line.counted("event_fields_ignored_total") == {}


async def test_a_ticket_that_is_passed_over_is_counted() -> None:
    """It is neither result nor dead letter, no model is asked, and the dead-letter limit does not know it."""
    line = Line(reader=reader_of(**MAPPING))
    await line.process(ticket(status="closed"))
    assert line.sink.published == []
    assert line.client.requests == []
    assert line.counted("documents_total") == {("skipped",): 1}
    assert line.counted("document_duration_seconds_count") == {}


async def test_a_ticket_without_a_name_is_a_dead_letter() -> None:
    """Its bytes are untouched. The log says what is wrong, and names nothing of the record's."""
    line = Line(reader=reader_of(**MAPPING))
    with structlog.testing.capture_logs() as logs:
        errors = await line.errors(ticket(ticket_id=None))
    assert [entry["cause"] for entry in logs] == ["document_id: ticket_id: gives nothing"]
    assert (errors["reason"], errors["stage"]) == ("invalid_event", "decode")
    assert errors["exception.message"].startswith("document_id: ticket_id: gives nothing; the record has ticket_id, ")


@pytest.mark.parametrize("mode", ["fanout", "fused"])
async def test_a_prompt_is_filled_with_the_documents_metadata(mode: str) -> None:
    """And the document is in its own turn."""
    line = Line(mode=mode, tasks=(FOR_AUDIENCE, TASKS[1]))
    await line.result(document(metadata={"audience": "nurses"}))
    first = line.client.requests[0].messages
    assert "Summarize for nurses." in first[0].content
    assert SECRET_TEXT not in first[0].content
    assert first[-1].content == SECRET_TEXT


async def test_a_document_without_what_a_prompt_uses_is_a_dead_letter() -> None:
    """Before any call is paid for."""
    line = Line(tasks=(TASKS[1], FOR_AUDIENCE))
    with structlog.testing.capture_logs() as logs:
        errors = await line.errors(document())
    assert [entry["cause"] for entry in logs] == [errors["exception.message"]]
    assert (errors["reason"], errors["stage"], errors.get("step")) == ("invalid_event", "analyze", None)
    assert "{{ metadata.audience }} is missing" in errors["exception.message"]
    assert line.client.requests == []


async def _result_id(tasks: Any, **metadata: Any) -> str:
    _, result = await Line(tasks=tasks).result(document(metadata=metadata))
    return result.result_id


async def test_a_result_for_others_has_another_id() -> None:
    """A reader that drops repeats must not drop it. Metadata that no prompt uses make no difference."""
    tasks = (FOR_AUDIENCE, TASKS[1])
    nurses = await _result_id(tasks, audience="nurses")
    assert nurses == await _result_id(tasks, audience="nurses", other=1)
    assert nurses != await _result_id(tasks, audience="doctors")
    assert await _result_id(TASKS, audience="nurses") == await _result_id(TASKS, audience="doctors")


async def test_headers_that_are_named_go_on_in_the_result() -> None:
    """Byte for byte and as often as they are there. A trace that is named too is not there twice."""
    headers: Headers = [
        ("tenant", b"\xff"),
        ("own", b"x"),
        ("traceparent", b"00-1-2-01"),
        ("tenant", None),
        ("Tenant", b"other"),
        ("x-request-id", b""),
    ]
    line = Line(carried_headers=frozenset({"tenant", "x-request-id", "traceparent"}))
    outgoing, _ = await line.result(_with(headers))
    assert outgoing.headers[-4:] == [
        ("tenant", b"\xff"),
        ("traceparent", b"00-1-2-01"),
        ("tenant", None),
        ("x-request-id", b""),
    ]
    assert sum(name == "traceparent" for name, _ in outgoing.headers) == 1


def _with(headers: Headers) -> Record:
    return record(document().value, headers=headers)

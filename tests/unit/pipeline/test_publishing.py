"""Outcomes that a topic does not take, and records that are given back."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from decimal import Decimal

import pytest
import structlog

from docsluice.kafka.flaw import ALL_PARTS, Flaw
from docsluice.messages import Headers
from docsluice_consumer.decode.decode import MAX_DOCUMENT_BYTES
from docsluice_consumer.errors import BrokerFault, ProviderMisconfigured, PublishImpossible, ServiceFault
from tests.fakes.chat import by_step, in_turn, say
from tests.fakes.line import Line, errors_of
from tests.fakes.pipelines import DEAD_LETTERS, RESULTS
from tests.fakes.samples import SECRET_TEXT, document, record
from tests.fakes.sink import FakeSink
from tests.fakes.timer import settled


async def test_a_result_that_is_too_large_becomes_a_dead_letter() -> None:
    """At the stage of publishing, with what it cost."""
    line = Line(sink=FakeSink(max_bytes={RESULTS: 100}))
    errors = await line.errors(document())
    assert (errors["stage"], errors["reason"]) == ("publish", "too_large")
    assert errors["attempts"] == "2"
    assert Decimal(errors["cost_usd"]) > 0
    assert line.counted("documents_total") == {("dead_letter",): 1}


async def test_a_dead_letter_that_is_too_large_is_made_smaller() -> None:
    """The headers that were copied go first, then the value. The log says what was left out."""
    line = Line(sink=FakeSink(max_bytes={RESULTS: 100, DEAD_LETTERS: 2_000}))
    big = document("word " * 1_000)
    with structlog.testing.capture_logs() as logs:
        await line.process(big)
    (letter,) = line.sink.to(DEAD_LETTERS)
    errors = errors_of(letter)
    assert (errors["stage"], errors["reason"]) == ("publish", "too_large")
    assert (letter.key, letter.value) == (big.key, b"")
    assert (errors["stub"], errors["value_bytes"]) == ("headers,value", str(len(big.value or b"")))
    assert [one["left_out"] for one in logs if one["event"] == "document.dead_letter"] == ["headers, value"]
    assert line.counted("documents_total") == {("dead_letter",): 1}


async def test_a_dead_letter_topic_that_takes_nothing_stops_the_service() -> None:
    """Dropping it would lose a record. The message says which record and which setting of the topic."""
    line = Line(sink=FakeSink(max_bytes={RESULTS: 100, DEAD_LETTERS: 100}))
    with pytest.raises(PublishImpossible) as caught:
        await line.process(document())
    assert "documents/3@42" in str(caught.value)
    assert DEAD_LETTERS in str(caught.value)
    assert "max.message.bytes" in str(caught.value)
    assert SECRET_TEXT not in str(caught.value)
    assert line.counted("documents_total") == {}


async def test_a_document_that_is_too_large_is_not_decoded() -> None:
    """Whatever it holds. The message names the setting, and the dead letter is whole."""
    line = Line()
    errors = await line.errors(record(b"{" * (MAX_DOCUMENT_BYTES + 1)))
    assert (errors["stage"], errors["reason"]) == ("decode", "too_large")
    assert "the value has 8,388,609 bytes; DOCSLUICE_MAX_DOCUMENT_BYTES allows 8,388,608" in errors["exception.message"]
    assert "stub" not in errors
    await line.process(document("x" * (MAX_DOCUMENT_BYTES - 100)))
    assert line.counted("documents_total") == {("dead_letter",): 1, ("result",): 1}


@pytest.mark.parametrize(
    ("flaw", "reason", "stub"),
    [
        (Flaw(problem="the name of header 1 is not UTF-8"), "undecodable", None),
        (Flaw(problem="it is damaged", left_out=ALL_PARTS), "undecodable", "headers,key,value"),
        (
            Flaw(
                problem="the record has 9 bytes",
                is_too_large=True,
                left_out=frozenset({"headers", "value"}),
                value_bytes=2**30,
                value_sha256="ab",
            ),
            "too_large",
            "headers,value",
        ),
    ],
)
async def test_a_record_with_a_flaw_is_a_dead_letter(flaw: Flaw, reason: str, stub: str | None) -> None:
    """At the stage of decoding, even without a value, which is no tombstone then. Nobody is asked about it."""
    for value in (b'{"document_id": "d", "text": "sound"}', None, b""):
        line = Line()
        errors = await line.errors(replace(record(value), flaw=flaw))
        assert (errors["stage"], errors["reason"], errors.get("stub")) == ("decode", reason, stub)
        assert flaw.problem in errors["exception.message"]
        assert errors.get("value_bytes") == (str(2**30) if flaw.is_too_large else None)
        assert line.client.requests == []


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (json.dumps({"document_id": "d", "text": "t", **{f"f{n}": 1 for n in range(20_000)}}).encode(), []),
        (json.dumps({"document_id": "d", "text": "t", "f" * 300_000: 1}).encode(), []),
        (document("x" * 300_000).value, []),
    ],
)
async def test_a_dead_letter_is_not_much_larger_than_its_record(value: bytes, headers: Headers) -> None:
    """Whatever is wrong with it: a topic that took the record takes it with twelve kilobytes of headers."""
    room = len(value) + 12 * 1024
    line = Line(in_turn(say("", refusal="no")), mode="fused", sink=FakeSink(max_bytes={DEAD_LETTERS: room}))
    await line.errors(record(value, headers=headers))


@pytest.mark.parametrize("fault", [ProviderMisconfigured("401"), BrokerFault("no permission")])
async def test_a_fault_of_the_world_publishes_nothing(fault: ServiceFault) -> None:
    """The record stays as it was, and the next owner reads it again."""
    line = Line(by_step({"category": [fault]}))
    with pytest.raises(type(fault)):
        await line.process(document())
    assert line.sink.published == []
    assert line.counted("documents_total") == {}
    assert line.counted("documents_in_flight") == {}


@pytest.mark.parametrize("value", [document().value, b"not JSON"])
async def test_a_broker_that_will_not_have_it_stops_the_service(value: bytes) -> None:
    """Neither a result nor a dead letter is dropped."""
    line = Line(sink=FakeSink(fault=BrokerFault("no permission")))
    with pytest.raises(BrokerFault):
        await line.process(record(value))
    assert line.counted("documents_total") == {}


async def test_a_record_that_is_let_go_publishes_nothing() -> None:
    """Cancelled, it is neither a result nor a dead letter, and nothing of it is left in flight."""
    line = Line()
    line.client.hold()
    task = asyncio.create_task(line.pipeline.process(document()))
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert line.sink.published == []
    assert line.counted("documents_in_flight") == {}
    assert line.dead_letter_hold.release_waiting() == 0

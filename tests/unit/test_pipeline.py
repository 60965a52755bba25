"""The path of one record, from its bytes to its end, with everything outside faked."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from docsluice.kafka.flaw import ALL_PARTS, Flaw
from docsluice.messages import (
    ERROR_HEADER_PREFIX,
    REASONS_OF_RECORDS,
    REASONS_OF_STEPS,
    DeadLetterReason,
    DocumentResult,
    Headers,
    result_id,
)
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.model_caller import ModelCaller
from docsluice_consumer.dead_letters.hold import DeadLetterHold
from docsluice_consumer.dead_letters.limit import DeadLetterLimit
from docsluice_consumer.decode.decode import MAX_DOCUMENT_BYTES
from docsluice_consumer.errors import (
    BrokerFault,
    ProviderMisconfigured,
    ProviderUnavailable,
    PublishImpossible,
    RecordRejected,
    ServiceFault,
)
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from docsluice_consumer.llm.chat import ChatRequest
from docsluice_consumer.store.memory_store import NoStore
from docsluice_consumer.store.step_store import StepStore
from docsluice_consumer.telemetry.catalogue import PREFIX
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.chat import FakeChatClient, Replies, Reply, by_step, in_turn, of_documents, say
from tests.fakes.pipelines import DEAD_LETTERS, RESULTS, pipeline_of
from tests.fakes.prices import MODEL, MODEL_REF, FakePrices
from tests.fakes.samples import SECRET_TEXT, document, record, steps
from tests.fakes.sink import FakeSink
from tests.fakes.timer import FakeSleep, ManualTimer, settled


class Line:
    """A pipeline with a model that does as it is told, and topics in memory."""

    def __init__(
        self,
        reply: Replies | None = None,
        *,
        sink: FakeSink | None = None,
        mode: str = "fanout",
        max_concurrency: int = 10,
        max_dead_letters: int = 0,
        max_ratio: float = 1.0,
        store: StepStore | None = None,
        keeps_rejected_answers: bool = True,
    ) -> None:
        self.client = FakeChatClient(reply)
        self.sink = sink or FakeSink()
        self.metrics = Metrics()
        timer = ManualTimer()
        self.admission = Admission(limits=Limits(max_concurrency=max_concurrency), timer=timer)
        model_caller = ModelCaller(
            client=self.client,
            admission=self.admission,
            prices=FakePrices(),
            metrics=self.metrics,
            max_attempts=3,
            sleep=FakeSleep(on_sleep=timer.advance),
        )
        analyzer = Analyzer(
            steps=steps(mode=mode),
            answers=model_caller,
            answer_recovery=AnswerRecovery(answers=model_caller, metrics=self.metrics),
            answer_cache=AnswerCache(store=store or NoStore(), metrics=self.metrics),
        )
        self.dead_letter_hold = DeadLetterHold(
            limit=DeadLetterLimit(max_ratio=max_ratio, max_consecutive=max_dead_letters)
        )
        self.pipeline = pipeline_of(
            analyzer=analyzer,
            sink=self.sink,
            metrics=self.metrics,
            mode="fused" if mode == "fused" else "fanout",
            dead_letter_hold=self.dead_letter_hold,
            keeps_answers=keeps_rejected_answers,
        )
        names = [step.name for step in steps(mode=mode)]
        self.metrics.expect_dead_letters(of_records=REASONS_OF_RECORDS, of_steps=REASONS_OF_STEPS, steps=names)
        self.expected = self._dead_letter_series()

    async def process(self, record: Record) -> None:
        await asyncio.create_task(self.pipeline.process(record))
        assert self._dead_letter_series() == self.expected, "a dead letter that its counter did not expect"

    def _dead_letter_series(self) -> int:
        return self.metrics.exposition().count(b"\ndocsluice_dead_letters_total{")

    async def result(self, record: Record) -> tuple[OutgoingRecord, DocumentResult]:
        """Process a record that becomes a result, and nothing else."""
        await self.process(record)
        (outgoing,) = self.sink.published
        assert outgoing.topic == RESULTS
        assert outgoing.value is not None
        return outgoing, DocumentResult.model_validate_json(outgoing.value)

    async def errors(self, record: Record) -> dict[str, str]:
        """Process a record that becomes a dead letter, and nothing else. Its error headers."""
        await self.process(record)
        (outgoing,) = self.sink.published
        assert outgoing.topic == DEAD_LETTERS
        assert (outgoing.key, outgoing.value) == (record.key, record.value)
        assert list(outgoing.headers[: len(record.headers)]) == list(record.headers)
        return _errors(outgoing)

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric's values that are not 0, by their labels."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.metrics.exposition().decode())
            for sample in family.samples
            if sample.name == PREFIX + name and sample.value
        }


def _errors(outgoing: OutgoingRecord) -> dict[str, str]:
    return {
        name.removeprefix(ERROR_HEADER_PREFIX): (value or b"").decode()
        for name, value in outgoing.headers
        if name.startswith(ERROR_HEADER_PREFIX)
    }


# Results


async def test_a_document_becomes_a_result() -> None:
    """Every field of it: what was answered, by whom, for how much, when, and of which record."""
    line = Line()
    outgoing, result = await line.result(document(metadata={"lang": "en", "pages": 3}))
    assert result.model_dump(exclude={"started_at", "finished_at"}) == {
        "schema_version": 1,
        "result_id": result_id(document_id="doc-1", text=SECRET_TEXT, pipeline_version="v1"),
        "document_id": "doc-1",
        "outputs": {"summary": "words 0 words 1", "category": "tech"},
        "models": {"summary": MODEL, "category": MODEL},
        "usage": {"input_tokens": 200, "output_tokens": 20, "cached_tokens": 80},
        "cost_usd": Decimal("0.0004"),
        "saved_usd": Decimal(0),
        "long": {},
        "attempts": 2,
        "pipeline_version": "v1",
        "mode": "fanout",
        "source": {"topic": "documents", "partition": 3, "offset": 42},
        "excerpt": SECRET_TEXT[:100],
        "metadata": {"lang": "en", "pages": 3},
    }
    assert result.started_at <= result.finished_at
    assert outgoing.key == b"doc-1"
    headers = dict(outgoing.headers)
    assert headers["ce_id"] == result.result_id.encode()
    assert headers["ce_source"] == b"/docsluice/docsluice"
    assert line.counted("documents_total") == {("result",): 1}
    assert line.counted("document_duration_seconds_count") == {(): 1}
    assert line.counted("documents_in_flight") == {}


async def test_a_fused_result_says_so() -> None:
    """One call, the same outputs."""
    _, result = await Line(mode="fused").result(document())
    assert (result.mode, result.attempts) == ("fused", 1)
    assert set(result.outputs) == set(result.models) == {"summary", "category"}


@pytest.mark.parametrize(("key", "expected"), [(b"\xff key", b"\xff key"), (None, b"doc-1"), (b"", b"doc-1")])
async def test_a_result_has_the_records_key(key: bytes | None, expected: bytes) -> None:
    """Byte for byte, so that it goes to the partition that joins it, or else the document's identifier."""
    sent = document()
    value = sent.value
    outgoing, _ = await Line().result(record(value, key=key))
    assert outgoing.key == expected


async def test_a_trace_goes_on_in_the_result() -> None:
    """And no other header of the event does."""
    headers: Headers = [("traceparent", b"00-1-2-01"), ("own", b"x"), ("tracestate", b"a=b"), ("ce_id", b"e")]
    outgoing, result = await Line().result(record(document().value, headers=headers))
    assert outgoing.headers[-2:] == [("traceparent", b"00-1-2-01"), ("tracestate", b"a=b")]
    names = [name for name, _ in outgoing.headers]
    assert len(names) == len(set(names))
    assert "own" not in names
    assert dict(outgoing.headers)["ce_id"] == result.result_id.encode()


async def test_the_same_document_has_the_same_result_id() -> None:
    """Read again, from whatever offset, it can be told for a repeat."""
    first, again, other = [
        (await Line().result(sent))[1]
        for sent in (document(offset=1), document(offset=99), document("another text", offset=1))
    ]
    assert first.result_id == again.result_id != other.result_id


async def test_retries_and_repairs_are_in_the_result() -> None:
    """What a document cost includes what went wrong on the way."""
    line = Line(by_step({"summary": [ProviderUnavailable("500"), say("nonsense")]}))
    _, result = await line.result(document())
    assert result.attempts == 4
    assert result.usage.input_tokens == 300
    assert result.cost_usd == Decimal("0.0006")


# Dead letters


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
    errors = await Line(by_step(replies), keeps_rejected_answers=keeps).errors(document())
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
    errors = _errors(dead)
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


# Publishing


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
    errors = _errors(letter)
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


# Draining


async def test_a_drain_lets_go_of_exactly_those_not_begun() -> None:
    """What has a call in flight is paid for and goes on to its end. What waits for its first is read again."""
    line = Line(max_concurrency=2, mode="fused")
    line.client.hold()
    documents = [document(f"Text {n}.", document_id=f"d{n}", offset=n) for n in range(5)]
    tasks = [asyncio.create_task(line.pipeline.process(one)) for one in documents]
    await settled()
    assert line.dead_letter_hold.release_waiting() == 3
    await settled()
    assert [task.cancelled() for task in tasks] == [False, False, True, True, True]
    line.client.release()
    await asyncio.gather(*tasks[:2])
    assert sorted(outgoing.key or b"" for outgoing in line.sink.to(RESULTS)) == [b"d0", b"d1"]
    assert line.dead_letter_hold.release_waiting() == 0


async def test_a_drain_lets_finish_what_has_one_step_done() -> None:
    """Its other step still waits for admission. Throwing the first away would waste it."""
    line = Line(max_concurrency=1)
    line.client.hold()
    task = asyncio.create_task(line.pipeline.process(document()))
    await settled()
    assert line.client.in_flight == 1
    assert line.dead_letter_hold.release_waiting() == 0
    line.client.release()
    await task
    assert len(line.sink.to(RESULTS)) == 1


async def test_a_drain_lets_a_dead_letter_get_out() -> None:
    """A record that was rejected without any call is at its end already."""
    may_publish = asyncio.Event()

    class SlowOutbox(FakeSink):
        async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:
            await may_publish.wait()
            await super().publish(outgoing, ending=ending)

    line = Line(sink=SlowOutbox())
    task = asyncio.create_task(line.pipeline.process(record(b"not JSON")))
    await settled()
    assert line.dead_letter_hold.release_waiting() == 0
    may_publish.set()
    await task
    assert len(line.sink.to(DEAD_LETTERS)) == 1


# What is said


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

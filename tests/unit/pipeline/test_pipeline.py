"""The path of one record, from its bytes to its end, with everything outside faked."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from docsluice.messages import Headers, result_id
from docsluice_consumer.errors import ProviderUnavailable
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from tests.fakes.chat import by_step, say
from tests.fakes.line import Line
from tests.fakes.pipelines import DEAD_LETTERS, RESULTS
from tests.fakes.prices import MODEL
from tests.fakes.samples import SECRET_TEXT, document, record
from tests.fakes.sink import FakeSink
from tests.fakes.timer import settled


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
        "usage_by_task": {
            task: {"input_tokens": 100, "output_tokens": 10, "cost_usd": Decimal("0.0002")}
            for task in ("summary", "category")
        },
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

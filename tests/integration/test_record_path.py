"""The path of a record, on the wire: what goes in, what comes out, and what it leaves behind."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from decimal import Decimal

import pytest

from docsluice.messages import DocumentResult
from docsluice_consumer.errors import PublishImpossible
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.integration.wire import Record, Wire, document, scraped, serving, stopped_by_itself


async def test_every_document_becomes_one_result(wire: Wire, provider: RehearsalProvider) -> None:
    """Each document is asked three things and ends as one result that says what it cost."""
    await wire.create_topics(partitions=3)
    await wire.produce(document(f"d{n}", f"Document number {n} has a text of its own.", n=n) for n in range(30))
    async with serving(wire.settings(provider.base_url)):
        found = await wire.outcomes(30)
    results = [DocumentResult.model_validate({k: v for k, v in o.fields.items() if k != "kind"}) for o in found]
    assert {r.document_id for r in results} == {f"d{n}" for n in range(30)}
    assert len(provider.calls) == 90
    for result in results:
        assert set(result.outputs) == {"summary", "category", "keywords"}
        assert result.outputs["category"] in {"tech", "business", "health", "other"}
        assert len(set(result.outputs["keywords"])) == 5
        assert result.attempts == 3
        assert result.cost_usd > 0
        assert result.excerpt.startswith("Document number")
        assert result.metadata == {"n": int(result.document_id[1:])}


async def test_fused_asks_once(wire: Wire, provider: RehearsalProvider) -> None:
    """Fused mode answers all tasks with one call and so sends the document once."""
    await wire.create_topics()
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(5))
    async with serving(wire.settings(provider.base_url, mode="fused")):
        found = await wire.outcomes(5)
    assert all(set(outcome.outputs) == {"summary", "category", "keywords"} for outcome in found)
    assert len(provider.calls) == 5


async def test_metrics_equal_the_outcomes(wire: Wire, provider: RehearsalProvider) -> None:
    """Tokens and cost on /metrics are the sums over what was published, rejected documents included."""
    await wire.create_topics()
    good = [document(f"d{n}", f"Text number {n}.") for n in range(10)]
    await wire.produce([*good, document("refused", "Please [[rehearse:refusal]]."), Record(value=b"no json", key=b"x")])
    async with serving(wire.settings(provider.base_url)) as service:
        found = await wire.outcomes(12)
        samples = await scraped(service)

    def total(name: str, **labels: str) -> float:
        return sum(v for (n, found_labels), v in samples.items() if n == name and set(labels.items()) <= found_labels)

    spent = sum((outcome.cost_usd for outcome in found), Decimal(0))
    assert total("docsluice_llm_cost_usd_total") == pytest.approx(float(spent), rel=1e-9)
    assert spent > 0
    by_task = {
        task: total("docsluice_llm_tokens_total", task=task, direction="input") for task in ("summary", "category")
    }
    assert all(tokens > 0 for tokens in by_task.values())
    refused_calls = [c for c in provider.calls if c.fault == "refusal"]
    results_input = sum(outcome.usage.input_tokens for outcome in found)
    assert total("docsluice_llm_tokens_total", direction="input") == results_input + sum(
        c.prompt_tokens for c in refused_calls
    )
    assert total("docsluice_documents_total", outcome="result") == 10
    assert total("docsluice_documents_total", outcome="dead_letter") == 2
    assert total("docsluice_dead_letters_total", reason="refused") == 1
    assert total("docsluice_dead_letters_total", reason="undecodable") == 1


BAD_INPUT = {
    "not JSON": (b"{not json", "undecodable"),
    "invalid UTF-8": (b'{"document_id": "x", "text": "\xff\xfe"}', "undecodable"),
    "no object": (b"[1, 2]", "invalid_event"),
    "wrong types": (b'{"document_id": 7, "text": "words"}', "invalid_event"),
    "missing text": (b'{"document_id": "x"}', "invalid_event"),
    "blank text": (b'{"document_id": "x", "text": "  \\n "}', "invalid_event"),
    "misspelt field": (b'{"document_id": "x", "txet": "words"}', "invalid_event"),
    "nested metadata": (b'{"document_id": "x", "text": "words", "metadata": {"a": [1]}}', "invalid_event"),
    "no schema version": (b'{"document_id": "x", "text": "words", "schema_version": 0}', "invalid_event"),
    "framed Avro": (b"\x00\x00\x00\x00\x07\x08avro", "undecodable"),
    "UTF-16": ('{"document_id": "x", "text": "words"}'.encode("utf-16"), "undecodable"),
    "gzip": (gzip.compress(b'{"document_id": "x", "text": "words"}', mtime=0), "undecodable"),
    "empty": (b"", "undecodable"),
}
HEADERS = [("h", b"\x00\xff"), ("null", None), ("empty", b"")]


async def test_bad_input_becomes_dead_letters_untouched(wire: Wire, provider: RehearsalProvider) -> None:
    """Bytes that are no event go to the dead-letter topic as they came, and those around them are not held up."""
    await wire.create_topics()
    bad = [Record(value=value, key=name.encode(), headers=HEADERS) for name, (value, _) in BAD_INPUT.items()]
    await wire.produce([document("before"), *bad, Record(value=None, key=b"tombstone"), document("after")])
    async with serving(wire.settings(provider.base_url)) as service:
        found = {outcome.document_id: outcome for outcome in await wire.outcomes(len(BAD_INPUT) + 2)}
        samples = await scraped(service)
    assert {name: found[name].reason for name in BAD_INPUT} == {name: reason for name, (_, reason) in BAD_INPUT.items()}
    assert not found["before"].is_dead_letter
    assert not found["after"].is_dead_letter
    assert samples[("docsluice_documents_total", frozenset({("outcome", "skipped")}))] == 1
    async for record in wire.read(wire.topics["dead_letter"], count=len(BAD_INPUT)):
        assert record.value == BAD_INPUT[record.key.decode()][0]
        assert list(record.headers[: len(HEADERS)]) == HEADERS


async def test_cloudevents_and_plain_text_are_events(wire: Wire, provider: RehearsalProvider) -> None:
    """CloudEvents in both modes and text/plain come out as results like any other."""
    await wire.create_topics()
    event = {"document_id": "structured", "text": "A structured event."}
    envelope = {"specversion": "1.0", "id": "1", "source": "/t", "type": "doc", "data": event}
    await wire.produce(
        [
            Record(
                value=json.dumps(envelope).encode(),
                headers=[("content-type", b"Application/CloudEvents+json; charset=UTF-8")],
            ),
            Record(
                value=b'{"document_id": "binary", "text": "A binary event."}',
                headers=[("ce_specversion", b"1.0"), ("ce_id", b"2"), ("content-type", b"application/json")],
            ),
            Record(
                value="Chỉ là văn bản.".encode(), key=b"plain", headers=[("content-type", b"text/plain; charset=utf-8")]
            ),
        ]
    )
    async with serving(wire.settings(provider.base_url)):
        found = await wire.outcomes(3)
    assert {outcome.document_id for outcome in found if not outcome.is_dead_letter} == {"structured", "binary", "plain"}
    async for record in wire.read(wire.topics["result"], count=3):
        headers = dict(record.headers)
        assert headers["ce_specversion"] == b"1.0"
        assert headers["ce_type"] == b"docsluice.document.analyzed.v1"
        assert headers["ce_id"].decode() == json.loads(record.value)["result_id"]


async def test_committed_up_to_the_end(wire: Wire, provider: RehearsalProvider) -> None:
    """When everything has ended, everything is committed, and a second run of the service asks nothing again."""
    await wire.create_topics(partitions=2)
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(10))
    async with serving(wire.settings(provider.base_url)):
        await wire.outcomes(10)
    assert await wire.committed() == 10
    asked = len(provider.calls)
    await wire.produce([document("one more", "Another text.")])
    async with serving(wire.settings(provider.base_url)):
        await wire.outcomes(11)
    assert len(provider.calls) == asked + 3


async def test_missing_topics_are_created(wire: Wire, provider: RehearsalProvider) -> None:
    """A service on a bare broker makes its topics and works."""
    async with serving(wire.settings(provider.base_url)):
        await wire.produce([document("first")])
        found = await wire.outcomes(1)
    assert found[0].document_id == "first"


async def test_backpressure_pauses_and_resumes(wire: Wire, provider: RehearsalProvider) -> None:
    """With few open records allowed, far more documents than that still all come through."""
    await wire.create_topics()
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(60))
    async with serving(wire.settings(provider.base_url, max_open_records_per_partition=3, max_concurrency=2)):
        found = await wire.outcomes(60)
    assert Counter(outcome.document_id for outcome in found).most_common(1)[0][1] == 1
    assert provider.calls.most_in_flight <= 2


FIVE_MEGABYTES = "word " * 1_000_000


async def test_five_megabytes_are_too_large_for_the_model(wire: Wire) -> None:
    """A huge document becomes a dead letter, whole, and its neighbours results."""
    roomy = dict.fromkeys(wire.topics, 16 * 2**20)
    await wire.create_topics(max_message_bytes=roomy)
    await wire.produce([document("before"), document("huge", FIVE_MEGABYTES), document("after")])
    async with (
        rehearsal_provider(RehearsalSettings(context_tokens=8192)) as provider,
        serving(wire.settings(provider.base_url, max_document_bytes=6_000_000)),
    ):
        found = {outcome.document_id: outcome for outcome in await wire.outcomes(3)}
    assert (found["huge"].reason, found["huge"].stage) == ("too_large", "analyze")
    assert not found["before"].is_dead_letter
    assert not found["after"].is_dead_letter


async def test_a_document_larger_than_the_minute_is_rejected_unasked(wire: Wire, provider: RehearsalProvider) -> None:
    """What could never pass the configured limit is rejected before any call is made for it."""
    await wire.create_topics()
    await wire.produce([document("large", "word " * 80_000), document("small")])
    async with serving(wire.settings(provider.base_url, tokens_per_minute=20_000)):
        found = {outcome.document_id: outcome for outcome in await wire.outcomes(2)}
    assert found["large"].reason == "too_large"
    assert not found["small"].is_dead_letter
    assert len(provider.calls) == 3


@pytest.mark.kafka
async def test_a_dead_letter_topic_that_takes_nothing_stops_the_service(kafka_wire: Wire) -> None:
    """Rather than lose a record the service stops, says which topic's limit to raise, and commits nothing past it."""
    wire = kafka_wire
    await wire.create_topics(max_message_bytes={"dead_letter": 200})
    await wire.produce([Record(value=b"no JSON", key=b"k")])
    async with rehearsal_provider() as provider:
        with pytest.raises(PublishImpossible, match=r"max\.message\.bytes") as raised:
            async with serving(wire.settings(provider.base_url)) as service:
                await stopped_by_itself(service)
    assert wire.topics["dead_letter"] in str(raised.value)
    assert await wire.committed() == 0


@pytest.mark.kafka
async def test_a_dead_letter_of_the_largest_record_fits_a_topic_of_our_making(
    kafka_wire: Wire, provider: RehearsalProvider
) -> None:
    """What just fitted the input topic is larger with its error headers, and no record may stop the service by that."""
    wire = kafka_wire
    async with serving(wire.settings(provider.base_url)):
        await wire.produce([Record(value=random.Random(7).randbytes(1_048_400), key=b"k")])
        (dead_letter,) = await wire.outcomes(1)
    assert dead_letter.reason == "undecodable"

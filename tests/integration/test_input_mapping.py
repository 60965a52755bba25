"""A topic that was made for others, read as it is: the pipeline file is all that is added."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from docsluice.outcomes.outcome import Outcome, outcome_of
from docsluice_consumer.bootstrap import known_secrets_of
from docsluice_consumer.check.check import check
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.wire import WATCHDOG_SECONDS, Record, Wire, scraped, serving

PIPELINE: dict[str, Any] = {
    "name": "tickets",
    "input": {
        "document_id": "ticket_id",
        "text": "{{ subject }}\n\n{{ body }}",
        "metadata": {"customer": "customer.id", "tenant": "$headers.tenant"},
        "when": "status == 'open'",
    },
    "output": {"headers": ["tenant"]},
    "tasks": [
        {
            "name": "urgency",
            "prompt": "How urgent is it for {{ metadata.customer }}?",
            "output": {"type": "choice", "labels": ["low", "high"]},
        }
    ],
}
TENANT = [("tenant", b"acme"), ("other", b"x")]


def _pipeline(tmp_path: Path, **changed: Any) -> Path:
    path = tmp_path / "tickets.yaml"
    path.write_text(yaml.safe_dump(PIPELINE | changed), encoding="utf-8")
    return path


def _ticket(number: int, **more: Any) -> Record:
    fields = {
        "ticket_id": number,
        "subject": f"Printer {number}",
        "body": "It burns. {{ customer.id }}",
        "status": "open",
        "customer": {"id": f"c-{number}"},
    }
    written = {name: value for name, value in (fields | more).items() if value is not ...}
    return Record(value=json.dumps(written).encode(), key=f"k{number}".encode(), headers=TENANT)


async def test_a_topic_of_tickets_is_read_as_it_is(wire: Wire, provider: RehearsalProvider, tmp_path: Path) -> None:
    """Open tickets become results, closed ones are passed over, unfit ones dead letters, and all are committed."""
    await wire.create_topics(partitions=2)
    unfit = [
        _ticket(90, ticket_id=None),
        _ticket(91, subject="", body=...),
        _ticket(92, customer=None),
        Record(value=b"no JSON", key=b"k93"),
    ]
    closed = [_ticket(n, status="closed") for n in range(100, 107)]
    await wire.produce([*(_ticket(n) for n in range(10)), *unfit, *closed])
    async with serving(wire.settings(provider.base_url, pipeline=_pipeline(tmp_path))) as service:
        found = await wire.outcomes(14)
        async with asyncio.timeout(WATCHDOG_SECONDS):
            while await wire.committed() < 21:
                await asyncio.sleep(0.05)
        samples = await scraped(service)

    results = {outcome.document_id: outcome for outcome in found if not outcome.is_dead_letter}
    assert set(results) == {str(n) for n in range(10)}
    for number, result in results.items():
        assert result.fields["metadata"] == {"customer": f"c-{number}", "tenant": "acme"}
    assert len({outcome.fields["result_id"] for outcome in results.values()}) == 10
    reasons = Counter(outcome.reason for outcome in found if outcome.is_dead_letter)
    assert reasons == {"invalid_event": 3, "undecodable": 1}
    named = {outcome.document_id for outcome in found if outcome.is_dead_letter}
    assert named == {"k90", "91", "92", "k93"}  # the mapping's name, or else the key
    assert _documents(samples) == {"result": 10, "dead_letter": 4, "skipped": 7}
    assert len(provider.calls) == 10
    async for record in wire.read(wire.topics["result"], count=10):
        assert [header for header in record.headers if header in TENANT] == [("tenant", b"acme")]


def _documents(samples: Any) -> dict[str, float]:
    return {
        dict(labels)["outcome"]: value
        for (name, labels), value in samples.items()
        if name == "docsluice_documents_total"
    }


@pytest.mark.parametrize("form", ["flat", "merged"])
async def test_results_have_the_form_and_go_to_the_topic_that_the_pipeline_file_says(
    wire: Wire, provider: RehearsalProvider, tmp_path: Path, form: str
) -> None:
    """Each ticket's result is in one of the topics, in the form that is asked for, and `follow` reads it."""
    await wire.create_topics()
    await wire.produce(_ticket(n) for n in range(20))
    topics = {"low": wire.topics["result"], "high": f"{wire.name}.alerts"}
    output = {"form": form, "fields": ["cost_usd"], "route": {"urgency": {"high": topics["high"]}}}
    path = _pipeline(tmp_path, output=output)
    async with serving(wire.settings(provider.base_url, pipeline=path, topic_partitions=1)):
        records = [record async for record in wire.read(*topics.values(), count=20)]

    answers: Counter[str] = Counter()
    for record in records:
        value, found = json.loads(record.value), outcome_of(record)
        assert isinstance(found, Outcome)
        answered = value if form == "flat" else value["analysis"]
        if form == "merged":
            ticket = {name: one for name, one in value.items() if name != "analysis"}
            assert ticket == json.loads(_ticket(value["ticket_id"]).value or b"")
        assert record.topic == topics[answered["urgency"]]
        assert found.outputs == {"urgency": answered["urgency"]}
        assert found.cost_usd == Decimal(answered["cost_usd"]) > 0
        answers[answered["urgency"]] += 1
    assert answers.total() == 20
    assert answers.keys() == topics.keys(), "both topics have some, or the test would show nothing"


async def test_check_reads_the_last_records_as_run_would(
    wire: Wire, provider: RehearsalProvider, tmp_path: Path
) -> None:
    """A mapping that does not fit its topic is seen before the first document is paid for."""
    await wire.create_topics()
    await wire.produce([_ticket(1), _ticket(2, status="closed")])

    async def line(**input_fields: Any) -> str:
        settings = wire.settings(
            provider.base_url, pipeline=_pipeline(tmp_path, input=PIPELINE["input"] | input_fields)
        )
        lines: list[str] = []
        await check(settings, known_secrets_of(settings), say=lines.append)
        (found,) = (line for line in lines if " input " in line)
        return found

    assert (await line()).endswith("its last records are document events (2 looked at, 1 passed over)")
    assert "all of its last records are passed over (input.when; 2 looked at)" in await line(when="status == 'new'")
    told = await line(document_id="ticket")
    assert told.startswith("DOUBTFUL")
    assert "1 of 2 are no document events: document_id: ticket: gives nothing; the record has ticket_id, " in told
    await wire.produce([_ticket(3, ticket_id=None), _ticket(4, ticket_id=None), Record(value=b"no JSON", key=b"k5")])
    told = await line()
    assert "3 of 5 are no document events: the value is " in told
    assert told.count("document_id: ticket_id: gives nothing") == 1
    assert told.endswith("@3, and 1 more like it)")


async def test_texts_of_another_charset_are_documents(wire: Wire, provider: RehearsalProvider, tmp_path: Path) -> None:
    """Records without a key get their names from where they stand."""
    await wire.create_topics()
    await wire.produce([Record(value=f"Văn bản {n}".encode("utf-16"), key=None) for n in range(3)])
    fields = {"format": "text", "charset": "utf-16", "document_id": "{{ $topic }}-{{ $offset }}"}
    tasks = [PIPELINE["tasks"][0] | {"prompt": "How urgent is it?"}]
    path = _pipeline(tmp_path, input=fields, tasks=tasks)
    async with serving(wire.settings(provider.base_url, pipeline=path)):
        found = await wire.outcomes(3)
    assert {(outcome.document_id, outcome.fields["excerpt"]) for outcome in found} == {
        (f"{wire.topics['input']}-{n}", f"Văn bản {n}") for n in range(3)
    }

"""Results in Avro: another program reads what was written, by the schema that the registry has."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from structlog.testing import capture_logs

from docsluice.messages import DocumentResult, result_headers
from docsluice.outcomes.outcome import Unreadable, outcome_of
from docsluice.registry.avro import avro_reader
from docsluice.registry.client import RegistryAddress, RegistryClient
from docsluice_consumer.analysis.avro_results import AvroResults, avro_name, avro_schema, changed_fields
from docsluice_consumer.analysis.result_writer import ResultWriter
from docsluice_consumer.message_schemas import asyncapi, published_schema
from docsluice_consumer.registry.result_subjects import Incompatible, registered
from tests.fakes.avro import read
from tests.fakes.outcomes import Fetched
from tests.fakes.registry import FakeRegistry
from tests.fakes.samples import pipeline_file

OUTPUTS = {"urgency": False, "tags": True, "order": False, "metadata": False, "attempts": False}
SCHEMA = avro_schema(OUTPUTS, None)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SCALAR = TEXT | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def result(**more: Any) -> DocumentResult:
    fields: dict[str, Any] = {
        "result_id": "r-1",
        "document_id": "d-1",
        "outputs": {"urgency": "high", "tags": ["a", "b"], "order": {"n": 1}, "metadata": "m", "attempts": "x"},
        "models": {"urgency": "m"},
        "usage": {"input_tokens": 7, "output_tokens": 3, "cached_tokens": 1},
        "cost_usd": Decimal("0.000123456789"),
        "attempts": 2,
        "started_at": MOMENT,
        "finished_at": MOMENT,
        "pipeline_version": "v",
        "mode": "fanout",
        "source": {"topic": "t", "partition": 1, "offset": 2**40},
        "excerpt": "Văn bản",
        "metadata": {"customer": "acme", "pages": 3, "ok": True},
    }
    return DocumentResult.model_validate(fields | more)


def value_of(one: DocumentResult, schema: Any = SCHEMA, fields: Any = None) -> bytes:
    avro = AvroResults(schema=schema, ids={"results": 77})
    return ResultWriter(topic="results", form="flat", avro=avro, fields=fields).value(one, None)


def test_another_reader_reads_all_fields() -> None:
    """Texts, lists, money without rounding, times, and what has no type of its own as JSON."""
    value = value_of(result())
    assert value[:5] == b"\x00\x00\x00\x00\x4d"
    assert read(SCHEMA, value) == {
        "schema_version": 1,
        "result_id": "r-1",
        "document_id": "d-1",
        "models": '{"urgency":"m"}',
        "input_tokens": 7,
        "output_tokens": 3,
        "cached_tokens": 1,
        "reasoning_tokens": 0,
        "cost_usd": Decimal("0.000123456789"),
        "saved_usd": Decimal("0E-12"),
        "attempts": 2,
        "started_at": MOMENT,
        "finished_at": MOMENT,
        "pipeline_version": "v",
        "mode": "fanout",
        "source_topic": "t",
        "source_partition": 1,
        "source_offset": 2**40,
        "excerpt": "Văn bản",
        "urgency": "high",
        "tags": ["a", "b"],
        "order": '{"n":1}',
        "outputs_metadata": "m",
        "outputs_attempts": "x",
        "metadata": {"customer": "acme", "pages": "3", "ok": "true"},
    }


def test_follow_says_what_it_met() -> None:
    """It has no registry. The line names the schema, and what reads such results."""
    avro = AvroResults(schema=SCHEMA, ids={"results": 77})
    writer = ResultWriter(topic="results", form="flat", avro=avro)
    headers = dict(result_headers(result(), group_id="g")) | dict(writer.headers())
    found = outcome_of(Fetched(value=writer.value(result(), None), headers=tuple(headers.items()), key=b"k"))
    assert isinstance(found, Unreadable)
    assert found.problem.startswith("a result in Avro, of schema id 77 in a registry")


def test_the_schema_command_prints_the_avro_schema() -> None:
    """What it prints is what the registry gets."""
    tasks = [{"name": "urgency", "prompt": "?", "output": {"type": "list", "items": 2}}]
    file = pipeline_file(*tasks, output={"form": "flat", "format": "avro", "fields": ["cost_usd"]})
    assert published_schema(file) == avro_schema({"urgency": True}, ["cost_usd"])
    topics = {"input_topic": "i", "result_topic": "r", "dead_letter_topic": "d"}
    document = asyncapi(file, servers="h:1", group_id="g", **topics)
    message = document["components"]["messages"]["DocumentResult"]
    assert message["contentType"] == "application/avro"
    assert message["payload"]["schema"] == published_schema(file)


@pytest.mark.parametrize("form", ["nested", "merged"])
def test_avro_is_for_flat_results(form: str) -> None:
    """The others have no schema that is known beforehand, or none that a table's columns can be made of."""
    with pytest.raises(ValidationError, match="avro is for form: flat"):
        pipeline_file(output={"form": form, "format": "avro"})


@given(
    st.fixed_dictionaries({"urgency": TEXT, "tags": st.lists(TEXT, max_size=3)}),
    st.dictionaries(TEXT, SCALAR, max_size=3),
    st.decimals(0, 10_000, places=12),
    st.sets(st.sampled_from(["cost_usd", "finished_at", "excerpt", "attempts"])),
)
def test_any_result_is_read_again(outputs: Any, metadata: Any, cost: Decimal, fields: set[str]) -> None:
    """By another program, and by our own reading of Avro."""
    schema = avro_schema({"urgency": False, "tags": True}, fields)
    value = value_of(result(outputs=outputs, metadata=metadata, cost_usd=cost), schema, sorted(fields))
    found = read(schema, value)
    assert {name: found[name] for name in outputs} == outputs
    assert found.keys() == fields | outputs.keys() | {"metadata"}
    assert set(found["metadata"]) == set(metadata)
    assert found.get("cost_usd", cost) == cost
    assert avro_reader(schema)(value[5:])["tags"] == outputs["tags"]


def test_fields_and_tasks_may_come_and_go() -> None:
    """A reader of a new schema reads old results, and one of an old schema new ones."""
    old = avro_schema({"urgency": False}, ["cost_usd"])
    new = avro_schema({"tags": True}, ["attempts"])
    for writer, reader, name in ((old, new, "urgency"), (new, old, "tags")):
        fields = [one["name"] for one in writer["fields"]]
        value = value_of(result(outputs={name: ["a"] if name == "tags" else "high"}), writer, fields)
        found = fastavro.schemaless_reader(
            io.BytesIO(value[5:]), fastavro.parse_schema(writer), fastavro.parse_schema(reader)
        )
        assert isinstance(found, dict)
        assert set(found) == {one["name"] for one in reader["fields"]}


def test_no_two_fields_have_one_name() -> None:
    """Whatever the tasks are named."""
    names = [one["name"] for one in SCHEMA["fields"]]
    assert len(set(names)) == len(names)
    assert avro_name("metadata") == "outputs_metadata"


def test_a_changed_field_is_named_with_both_types() -> None:
    """Others are not. An old schema that is none changes nothing."""
    old = json.dumps(avro_schema({"urgency": False, "tags": True}, []))
    assert changed_fields(old, avro_schema({"urgency": True, "more": True}, [])) == [
        'urgency was ["null","string"] and is ["null",{"type":"array","items":"string"}]'
    ]
    assert changed_fields("", SCHEMA) == changed_fields("7", SCHEMA) == []


async def _registered(registry: FakeRegistry, schema: str, *, sleep: Any = None) -> dict[str, int]:
    client = RegistryClient(RegistryAddress(url=registry.url))
    try:
        return await registered(
            client, ["a", "b"], schema, changed=lambda old: [f"was {old}"], **({"sleep": sleep} if sleep else {})
        )
    finally:
        await client.close()


async def test_a_schema_is_registered_once() -> None:
    """Under the subject of each topic. One that is there is taken, for not everybody may register."""
    async with FakeRegistry() as registry:
        assert await _registered(registry, '"string"') == {"a": 1, "b": 1}
        assert registry.subjects == {"a-value": [1], "b-value": [1]}
        registry.calls.clear()
        assert await _registered(registry, '"string"') == {"a": 1, "b": 1}
        assert registry.calls == ["subjects/a-value", "subjects/b-value"]


async def test_a_schema_that_is_not_compatible_ends_the_start() -> None:
    """Nothing is registered, and the subject and the change are named."""
    async with FakeRegistry(is_compatible=False) as registry:
        registry.add('"int"', subject="b-value")
        with pytest.raises(Incompatible, match='b-value: was "int"; it is not compatible'):
            await _registered(registry, '"string"')
        assert registry.subjects["b-value"] == [1]


async def test_the_start_waits_for_a_registry_that_is_away() -> None:
    """Its log says so once."""
    async with FakeRegistry(broken=503) as registry:
        seconds: list[float] = []

        async def sleep(wait: float) -> None:
            seconds.append(wait)
            if len(seconds) == 3:
                registry.broken = None

        with capture_logs() as logs:
            assert await _registered(registry, '"string"', sleep=sleep) == {"a": 1, "b": 1}
    assert [log["event"] for log in logs] == ["registry.away", "registry.back"]

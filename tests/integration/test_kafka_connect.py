"""Results in the hands of a real Kafka Connect worker."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from docsluice.connect_json import opened
from docsluice_local import kafka_java
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.connect_worker import connect_worker
from tests.integration.wire import Wire, document, serving, until

DOCUMENTS = 30
PIPELINE = {
    "name": "connect",
    "output": {"form": "flat", "format": "connect"},
    "tasks": [
        {"name": "urgency", "prompt": "How urgent is it?", "output": {"type": "choice", "labels": ["low", "high"]}},
        {"name": "order", "prompt": "Name 2 keywords.", "output": {"type": "list", "items": 2}},
    ],
}


def _metadata(number: int) -> dict[str, Any]:
    """Of another type and with another name each time."""
    return {"pages": [number, number / 7, f"{number} pages", True][number % 4], f'"{number}"; --': "ä\0"}


def _sink(name: str, *, topic: str, path: Path, converter: str) -> dict[str, str]:
    connector = "org.apache.kafka.connect.file.FileStreamSinkConnector"
    return {
        "name": name,
        "connector.class": connector,
        "topics": topic,
        "file": str(path),
        "value.converter": f"org.apache.kafka.connect.{converter}",
        "value.converter.schemas.enable": "true",
    }


async def test_connect_reads_every_result_with_its_schema(
    kafka_wire: Wire, provider: RehearsalProvider, tmp_path: Path
) -> None:
    """Its own JsonConverter takes all of them, whatever the metadata are: dollars are decimals and times are dates.

    A sink that wants text gets each value as it was published, a line each.
    """
    if reason := kafka_java.why_not():
        pytest.skip(f"Kafka Connect needs Java 17+ with Maven, and {reason}")
    await kafka_wire.create_topics()
    pipeline = tmp_path / "connect.yaml"
    pipeline.write_text(yaml.safe_dump(PIPELINE), encoding="utf-8")
    await kafka_wire.produce(document(f"d{n}", **_metadata(n)) for n in range(DOCUMENTS))
    topic = kafka_wire.topics["result"]
    async with serving(kafka_wire.settings(provider.base_url, pipeline=pipeline)):
        values = [record.value async for record in kafka_wire.read(topic, count=DOCUMENTS)]

    structs, texts = tmp_path / "structs", tmp_path / "texts"
    with connect_worker(
        _sink("structs", topic=topic, path=structs, converter="json.JsonConverter"),
        _sink("texts", topic=topic, path=texts, converter="storage.StringConverter"),
        bootstrap_servers=kafka_wire.bootstrap_servers,
        folder=tmp_path,
    ):

        async def all_written() -> bool:
            return all(path.exists() and path.read_bytes().count(b"\n") == DOCUMENTS for path in (structs, texts))

        await until(all_written, what="each file has a line for each result")

    assert texts.read_bytes().splitlines() == values
    published = {one["result_id"]: one for one in (opened(json.loads(value)) for value in values)}
    lines = structs.read_text("utf-8").splitlines()
    assert len(published) == len(lines) == DOCUMENTS
    for line in lines:
        read = re.fullmatch(
            r"Struct\{schema_version=1,result_id=(\w+),.*,cost_usd=(.+?),saved_usd=(.+?),.*,finished_at=(.+?),"
            r".*,urgency=(low|high),order=(\[.*\]),metadata=(\{.*\})\}",
            line,
        )
        assert read, line
        result_id, cost, saved, finished_at, urgency, order, metadata = read.groups()
        result = published.pop(result_id)
        assert (Decimal(cost), Decimal(saved)) == (Decimal(result["cost_usd"]), Decimal(result["saved_usd"]))
        assert Decimal(cost).as_tuple().exponent == -12  # its scale is the column's
        assert re.fullmatch(r"\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ \d{4}", finished_at)  # java.util.Date
        assert (urgency, order) == (result["urgency"], result["order"])
        assert json.loads(metadata) == result["metadata"]
    assert not published

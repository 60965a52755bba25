"""Topics whose records name a schema: read and written with a registry, the real one and one in this process."""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from docsluice.errors import ConfigurationError
from docsluice.registry.client import NotRegistered, RegistrationRefused, RegistryAddress, RegistryClient
from docsluice.registry.schema import Reference
from docsluice_consumer.bootstrap import known_secrets_of
from docsluice_consumer.check.check import check
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.fakes.avro import TICKET, framed, read, ticket
from tests.fakes.registry import FakeRegistry
from tests.integration.registries import apicurio, why_no_apicurio
from tests.integration.wire import Record, Wire, scraped, serving, until

PIPELINE: dict[str, Any] = {
    "name": "tickets",
    "input": {
        "document_id": "ticket_id",
        "text": "{{ subject }}\n\n{{ body }}",
        "metadata": {"opened_at": "opened_at"},
        "when": "status == 'OPEN'",
    },
    "tasks": [
        {
            "name": "urgency",
            "prompt": "How urgent is it?",
            "output": {"type": "choice", "labels": ["low", "high"]},
        },
        {"name": "keywords", "prompt": "Name 2 keywords.", "output": {"type": "list", "items": 2}},
    ],
}
AVRO = {"form": "flat", "format": "avro"}
LATER = TICKET | {"fields": [*TICKET["fields"], {"name": "body_html", "type": ["null", "string"], "default": None}]}


def _pipeline(tmp_path: Path, **changed: Any) -> Path:
    path = tmp_path / "tickets.yaml"
    path.write_text(yaml.safe_dump(PIPELINE | changed), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def apicurio_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if reason := why_no_apicurio():
        pytest.skip(reason)
    with apicurio(tmp_path_factory.mktemp("apicurio")) as url:
        request = urllib.request.Request(
            f"{url}/config",
            data=b'{"compatibility": "BACKWARD"}',
            method="PUT",
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).read()
        yield url


@pytest.fixture
async def fake() -> AsyncIterator[FakeRegistry]:
    async with FakeRegistry() as registry:
        yield registry


@pytest.fixture(params=["fake", pytest.param("apicurio", marks=pytest.mark.kafka)])
def url(request: pytest.FixtureRequest) -> str:
    """Both registries in turn: the same must be true of either."""
    if request.param == "apicurio":
        found: str = request.getfixturevalue("apicurio_url")
        return found
    registry: FakeRegistry = request.getfixturevalue("fake")
    return registry.url


@pytest.fixture
async def client(url: str) -> AsyncIterator[RegistryClient]:
    client = RegistryClient(RegistryAddress(url=url))
    yield client
    await client.close()


async def test_what_a_registry_answers(client: RegistryClient, wire: Wire) -> None:
    """The contract that both keep: ids, versions, references, and what is not there."""
    subject = f"{wire.name}/it-value"
    await client.try_it()
    text = json.dumps(TICKET | {"namespace": wire.name})
    assert await client.id_of(subject, text) is None
    assert await client.latest(subject) is None
    assert await client.problem_with(subject, text) is None
    schema_id = await client.register(subject, text)
    assert await client.register(subject, text) == schema_id
    assert await client.id_of(subject, text) == schema_id
    found = await client.schema(schema_id)
    assert (found.kind, json.loads(found.text)) == ("AVRO", json.loads(text))
    assert await client.referenced(Reference(subject, 1)) == found
    assert await client.latest(subject) == found.text
    with pytest.raises(NotRegistered, match="schema id 2000000000 is not in the registry http"):
        await client.schema(2_000_000_000)
    with pytest.raises(NotRegistered, match="version 99, which is not in the registry"):
        await client.referenced(Reference(subject, 99))


@pytest.mark.kafka
async def test_an_incompatible_schema_is_refused_in_the_registrys_words(apicurio_url: str, wire: Wire) -> None:
    """Where the registry keeps its readers' side."""
    client = RegistryClient(RegistryAddress(url=apicurio_url))
    one, other = (json.dumps({"type": "record", "name": "R", "fields": [{"name": "a", "type": t}]}) for t in "ab")
    one, other = one.replace('"type": "a"', '"type": "int"'), other.replace('"type": "b"', '"type": "string"')
    try:
        await client.register(wire.name, one)
        assert await client.problem_with(wire.name, other) is not None
        with pytest.raises(RegistrationRefused, match=r"HTTP 409: .*not compatible"):
            await client.register(wire.name, other)
    finally:
        await client.close()


async def test_a_topic_in_avro_is_enriched_with_a_pipeline_file_alone(
    wire: Wire, provider: RehearsalProvider, tmp_path: Path, url: str, client: RegistryClient
) -> None:
    """Another program writes it, and its schema goes on while it is read. Another program reads the results."""
    await wire.create_topics(partitions=2)
    subject = f"{wire.name}.in-value"
    first, later = [await client.register(subject, json.dumps(one)) for one in (TICKET, LATER)]
    records = [framed(first, TICKET, ticket(n)) for n in range(20)]
    records += [framed(later, LATER, ticket(n, body_html="<b>")) for n in range(20, 40)]
    records += [framed(first, TICKET, ticket(n, status="CLOSED")) for n in range(40, 45)]
    unfit = [
        b"\x00" + (2_000_000_000).to_bytes(4, "big") + b"x",
        records[0][:-1],
        framed(first, TICKET, ticket(90))[:9],
    ]
    await wire.produce(Record(value=value) for value in [*records, *unfit])
    settings = wire.settings(
        provider.base_url, pipeline=_pipeline(tmp_path, output=AVRO), schema_registry_url=url, topic_partitions=1
    )
    async with serving(settings) as service:
        found = [record async for record in wire.read(wire.topics["result"], wire.topics["dead_letter"], count=43)]
        samples = await scraped(service)

    dead = [record for record in found if record.topic == wire.topics["dead_letter"]]
    assert {record.value for record in dead} == set(unfit)
    assert {dict(record.headers)["__docsluice.errors.reason"] for record in dead} <= {b"undecodable"}
    results = [record for record in found if record.topic == wire.topics["result"]]
    (schema_id,) = {int.from_bytes(record.value[1:5], "big") for record in results}
    schema = json.loads((await client.schema(schema_id)).text)
    assert json.loads(await client.latest(f"{wire.topics['result']}-value") or "") == schema
    read_again = [read(schema, record.value) for record in results]
    assert {one["document_id"] for one in read_again} == {str(n) for n in range(40)}
    for one, record in zip(read_again, results, strict=True):
        assert one["urgency"] in {"low", "high"}
        assert len(one["keywords"]) == 2
        assert one["metadata"] == {"opened_at": "2023-11-14T22:13:20Z"}
        assert one["cost_usd"] > 0
        assert dict(record.headers)["content-type"] == b"application/avro"
    documents = Counter(
        {
            dict(labels)["outcome"]: value
            for (name, labels), value in samples.items()
            if name == "docsluice_documents_total"
        }
    )
    assert documents == {"result": 40, "dead_letter": 3, "skipped": 5}


async def test_a_registry_that_is_away_makes_no_dead_letters(
    wire: Wire, provider: RehearsalProvider, tmp_path: Path, fake: FakeRegistry
) -> None:
    """Records of a known schema go on. Those of a new one wait, the service says so, and all become results."""
    await wire.create_topics()
    first = fake.add(TICKET)
    settings = wire.settings(provider.base_url, pipeline=_pipeline(tmp_path), schema_registry_url=fake.url)
    async with serving(settings) as service:
        await wire.produce([Record(value=framed(first, TICKET, ticket(1)))])
        assert [one.document_id for one in await wire.outcomes(1)] == ["1"]
        await fake.stop()
        later = fake.add(LATER)
        await wire.produce(Record(value=framed(later, LATER, ticket(n, body_html=None))) for n in range(10, 20))
        await wire.produce([Record(value=framed(first, TICKET, ticket(2)))])
        assert {one.document_id for one in await wire.outcomes(2)} == {"1", "2"}

        async def said() -> bool:
            return "schema registry (DOCSLUICE_SCHEMA_REGISTRY_URL) is away" in str(service.why_not_ready())

        await until(said, what="the service says that the registry is away")
        assert await wire.count("dead_letter") == 0
        await fake.start()
        outcomes = await wire.outcomes(12)
        assert service.why_not_ready() is None
    assert {one.document_id for one in outcomes} == {str(n) for n in (1, 2, *range(10, 20))}
    assert not any(one.is_dead_letter for one in outcomes)


async def test_a_service_that_waits_for_the_registry_stops_at_once(
    wire: Wire, provider: RehearsalProvider, tmp_path: Path, fake: FakeRegistry
) -> None:
    """Nothing was paid for. The next owner reads these records again."""
    await wire.create_topics()
    first = fake.add(TICKET)
    await fake.stop()
    await wire.produce([Record(value=framed(first, TICKET, ticket(1)))])
    settings = wire.settings(
        provider.base_url, pipeline=_pipeline(tmp_path), schema_registry_url=fake.url, drain_seconds=3600
    )
    async with serving(settings) as service:

        async def waits() -> bool:
            return service.why_not_ready() is not None

        await until(waits, what="a record waits for the registry")
    assert await wire.committed() == 0


async def test_check_looks_at_the_registry(
    wire: Wire, provider: RehearsalProvider, tmp_path: Path, fake: FakeRegistry
) -> None:
    """Whether it is there, lets us in, knows the schemas of the last records, and takes that of the results."""
    await wire.create_topics()
    schema_id = fake.add(TICKET)
    await wire.produce([Record(value=framed(schema_id, TICKET, ticket(1)))])
    settings = wire.settings(provider.base_url, pipeline=_pipeline(tmp_path, output=AVRO), schema_registry_url=fake.url)

    async def lines() -> tuple[bool, str]:
        found: list[str] = []
        well = await check(settings, known_secrets_of(settings), say=found.append)
        return well, "\n".join(found)

    what = f"registry {fake.url} (DOCSLUICE_SCHEMA_REGISTRY_URL)"
    well, said = await lines()
    assert well
    assert f"ok       {what}: reached" in said
    assert "its last records are document events (1 looked at)" in said
    fake.credentials = "a:b"
    well, said = await lines()
    assert not well
    assert f"FAILED   {what}: HTTP 401: it wants DOCSLUICE_SCHEMA_REGISTRY_USERNAME" in said
    fake.credentials = None
    fake.is_compatible = False
    old = {"type": "record", "name": "R", "fields": [{"name": "urgency", "type": "int"}]}
    fake.add(old, subject=f"{wire.topics['result']}-value")
    well, said = await lines()
    assert not well
    assert "its last records are document events (1 looked at)" in said
    problem = f"output.format: avro: {wire.topics['result']}-value: urgency was"
    assert problem in said
    with pytest.raises(ConfigurationError, match="urgency was"):
        async with serving(settings):
            pass
    await fake.stop()
    said = (await lines())[1]
    assert f"FAILED   {what}: connection refused" in said
    assert f"input {wire.topics['input']} (DOCSLUICE_INPUT_TOPIC): not looked at" in said

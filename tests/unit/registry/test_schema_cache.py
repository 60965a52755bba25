"""Schemas are looked up once each. A registry that is away is waited for, and an unknown id is its record's fault."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from docsluice.messages import DeadLetterReason
from docsluice.registry.client import RegistryAddress, RegistryClient
from docsluice.registry.schema import RegisteredSchema
from docsluice.validation.record_bytes import Unreadable
from docsluice_consumer.bootstrap import input_rules_of
from docsluice_consumer.decode.decode import RecordReader
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.registry.schema_cache import SchemaCache
from tests.fakes.avro import TICKET, framed, ticket, written
from tests.fakes.registry import FakeRegistry
from tests.fakes.samples import pipeline_file, record

MAPPING = {"document_id": "ticket_id", "text": "{{ subject }}: {{ body }}", "metadata": {"opened": "opened_at"}}


class Clock:
    """Time that moves while somebody sleeps."""

    def __init__(self, waking: Callable[[], Awaitable[None]] | None = None) -> None:
        self.now = 100.0
        self.slept: list[float] = []
        self.waking = waking

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        assert len(self.slept) < 20, "it waits for ever"
        await asyncio.sleep(0)
        if self.waking is not None:
            await self.waking()


@contextlib.asynccontextmanager
async def cached(registry: FakeRegistry, clock: Clock | None = None, **address: Any) -> AsyncIterator[SchemaCache]:
    clock = clock or Clock()
    client = RegistryClient(RegistryAddress(url=registry.url, **address))
    cache = SchemaCache(client, clock=clock.time, sleep=clock.sleep)
    try:
        yield cache
    finally:
        await cache.close()


def reader(cache: SchemaCache, **fields: Any) -> RecordReader:
    return RecordReader(rules=input_rules_of(pipeline_file(input=fields or MAPPING)), schemas=cache)


async def rejection(reader_: RecordReader, value: bytes, **more: Any) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        await reader_.read_by_schema(record(value, **more))
    return caught.value


async def test_records_of_a_schema_are_mapped_and_ask_once() -> None:
    """Many at once share one lookup."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        schema_id = registry.add(TICKET)
        values = [framed(schema_id, TICKET, ticket(number)) for number in range(20)]
        read = await asyncio.gather(*(reader(cache).read_by_schema(record(value)) for value in values))
    events = [one.event for one in read if one is not None]
    assert [event.document_id for event in events] == [str(number) for number in range(20)]
    assert events[0].text == "Printer 0: It burns."
    assert events[0].metadata == {"opened": "2023-11-14T22:13:20Z"}
    assert registry.calls == [f"schemas/ids/{schema_id}"]


@pytest.mark.parametrize("by_guid", [True, False])
async def test_a_header_may_name_the_schema(*, by_guid: bool) -> None:
    """Newer serializers leave the value as it is."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        schema_id = registry.add(TICKET)
        named = b"\x01" + uuid.UUID(int=schema_id).bytes if by_guid else b"\x00" + schema_id.to_bytes(4, "big")
        headers = [("__value_schema_id", named)]
        read = await reader(cache).read_by_schema(record(written(TICKET, ticket(7)), headers=headers))
        assert read is not None
        assert read.event.document_id == "7"


async def test_json_of_a_schema_is_read() -> None:
    """Its own deserializers would check it. We map it."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        schema_id = registry.add({"type": "object"}, kind="JSON")
        head = b"\x00" + schema_id.to_bytes(4, "big")
        read = await reader(cache).read_by_schema(record(head + json.dumps(ticket(7)).encode()))
        assert read is not None
        assert read.event.document_id == "7"
        rejected = await rejection(reader(cache), head + b"{")
        assert rejected.reason is DeadLetterReason.UNDECODABLE


async def test_a_value_without_a_schema_is_read_as_ever() -> None:
    """Nothing is asked for it, nor for a text."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        plain = record(json.dumps(ticket(7)).encode())
        read = await reader(cache).read_by_schema(plain)
        assert read == reader(cache).read(plain)
        text = record(b"\x00\x00\x00\x00\x07 is text")
        read = await reader(cache, format="text", document_id="'d'").read_by_schema(text)
        assert read is not None
    assert registry.calls == []


async def test_references_are_fetched_the_innermost_first() -> None:
    """Once each, and a circle of them ends."""
    place = {"type": "record", "name": "geo.Place", "fields": [{"name": "city", "type": "string"}]}
    person = {"type": "record", "name": "crm.Person", "fields": [{"name": "home", "type": "geo.Place"}]}
    outer = {
        "type": "record",
        "name": "shop.Order",
        "fields": [{"name": "document_id", "type": "string"}, {"name": "by", "type": "crm.Person"}],
    }
    async with FakeRegistry() as registry, cached(registry) as cache:
        registry.add(place, subject="a/place")
        place_reference = {"name": "geo.Place", "subject": "a/place", "version": 1}
        registry.add(person, subject="person", references=[place_reference])
        person_reference = {"name": "crm.Person", "subject": "person", "version": 1}
        schema_id = registry.add(outer, subject="order", references=[person_reference, place_reference])
        value = b"\x00" + schema_id.to_bytes(4, "big") + b"\x04d1" + b"\x08Rome"
        read = await reader(cache, text="by.home.city").read_by_schema(record(value))
        assert read is not None
        assert (read.event.document_id, read.event.text) == ("d1", "Rome")
        assert registry.calls == [
            f"schemas/ids/{schema_id}",
            "subjects/person/versions/1",
            "subjects/a%2Fplace/versions/1",
        ]


@pytest.mark.parametrize(
    ("broken", "megabytes"), [*((one, 0) for one in (500, 503, 401, 403, 404, 429, 302, 200)), (502, 5), (404, 5)]
)
async def test_a_registry_that_is_not_well_is_waited_for(broken: int, megabytes: int) -> None:
    """No record is to blame. The log says so once, and `/readyz` as long as it lasts."""
    async with FakeRegistry() as registry:
        schema_id = registry.add(TICKET)
        registry.broken, registry.page = broken, "<html>down</html>" + "." * megabytes * 1_000_000
        seen: list[str | None] = []

        async def waking() -> None:
            seen.append(cache.why_not_ready())
            if len(seen) == 3:
                registry.broken = None

        with capture_logs() as logs:
            async with cached(registry, Clock(waking)) as cache:
                read = await reader(cache).read_by_schema(record(framed(schema_id, TICKET, ticket(7))))
                assert read is not None
                assert cache.why_not_ready() is None
    assert [log["event"] for log in logs] == ["registry.away", "registry.back"]
    assert all(one and "(DOCSLUICE_SCHEMA_REGISTRY_URL) is away: " in one for one in seen)


async def test_a_registry_that_is_gone_is_waited_for() -> None:
    """It may be stopped and started as often as anybody likes. What is known is read meanwhile."""
    async with FakeRegistry() as registry:
        known, wanted = registry.add(TICKET), registry.add("string")

        async def waking() -> None:
            assert "connection refused" in str(cache.why_not_ready())
            read = await reader(cache).read_by_schema(record(framed(known, TICKET, ticket(7))))
            assert read is not None
            await registry.start()

        async with cached(registry, Clock(waking)) as cache:
            await cache.reader(known)
            await registry.stop()
            assert (await cache.reader(wanted))(b"\x02a") == "a"


async def test_an_unknown_id_is_asked_for_once_more() -> None:
    """Registries replicate, and a record may come before its schema."""
    async with FakeRegistry() as registry:

        async def waking() -> None:
            registry.add("string")

        clock = Clock(waking)
        async with cached(registry, clock) as cache:
            assert (await cache.reader(1))(b"\x02a") == "a"
        assert clock.slept == [1.0]


async def test_an_id_that_stays_unknown_is_the_records_fault() -> None:
    """The message names the id and the registry. For a while nothing is asked again."""
    clock = Clock()
    async with FakeRegistry() as registry, cached(registry, clock) as cache:
        rejected = await rejection(reader(cache), b"\x00\x00\x00\x00\x63rest")
        assert rejected.reason is DeadLetterReason.UNDECODABLE
        said = f"schema id 99 is not in the registry {registry.url} (DOCSLUICE_SCHEMA_REGISTRY_URL)"
        assert str(rejected) == said
        await rejection(reader(cache), b"\x00\x00\x00\x00\x63rest")
        assert len(registry.calls) == 2
        clock.now += 31
        registry.by_id[99] = {"schema": '"string"'}
        assert (await cache.reader(99))(b"\x02a") == "a"


async def test_a_larger_id_than_any_is_not_asked_for() -> None:
    """Registries have no path for it, and would look as if they were not there: one record would stop all others."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        rejected = await rejection(reader(cache), b"\x00\xff\xff\xff\xffrest")
        assert str(rejected).startswith("schema id 4294967295 is none of a registry")
    assert registry.calls == []


@pytest.mark.parametrize(
    ("schema", "kind", "said"),
    [
        ('syntax = "proto3";', "PROTOBUF", "it is Protobuf, which is not read; have the producer write Avro or JSON"),
        ("x", "THRIFT", "it is of the kind THRIFT, which is not known; have the producer write Avro or JSON"),
        ("{", "AVRO", "it is no JSON"),
        ({"type": "array", "items": "shop.Order"}, "AVRO", "it names shop.Order, which is nowhere defined"),
    ],
)
async def test_a_schema_that_cannot_be_used_is_the_records_fault(schema: Any, kind: str, said: str) -> None:
    """The message says what to do."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        schema_id = registry.add(schema, kind=kind)
        rejected = await rejection(reader(cache), b"\x00" + schema_id.to_bytes(4, "big"))
        assert rejected.reason is DeadLetterReason.UNDECODABLE
        assert str(rejected) == f"the value has schema id 1 of the registry, which cannot be used: {said}"


async def test_bytes_that_do_not_fit_are_the_records_fault() -> None:
    """The message names the field, and no value."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        schema_id = registry.add(TICKET)
        rejected = await rejection(reader(cache), framed(schema_id, TICKET, ticket(7))[:-1])
        assert str(rejected).startswith(
            f"the value does not fit schema id {schema_id} of the registry: opened_at: it ends in the middle"
        )


@given(st.binary(max_size=60), st.sampled_from([1, 2, 3]))
async def test_any_bytes_behind_a_frame_are_an_event_or_a_rejection(data: bytes, schema_id: int) -> None:
    """There is no other end: Avro, JSON, Protobuf."""

    class Registry:
        async def schema(self, name: Any) -> Any:
            kinds = {1: ("AVRO", json.dumps(TICKET)), 2: ("JSON", "{}"), 3: ("PROTOBUF", "")}
            return RegisteredSchema(*kinds[name])

        async def referenced(self, reference: Any) -> Any:
            raise AssertionError

        async def close(self) -> None:
            pass

    cache = SchemaCache(Registry(), clock=lambda: 0.0)
    rejected = None
    try:
        await reader(cache).read_by_schema(record(b"\x00" + schema_id.to_bytes(4, "big") + data))
    except RecordRejected as one:
        rejected = one
    if rejected is not None:
        assert rejected.reason in {DeadLetterReason.UNDECODABLE, DeadLetterReason.INVALID_EVENT}
        assert len(str(rejected)) < 1000


async def test_credentials_are_sent_and_asked_for() -> None:
    """A refusal names the variable."""
    async with FakeRegistry(credentials="me:geheim-geheim") as registry:
        schema_id = registry.add("string")
        async with cached(registry, username="me", password="geheim-geheim") as cache:
            await cache.reader(schema_id)

        async def waking() -> None:
            assert "HTTP 401: it wants DOCSLUICE_SCHEMA_REGISTRY_USERNAME" in str(cache.why_not_ready())
            registry.credentials = None

        async with cached(registry, Clock(waking)) as cache:
            await cache.reader(schema_id)


async def test_the_number_of_schemas_that_are_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes, and is asked for again."""
    monkeypatch.setattr("docsluice_consumer.registry.schema_cache._MOST_SCHEMAS", 2)
    async with FakeRegistry() as registry, cached(registry) as cache:
        ids = [registry.add(one) for one in ("string", "int", "long")]
        for one in (*ids, ids[0], ids[0]):
            await cache.reader(one)
        assert [call.rpartition("/")[2] for call in registry.calls] == [str(one) for one in (*ids, ids[0])]


async def test_a_record_that_leaves_takes_nothing_from_the_others() -> None:
    """It was cancelled while it waited for a schema that others wait for, too."""
    gate = asyncio.Event()
    async with FakeRegistry() as registry:
        schema_id = registry.add("string")
        registry.broken = 503

        async def waking() -> None:
            await gate.wait()

        async with cached(registry, Clock(waking)) as cache:
            first, second = (asyncio.create_task(cache.reader(schema_id)) for _ in range(2))
            while cache.why_not_ready() is None:
                await asyncio.sleep(0)
            first.cancel()
            registry.broken = None
            gate.set()
            assert (await second)(b"\x02a") == "a"
            with pytest.raises(asyncio.CancelledError):
                await first


async def test_the_message_is_for_its_record_alone() -> None:
    """An exception that several records shared would grow with each."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        for _ in range(2):
            with pytest.raises(Unreadable) as caught:
                await cache.reader(9)
            assert caught.value.__traceback__ is not None


async def test_a_reference_with_a_version_that_is_no_number_is_the_records_fault() -> None:
    """JSON's `1e999` is infinite in Python, and is a version no more than a text is."""
    async with FakeRegistry() as registry, cached(registry) as cache:
        for version in (float("inf"), "one", None):
            schema_id = registry.add("string", references=[{"name": "n", "subject": "a", "version": version}])
            rejected = await rejection(reader(cache), b"\x00" + schema_id.to_bytes(4, "big") + b"\x02a")
            assert rejected.reason is DeadLetterReason.UNDECODABLE
            assert "its references are none" in str(rejected)

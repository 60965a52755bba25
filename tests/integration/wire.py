"""What a test on the wire needs: topics of its own, records in, outcomes out, and the service in this very process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.structs import OffsetAndMetadata
from prometheus_client.parser import text_string_to_metric_families

from docsluice.kafka.batch_reading import pause_between_empty_fetches
from docsluice.messages import Headers
from docsluice.outcomes.outcome import Outcome, outcome_of
from docsluice_consumer.service import Service
from docsluice_consumer.settings import Settings, load_settings

WATCHDOG_SECONDS = 90.0
"""Ends a test that hangs. Nothing is asserted about time."""


@dataclass(frozen=True, kw_only=True)
class Wire:
    """One broker, and names on it that no other test uses."""

    bootstrap_servers: str
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:10]}")

    @property
    def topics(self) -> dict[str, str]:
        return {"input": f"{self.name}.in", "result": f"{self.name}.results", "dead_letter": f"{self.name}.dlq"}

    def settings(self, base_url: str, **overrides: Any) -> Settings:
        """Settings of a service on these topics against this provider. Quick to retry and to commit."""
        defaults: dict[str, Any] = {
            "kafka_bootstrap_servers": self.bootstrap_servers,
            "openai_base_url": base_url,
            "openai_api_key": "sk-test",
            "group_id": f"{self.name}.group",
            "input_topic": self.topics["input"],
            "result_topic": self.topics["result"],
            "dead_letter_topic": self.topics["dead_letter"],
            "commit_interval_seconds": 0.05,
            "http_host": "127.0.0.1",
            "http_port": 0,
            "store_url": "memory://",
        }
        return load_settings(defaults | overrides)

    async def create_topics(
        self,
        *,
        partitions: int = 1,
        max_message_bytes: dict[str, int] | None = None,
        configs: dict[str, dict[str, str]] | None = None,
    ) -> None:
        """Create the three topics. `max_message_bytes` and other `configs` are by the names of `topics`."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            await admin.create_topics(
                [
                    NewTopic(
                        name=topic,
                        num_partitions=partitions,
                        replication_factor=1,
                        topic_configs={
                            "max.message.bytes": str((max_message_bytes or {}).get(role, 1_048_588)),
                            **(configs or {}).get(role, {}),
                        },
                    )
                    for role, topic in self.topics.items()
                ]
            )
            await _led(admin, self.topics.values())
        finally:
            await admin.close()

    async def add_partitions(self, role: str, *, total: int) -> None:
        """Give a topic more partitions."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            await admin.create_partitions({self.topics[role]: NewPartitions(total_count=total)})
            await _led(admin, [self.topics[role]], partitions=total)
        finally:
            await admin.close()

    async def make_anew(self, role: str) -> None:
        """Delete a topic and create it again, empty."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_topics([self.topics[role]])

            async def gone() -> bool:
                return self.topics[role] not in await admin.list_topics()

            await until(gone, what="the topic is deleted")
            await admin.create_topics([NewTopic(name=self.topics[role], num_partitions=1, replication_factor=1)])
            await _led(admin, [self.topics[role]])
        finally:
            await admin.close()

    async def produce(self, records: Iterable[Record], *, role: str = "input") -> None:
        """Write records to the input topic, or to that of another role, in order."""
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap_servers, max_request_size=2**26)
        await producer.start()
        try:
            sent = [
                await producer.send(self.topics[role], value=r.value, key=r.key, headers=list(r.headers))
                for r in records
            ]
            await asyncio.gather(*sent)
        finally:
            await producer.stop()

    async def outcomes(self, count: int) -> list[Outcome]:
        """The first `count` results and dead letters, in the order of arrival."""
        found: list[Outcome] = []
        async for record in self.read(self.topics["result"], self.topics["dead_letter"], count=count):
            outcome = outcome_of(record)
            assert isinstance(outcome, Outcome), outcome
            found.append(outcome)
        return found

    async def read(self, *topics: str, count: int) -> AsyncIterator[Any]:
        """The first `count` records of these topics."""
        async with self._reader(*topics) as reader, asyncio.timeout(WATCHDOG_SECONDS):
            for _ in range(count):
                yield await reader.getone()

    async def count(self, role: str) -> int:
        """How many records a topic holds for a reader with read_committed. Offsets also count transactions' ends."""
        async with self._reader(self.topics[role]) as reader:
            assert reader.assignment(), f"{self.topics[role]} has no partitions"
            ends = await self._ends(reader.assignment())
            found = 0
            async with asyncio.timeout(WATCHDOG_SECONDS):
                while any([await reader.position(partition) < end for partition, end in ends.items()]):
                    batches = await reader.getmany(timeout_ms=20)
                    found += sum(map(len, batches.values()))
            return found

    def _reader(self, *topics: str) -> AIOKafkaConsumer:
        pause_between_empty_fetches()
        return AIOKafkaConsumer(
            *topics,
            bootstrap_servers=self.bootstrap_servers,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=2**24,
            isolation_level="read_committed",
        )

    async def _ends(self, partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """With what is about to be committed: such a reader sees an ended transaction a moment later."""
        anyone = AIOKafkaConsumer(bootstrap_servers=self.bootstrap_servers)
        await anyone.start()
        try:
            ends: dict[TopicPartition, int] = await anyone.end_offsets(partitions)
            return ends
        finally:
            await anyone.stop()

    async def committed(self) -> int:
        """The sum of the group's committed offsets on the input topic."""
        return sum(point.offset for point in (await self.committed_points()).values())

    async def committed_points(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What the group has committed on the input topic."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets(f"{self.name}.group")
        finally:
            await admin.close()
        return {p: point for p, point in offsets.items() if p.topic == self.topics["input"] and point.offset >= 0}


async def _led(admin: AIOKafkaAdminClient, topics: Collection[str], *, partitions: int = 1) -> None:
    """Wait for a leader of each partition. A broker confirms a topic a moment before it tells who leads it."""

    async def led() -> bool:
        found = await admin.describe_topics(list(topics))
        return all(
            topic["error_code"] == 0
            and len(topic["partitions"]) >= partitions
            and all(partition["error_code"] == 0 and partition["leader"] >= 0 for partition in topic["partitions"])
            for topic in found
        )

    await until(led, what="each partition has a leader")


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record to be produced."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = ()


def document(document_id: str, text: str = "", **metadata: Any) -> Record:
    """A valid event as plain JSON. Without a text it has one of its own, for the same one is asked about once only."""
    event = {"document_id": document_id, "text": text or f"A short text about {document_id}.", "metadata": metadata}
    return Record(value=json.dumps(event).encode(), key=document_id.encode())


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[Service]:
    """The service, ready. Stopped and drained at the end. What it raises is raised here."""
    service, stop = Service(settings), asyncio.Event()
    run = asyncio.create_task(service.run(stop))
    try:
        async with asyncio.timeout(WATCHDOG_SECONDS):
            while service.why_not_ready() and not run.done():
                await asyncio.sleep(0.01)
        yield service
    finally:
        stop.set()
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await run


async def scraped(service: Service) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The service's metrics, as Prometheus would read them."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{service.http_port}/metrics") as response,
    ):
        text = await response.text()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def stopped_by_itself(service: Service) -> None:
    """Wait until the service is no longer ready, though nobody told it to stop."""

    async def not_ready() -> bool:
        return service.why_not_ready() is not None

    await until(not_ready, what="the service stops by itself")


async def until(condition: Callable[[], Awaitable[bool]], *, what: str) -> None:
    """Wait until an async condition holds."""
    try:
        async with asyncio.timeout(WATCHDOG_SECONDS):
            while not await condition():
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None

"""A topic read to its end from real brokers, while they go away or take away what is to be read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from docsluice.kafka.broker import Broker as Address
from docsluice.kafka.broker_session import broker_session
from docsluice.kafka.topic_scan import Scan
from docsluice_local.broker import Broker
from docsluice_producer.errors import BrokerAway
from tests.integration.wire import WATCHDOG_SECONDS, Record, Wire

COUNT = 400
"""Of 10 kB each: several answers of Apache Kafka. The embedded broker gives a whole partition in one, however large."""
kafka_alone = pytest.mark.parametrize("own_broker", [pytest.param("kafka", marks=pytest.mark.kafka)], indirect=True)


@asynccontextmanager
async def scan_of(wire: Wire, *, wait_seconds: float, say: Callable[[str], None] = print) -> AsyncIterator[Scan]:
    await wire.create_topics()
    await wire.produce([Record(value=b"v" * 10_000, key=b"%d" % number) for number in range(COUNT)])
    address = Address(bootstrap_servers=wire.bootstrap_servers)
    async with asyncio.timeout(WATCHDOG_SECONDS):
        with broker_session(address, wait_seconds=wait_seconds, say=say) as session:
            async with Scan(session=session, topic=wire.topics["input"], partitions=[0]) as scan:
                yield scan


@kafka_alone
async def test_a_broker_that_comes_back_is_read_on(own_broker: Broker) -> None:
    """It stops in the middle and starts again: that we wait is said once, and each record comes once."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    said: list[str] = []
    told = asyncio.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    async def start_again() -> None:
        await told.wait()
        await asyncio.to_thread(own_broker.start)

    seen: list[int] = []
    async with scan_of(wire, wait_seconds=60, say=say) as scan, asyncio.TaskGroup() as group:
        async for records in scan.pieces(await scan.offset_range()):
            if not seen:
                await asyncio.to_thread(own_broker.stop)
                group.create_task(start_again())
            seen += [record.offset for record in records]
        assert scan.passed == COUNT
    assert seen == list(range(COUNT))
    (line,) = said
    assert line.startswith(f"no answer from {own_broker.bootstrap_servers} about {wire.topics['input']} (")
    assert line.endswith("): waiting for up to 60 s")


@kafka_alone
async def test_a_broker_that_stays_away_is_no_end(own_broker: Broker) -> None:
    """After the time that we were told to wait the reading fails: what was not read must not count as not there."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    seen = 0
    async with scan_of(wire, wait_seconds=0) as scan:
        offset_range = await scan.offset_range()
        with pytest.raises(BrokerAway, match="for 5 s "):  # noqa: PT012
            async for records in scan.pieces(offset_range):
                if not seen:
                    await asyncio.to_thread(own_broker.stop)
                seen += len(records)
    assert 0 < seen < COUNT


@pytest.mark.parametrize("taken", [300, COUNT])
async def test_what_retention_takes_meanwhile_is_not_waited_for(kafka_wire: Wire, taken: int) -> None:
    """Between the look at the end and the reading: what is left is read, if anything is."""
    partition = TopicPartition(kafka_wire.topics["input"], 0)
    async with scan_of(kafka_wire, wait_seconds=30) as scan:
        offset_range = await scan.offset_range()
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka_wire.bootstrap_servers)
        await admin.start()
        try:
            await admin.delete_records({partition: RecordsToDelete(before_offset=taken)})
        finally:
            await admin.close()
        seen = [record.offset async for records in scan.pieces(offset_range) for record in records]
        assert seen == list(range(taken, COUNT))
        assert scan.passed == offset_range.offsets == COUNT

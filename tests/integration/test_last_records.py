"""The newest records of a topic, from real brokers."""

from __future__ import annotations

from aiokafka import AIOKafkaProducer

from docsluice.kafka.broker import Broker
from docsluice_consumer.kafka.last_records import last_records, tail_of
from tests.integration.wire import WATCHDOG_SECONDS, Record, Wire

COUNT = 5


async def last_values(wire: Wire) -> list[bytes | None]:
    broker = Broker(bootstrap_servers=wire.bootstrap_servers)
    found = await last_records(broker, wire.topics["input"], count=COUNT, seconds=WATCHDOG_SECONDS)
    return [record.value for record in found]


async def test_the_newest_records_of_all_partitions_are_read(wire: Wire) -> None:
    """The newest last. Of a topic that is missing, or empty, there are none."""
    assert await last_values(wire) == []
    await wire.create_topics(partitions=2)
    assert await last_values(wire) == []
    for number in range(50):
        await wire.produce([Record(value=b"%d" % number, key=b"%d" % number)])
    assert await last_values(wire) == [b"%d" % number for number in range(45, 50)]
    broker = Broker(bootstrap_servers=wire.bootstrap_servers)
    tail = await tail_of(broker, wire.topics["input"], count=2, seconds=WATCHDOG_SECONDS)
    assert (len(tail.records), tail.offsets) == (2, 50)


async def test_an_aborted_transaction_at_the_end_is_passed_over(wire: Wire) -> None:
    """Its records are never handed out, and are not waited for."""
    await wire.create_topics()
    await wire.produce([Record(value=b"sound")])
    async with AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers, transactional_id=wire.topics["input"]) as one:
        await one.begin_transaction()
        await one.send_and_wait(wire.topics["input"], b"aborted")
        await one.abort_transaction()
    assert await last_values(wire) == [b"sound"]

"""The newest records of a topic, read without a group."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from docsluice.kafka.broker import Broker
from docsluice.kafka.client_log import ClientLog
from docsluice.kafka.clients import left
from docsluice.kafka.topic_reading import RangeReading, present_range, range_consumer
from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.kafka import error_mapping
from docsluice_consumer.kafka.probe import look_at
from docsluice_consumer.kafka.records import Record, read

_OFFSETS_A_RECORD = 4
"""How many offsets to go back for each record: transaction markers take offsets too."""


@dataclass(frozen=True, slots=True)
class Tail:
    """The newest records of a topic, and how many offsets the topic has: as many records at most."""

    records: list[Record]
    offsets: int


async def last_records(broker: Broker, topic: str, *, count: int, seconds: float) -> list[Record]:
    """The records of `tail_of`."""
    return (await tail_of(broker, topic, count=count, seconds=seconds)).records


async def tail_of(broker: Broker, topic: str, *, count: int, seconds: float) -> Tail:
    """Up to `count` records, the newest last, over all partitions. Empty if the topic is empty or missing.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        BrokerFault: they could not be read within `seconds`, or may not be.
    """
    partitions = (await look_at(broker, seconds=seconds)).topics.get(topic, ())
    doing = f"read the last records of topic {topic}"
    consumer = range_consumer(broker)
    try:
        with ClientLog().listening():  # it would log each server that is away
            async with asyncio.timeout(seconds):
                await consumer.start()
                there = await present_range(consumer, [TopicPartition(topic, number) for number in partitions])
                reading, found = RangeReading(consumer, there.last(count * _OFFSETS_A_RECORD)), []
                while not reading.is_over:
                    found += [read(record) for record in await reading.next()]
    except KafkaError as error:
        raise error_mapping.translate(error, doing=doing) or BrokerFault(f"cannot {doing} now, try again") from error
    except TimeoutError:
        raise BrokerFault(f"cannot {doing}: no answer within {seconds:g} seconds") from None
    finally:
        await left(consumer, seconds=seconds)
    return Tail(sorted(found, key=lambda record: record.timestamp_ms)[-count:], there.offsets)

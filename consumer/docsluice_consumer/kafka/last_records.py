"""The newest records of a topic, read without a group."""

from __future__ import annotations

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from docsluice.kafka.batch_reading import read_past_flaws, taken
from docsluice.kafka.broker import Broker
from docsluice.kafka.client_log import ClientLog
from docsluice.kafka.stopping import left
from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.kafka import error_mapping
from docsluice_consumer.kafka.probe import look_at
from docsluice_consumer.kafka.records import Record, read

_OFFSETS_A_RECORD = 4
"""How many offsets to go back for each record: transaction markers take offsets too."""
_POLL_MS = 200


async def last_records(broker: Broker, topic: str, *, count: int, seconds: float) -> list[Record]:
    """Up to `count` records, the newest last, over all partitions. Empty if the topic is empty or missing.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        BrokerFault: they could not be read within `seconds`, or may not be.
    """
    if topic not in (await look_at(broker, seconds=seconds)).topics:
        return []  # aiokafka would wait for it to come
    doing = f"read the last records of topic {topic}"
    read_past_flaws()
    consumer = AIOKafkaConsumer(
        topic,
        **broker.client_arguments(),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    try:
        with ClientLog().listening():  # it would log each server that is away
            async with asyncio.timeout(seconds):
                await consumer.start()
                found = await _last_of(consumer, count)
    except KafkaError as error:
        raise error_mapping.translate(error, doing=doing) or BrokerFault(f"cannot {doing} now, try again") from error
    except TimeoutError:
        raise BrokerFault(f"cannot {doing}: no answer within {seconds:g} seconds") from None
    finally:
        await left(consumer, seconds=seconds)
    return sorted(found, key=lambda record: record.timestamp_ms)[-count:]


async def _last_of(consumer: Any, count: int) -> list[Record]:
    partitions = list(consumer.assignment())
    starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, max(starts[partition], ends[partition] - count * _OFFSETS_A_RECORD))
    found: list[Record] = []
    unread = {partition for partition in partitions if ends[partition] > starts[partition]}
    while unread:
        batches = await taken(consumer, timeout_ms=_POLL_MS, most_records=count)
        for records in batches.values():
            found += [read(record) for record in records]
        unread = {partition for partition in unread if await consumer.position(partition) < ends[partition]}
    return found

"""The broker's side of the story, read and arranged directly, past the proxy."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.structs import OffsetAndMetadata

_TIMEOUT_SECONDS = 90.0
_POLL_MS = 200


@contextlib.asynccontextmanager
async def admin(bootstrap_servers: str) -> AsyncIterator[Any]:
    """An admin client for the length of the block."""
    client = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create(
    bootstrap_servers: str, partitions: Mapping[str, int], configs: Mapping[str, Mapping[str, str]]
) -> None:
    """Create topics with so many partitions, and settings of their own where there are any."""
    new = [
        NewTopic(name=topic, num_partitions=count, replication_factor=1, topic_configs=dict(configs.get(topic, {})))
        for topic, count in partitions.items()
    ]
    async with admin(bootstrap_servers) as client:
        answer = await client.create_topics(new)
    refused = [error for error in answer.topic_errors if error[1]]
    if refused:
        raise RuntimeError(f"topics were not created: {refused}")


async def configure(bootstrap_servers: str, topic: str, configs: Mapping[str, str]) -> None:
    """Replace a topic's own settings."""
    async with admin(bootstrap_servers) as client:
        await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, dict(configs))])


async def add_partitions(bootstrap_servers: str, topic: str, total: int) -> None:
    """Let the topic have `total` partitions from now on."""
    async with admin(bootstrap_servers) as client:
        answer = await client.create_partitions({topic: NewPartitions(total_count=total)})
    refused = [error for error in answer.topic_errors if error[1]]
    if refused:
        raise RuntimeError(f"partitions were not added: {refused}")


async def committed(bootstrap_servers: str, group_id: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """The group's commits, with their metadata."""
    async with admin(bootstrap_servers) as client:
        found: dict[TopicPartition, OffsetAndMetadata] = await client.list_consumer_group_offsets(group_id)
    return {partition: commit for partition, commit in found.items() if commit.offset >= 0}


async def members(bootstrap_servers: str, group_id: str) -> tuple[str, int]:
    """The group's state and how many members it has. A dead one counts until its session has ended."""
    async with admin(bootstrap_servers) as client:
        (answer,) = await client.describe_consumer_groups([group_id])
    (group,) = answer.groups
    return str(group[2]), len(group[5])


async def read_all(bootstrap_servers: str, *topics: str) -> list[Any]:
    """Every committed record that is there now, on all partitions of the topics.

    Raises:
        TimeoutError: the end was not reached: a transaction that nobody ends holds it back.
    """
    async with reading(bootstrap_servers, *topics) as reader:
        targets = await _ends(bootstrap_servers, reader.assignment())
        found: list[Any] = []
        behind = dict(targets)
        moved_at = time.monotonic()
        while behind:
            fetched = await reader.getmany(timeout_ms=_POLL_MS)
            found += [record for records in fetched.values() for record in records]
            before, behind = behind, {p: end for p, end in targets.items() if await reader.position(p) < end}
            if fetched or before != behind:
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > _TIMEOUT_SECONDS:
                raise TimeoutError(f"read to the end of all but {sorted(behind)}: is a transaction open?")
    return found


@contextlib.asynccontextmanager
async def reading(bootstrap_servers: str, *topics: str) -> AsyncIterator[Any]:
    """A read_committed reader of all partitions from their beginnings, in no group."""
    reader = AIOKafkaConsumer(
        bootstrap_servers=bootstrap_servers,
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
    )
    await reader.start()
    try:
        partitions = [partition for topic in topics for partition in await partitions_of(bootstrap_servers, topic)]
        reader.assign(partitions)
        await reader.seek_to_beginning(*partitions)
        yield reader
    finally:
        await reader.stop()


async def partitions_of(bootstrap_servers: str, topic: str) -> list[TopicPartition]:
    """The topic's partitions, in order."""
    async with admin(bootstrap_servers) as client:
        (described,) = await client.describe_topics([topic])
    return sorted(TopicPartition(topic, partition["partition"]) for partition in described["partitions"])


async def _ends(bootstrap_servers: str, partitions: Any) -> dict[TopicPartition, int]:
    """Where the partitions really end, records of open transactions included."""
    read_only_consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, group_id=None, enable_auto_commit=False)
    await read_only_consumer.start()
    try:
        return dict(await read_only_consumer.end_offsets(list(partitions)))
    finally:
        await asyncio.wait_for(read_only_consumer.stop(), _TIMEOUT_SECONDS)

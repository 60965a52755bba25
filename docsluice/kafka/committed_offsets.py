"""Looks up what a consumer group has committed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import for_code
from aiokafka.protocol.commit import OffsetFetchRequest


async def committed_offsets(
    admin: Any, group_id: str, partitions: Iterable[TopicPartition]
) -> dict[TopicPartition, tuple[int, str]]:
    """The committed offset of each partition, with its metadata. Partitions without a commit are left out.

    aiokafka's own `list_consumer_group_offsets` overlooks the group's error and misnames a partition's. A coordinator
    that is still loading names no partition, and would be taken for one of a group without commits.

    Raises:
        KafkaError: the coordinator, or the right to know, is missing.
    """
    numbers: dict[str, list[int]] = {}
    for topic, number in partitions:
        numbers.setdefault(topic, []).append(number)
    coordinator = await admin.find_coordinator(group_id)
    request = OffsetFetchRequest(group_id, list(numbers.items()))
    response = await admin._send_request(request, coordinator)  # noqa: SLF001 - the public way is the one above
    told = [(TopicPartition(topic, number), *rest) for topic, rows in response.topics for number, *rest in rows]
    for code in (getattr(response, "error_code", 0), *(code for *_, code in told)):  # of the group, since Kafka 0.10.2
        if code:
            raise for_code(code)(f"the committed offsets of {group_id}")
    return {partition: (offset, metadata or "") for partition, offset, metadata, _ in told if offset >= 0}

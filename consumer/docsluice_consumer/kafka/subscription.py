"""What is read, and the client that reads it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from docsluice.kafka.batch_reading import read_past_flaws
from docsluice.kafka.broker import Broker
from docsluice_consumer.kafka.backpressure import OpenLimits
from docsluice_consumer.kafka.key_queues import Ordering

SESSION_TIMEOUT_MS = 15_000
_HEARTBEAT_MS = 3_000
_MAX_POLL_INTERVAL_MS = 600_000
_METADATA_MAX_AGE_MS = 30_000
_FETCH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What to read, in which order, and how much at a time."""

    topic: str
    group_id: str
    group_instance_id: str | None
    ordering: Ordering
    open_limits: OpenLimits
    commit_interval_seconds: float
    drain_seconds: float
    kept_record_bytes: int
    """A record with more bytes than this is read without its value."""
    refuses_unknown_maps: bool = False
    """Whether a commit map of a later release stops the service."""


def consumer_of(subscription: Subscription, broker: Broker) -> Any:
    """An aiokafka consumer for a subscription, not started and not subscribed yet."""
    # Bytes come in as they are. A deserializer inside the client would let one bad record stop the reading.
    read_past_flaws(kept_bytes=subscription.kept_record_bytes)
    return AIOKafkaConsumer(
        **broker.client_arguments(),
        group_id=subscription.group_id,
        group_instance_id=_member_of(subscription),
        enable_auto_commit=False,
        auto_offset_reset="none",  # what it would skip in silence is counted and logged
        isolation_level="read_committed",
        partition_assignment_strategy=(StickyPartitionAssignor,),
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=_HEARTBEAT_MS,
        # Its default is the session timeout, and a drain may take longer.
        rebalance_timeout_ms=int((subscription.drain_seconds + 30) * 1000),
        max_poll_interval_ms=_MAX_POLL_INTERVAL_MS,
        metadata_max_age_ms=_METADATA_MAX_AGE_MS,  # how soon added partitions are noticed. Its default is 5 minutes
        max_partition_fetch_bytes=1024 * 1024,
        fetch_max_bytes=_FETCH_BYTES,
    )


def _member_of(subscription: Subscription) -> str | None:
    """The static member's name. Each topic has its own.

    A member that comes back within its session gets its old assignment, whatever it subscribes to now. With each try
    its session begins again.
    """
    if subscription.group_instance_id is None:
        return None
    return f"{subscription.group_instance_id}.{zlib.crc32(subscription.topic.encode()):08x}"

"""A client that reads committed records without a group."""

from typing import Any

from aiokafka import AIOKafkaConsumer

from docsluice.kafka.batch_reading import read_past_flaws
from docsluice.kafka.broker import Broker


def read_only_consumer(broker: Broker, **fetching: Any) -> AIOKafkaConsumer:
    """A consumer without a group, not started yet. Unreadable records come with their flaw."""
    read_past_flaws()
    return AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # after retention has deleted records, the nearest that is left
        isolation_level="read_committed",
        **fetching,
        **broker.client_arguments(),
    )

"""The client of an onlooker: it reads committed records, and takes nothing from anybody."""

from typing import Any

from aiokafka import AIOKafkaConsumer

from docsluice.kafka.batch_reading import read_past_flaws
from docsluice.kafka.broker import Broker


def read_only_consumer(broker: Broker, **fetching: Any) -> AIOKafkaConsumer:
    """A consumer without a group, not started yet. Records that cannot be read come with their flaw."""
    read_past_flaws()
    return AIOKafkaConsumer(
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",  # of what retention has deleted under us, the nearest that is left
        isolation_level="read_committed",
        **fetching,
        **broker.client_arguments(),
    )

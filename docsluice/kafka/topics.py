"""Lists and creates topics. It never requests a topic by name: many brokers create what is requested."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from docsluice.errors import BrokerRefused
from docsluice.kafka.broker import Broker
from docsluice.kafka.clients import connected

_WANTED_REPLICAS = 3


async def partitions_of_topics(broker: Broker) -> dict[str, list[int]]:
    """Every topic that we may see, with its partitions."""
    async with _admin(broker) as admin:
        described = await admin.describe_topics()
    return {topic["topic"]: sorted(part["partition"] for part in topic["partitions"]) for topic in described}


async def create(broker: Broker, topic: str, *, partitions: int, configs: Mapping[str, str] | None = None) -> None:
    """Create a topic with as many replicas as the cluster allows, three at most. An existing one is left alone.

    `configs` are the topic's settings that differ from the broker's.

    Raises:
        BrokerRefused: the broker does not create it.
    """
    async with _admin(broker) as admin:
        brokers = len((await admin.describe_cluster())["brokers"])
        new = NewTopic(
            topic,
            num_partitions=partitions,
            replication_factor=min(_WANTED_REPLICAS, brokers),
            topic_configs=dict(configs or {}),
        )
        response = await admin.create_topics([new])
    for _, code, message in response.topic_errors:
        error = for_code(code)
        if error not in (NoError, TopicAlreadyExistsError):
            raise BrokerRefused(f"topic {topic} cannot be made: {message or error.__name__}")


@asynccontextmanager
async def _admin(broker: Broker) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = await connected(AIOKafkaAdminClient(**broker.client_arguments()))
    try:
        yield admin
    finally:
        await admin.close()

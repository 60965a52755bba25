"""Which topics there are, and making one. Never by asking for a topic by name: many brokers make what is asked for."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import NoError, TopicAlreadyExistsError, for_code

from docsluice.kafka.broker import Broker
from docsluice_producer.errors import BrokerRefused

_WANTED_REPLICAS = 3


async def partitions_of_topics(broker: Broker) -> dict[str, list[int]]:
    """Every topic that we may see, with its partitions."""
    async with _admin(broker) as admin:
        described = await admin.describe_topics()
    return {topic["topic"]: sorted(part["partition"] for part in topic["partitions"]) for topic in described}


async def create(broker: Broker, topic: str, *, partitions: int, configs: Mapping[str, str] | None = None) -> None:
    """Make a topic with as many replicas as the cluster allows, three at most. One that is there already is left alone.

    `configs` are settings of the topic that are to differ from the broker's.

    Raises:
        BrokerRefused: the broker will not make it.
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
    admin = AIOKafkaAdminClient(**broker.client_arguments())
    try:
        await admin.start()
        yield admin
    finally:
        await admin.close()

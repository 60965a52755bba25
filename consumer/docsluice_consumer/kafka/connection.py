"""Clients that wait for the broker, and what is asked of it beside reading and writing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError, for_code

from docsluice.kafka.broker import Broker
from docsluice.kafka.client_log import ClientLog
from docsluice.kafka.clients import connected
from docsluice.kafka.committed_offsets import committed_offsets
from docsluice_consumer.errors import BrokerFault, DocsluiceError
from docsluice_consumer.kafka.broker_refusals import REFUSED_SECONDS, BrokerRefusals
from docsluice_consumer.kafka.offsets import CommitPoint
from docsluice_consumer.kafka.retry import with_retries

log = structlog.get_logger(__name__)

_LIMIT = "max.message.bytes"
_ROOMY = {_LIMIT: str(16 * 1024 * 1024)}
_CONFIG_SECONDS = 5.0


async def started(
    make: Callable[[], Any], *, broker: Broker, doing: str, refused_seconds: float = REFUSED_SECONDS
) -> Any:
    """Make an aiokafka client and connect it. Each try makes a new one: a client cannot be started twice.

    Raises:
        BrokerFault: for `refused_seconds` the broker has refused us, or it speaks another security protocol.
    """
    refusals = BrokerRefusals(security_protocol=broker.security_protocol, seconds=refused_seconds, doing=doing)

    async def start_one() -> Any:
        client, heard = make(), ClientLog()
        try:
            with heard.listening():
                return await connected(client)
        except KafkaConnectionError:
            if heard.servers:
                raise KafkaConnectionError(await refusals.causes(heard)) from None
            raise

    return await with_retries(start_one, doing=doing)


async def first_contact(broker: Broker) -> None:
    """Wait until the broker accepts our connection.

    Raises:
        BrokerFault: it refuses us.
    """
    async with _admin(broker, refused_seconds=0.0):
        pass


async def ensure_topics(broker: Broker, topics: Sequence[str], *, partitions: int, roomy: str) -> None:
    """Create the topics that are missing. `partitions` -1 leaves their number to the broker.

    The one called `roomy` is made to take larger records than others: those of dead letters are the originals and their
    error headers, and what fitted the input topic must fit it too.

    Raises:
        BrokerFault: one is missing and may not be created. The message says which and what to do.
    """
    async with _admin(broker) as admin:
        await with_retries(lambda: _create_missing(admin, topics, partitions, roomy), doing="look up the topics")


async def most_bytes_of(broker: Broker, topic: str) -> int | None:
    """The largest batch that the topic takes (`max.message.bytes`). None if the broker does not tell, or not now."""
    limits = await topic_limits(broker, [topic], seconds=_CONFIG_SECONDS)
    return limits.get(topic)


async def topic_limits(broker: Broker, topics: Sequence[str], *, seconds: float) -> dict[str, int]:
    """The `max.message.bytes` of the topics, as far as the broker tells them within `seconds`."""
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {_LIMIT: None}) for topic in topics]
    found: dict[str, int] = {}
    try:
        async with asyncio.timeout(seconds), _admin(broker) as admin:
            for response in await admin.describe_configs(asked):
                for code, _, _, topic, entries in response.resources:
                    values = {name: value for name, value, *_ in entries} if code == 0 else {}
                    if (values.get(_LIMIT) or "").isdecimal():
                        found[topic] = int(values[_LIMIT])
    except (KafkaError, DocsluiceError, TimeoutError) as error:
        log.debug("topic.limits_unknown", topics=list(topics), error=type(error).__name__)
    return found


async def committed_points(
    broker: Broker, group_id: str, partitions: Sequence[TopicPartition]
) -> dict[TopicPartition, CommitPoint]:
    """What the group has committed, with its metadata, which a consumer's own `committed()` drops.

    Partitions without a commit are left out. Waits for a broker that is away.
    """
    if not partitions:
        return {}
    async with _admin(broker) as admin:
        found = await with_retries(
            lambda: committed_offsets(admin, group_id, partitions), doing="look up the committed offsets"
        )
    return {partition: CommitPoint(*point) for partition, point in found.items()}


@contextlib.asynccontextmanager
async def _admin(broker: Broker, *, refused_seconds: float = REFUSED_SECONDS) -> AsyncIterator[Any]:
    admin = await started(
        lambda: AIOKafkaAdminClient(**broker.client_arguments()),
        broker=broker,
        doing=f"reach the broker at {broker.bootstrap_servers}",
        refused_seconds=refused_seconds,
    )
    try:
        yield admin
    finally:
        await admin.close()


async def _create_missing(admin: Any, topics: Sequence[str], partitions: int, roomy: str) -> None:
    missing = sorted(set(topics) - set(await admin.list_topics()))
    if not missing:
        return
    wanted = [_new_topic(topic, partitions, _ROOMY if topic == roomy else {}) for topic in missing]
    response = await admin.create_topics(wanted)
    for topic, code, *message in response.topic_errors:
        error = for_code(code)
        if code == 0:
            log.info("topic.created", topic=topic)
        elif error.retriable:
            raise error(topic)
        elif error is not TopicAlreadyExistsError:
            because = f"{error.__name__}: {message[0]}" if message and message[0] else error.__name__
            raise BrokerFault(
                f"topic {topic} is missing and could not be created ({because}); create it, or name another topic"
            )


def _new_topic(name: str, partitions: int, configs: dict[str, str]) -> NewTopic:
    """A topic with the broker's own replication, which the protocol writes as -1 and aiokafka's constructor refuses."""
    topic = NewTopic(name=name, num_partitions=1, replication_factor=1, topic_configs=configs)
    topic.num_partitions, topic.replication_factor = partitions, -1
    return topic

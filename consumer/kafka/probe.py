"""One look at the broker: for a person who waits for the answer, and for a service that has not heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataRequest

from consumer.errors import BrokerFault
from consumer.kafka.client_log import ClientLog, cause_in_words, is_final
from consumer.kafka.connection import Broker

Answer = TypeVar("Answer")

_PRODUCE, _FETCH = 0, 1
_RELEASES = (
    ("4.1", _PRODUCE, 13),
    ("4.0", _PRODUCE, 12),
    ("3.9", _FETCH, 17),
    ("3.7", _FETCH, 16),
    ("3.5", _FETCH, 15),
    ("3.1", _FETCH, 13),
    ("2.7", _FETCH, 12),
    ("2.3", _FETCH, 11),
)
"""Newest first: the release that has brought a version of a request."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer, in words. `is_final`: the server has said no, so waiting alone does not help."""

    cause: str
    is_final: bool = False


class Unreachable(BrokerFault):
    """The probe got no answer."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.cause)
        self.trouble = trouble


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a broker tells of its cluster. `id` is None where it has none."""

    id: str | None
    release: str | None
    """The oldest release of Apache Kafka that knows as many requests."""
    topics: frozenset[str]


async def missing_topics(broker: Broker, topics: Sequence[str], *, seconds: float) -> list[str]:
    """Those of the topics that are not there.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        BrokerFault: no answer within `seconds`, or one that will not serve us; why, as far as it can be told.
    """
    return sorted(set(topics) - (await look_at(broker, seconds=seconds)).topics)


async def look_at(broker: Broker, *, seconds: float) -> Cluster:
    """Ask for the cluster's id and topics.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        Unreachable: no answer within `seconds`, or one that will not serve us.
    """
    return await asked(broker, _cluster, seconds=seconds)


async def asked(broker: Broker, question: Callable[[Any], Awaitable[Answer]], *, seconds: float) -> Answer:
    """Connect a client, ask by it, and disconnect.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        Unreachable: no answer within `seconds`, or one that will not serve us.
    """
    # Each server and each request has its part: one that says nothing is not to use up the time of the others.
    each = seconds / (broker.bootstrap_servers.count(",") + 1)
    heard = ClientLog()
    with heard.listening():
        try:
            async with asyncio.timeout(seconds):
                return await _asked(broker, question, heard, seconds=each)
        except (KafkaError, OSError) as error:
            raise Unreachable(_trouble(broker, heard, error, seconds=each)) from None


async def why_silent(broker: Broker, *, seconds: float) -> Trouble | None:
    """Why there is no answer; None when there is one.

    Brokers that other clients of this process fail to reach meanwhile count, too: the bootstrap server may be well.
    """
    heard = ClientLog()
    with heard.listening():
        try:
            await look_at(broker, seconds=seconds)
        except Unreachable as unreachable:
            return unreachable.trouble
    for address, error in heard.brokers.items():
        why = cause_in_words(error, security_protocol=broker.security_protocol, seconds=seconds)
        return Trouble(f"{address}: {why}", is_final=is_final(error))
    return None


async def _asked(
    broker: Broker, question: Callable[[Any], Awaitable[Answer]], heard: ClientLog, *, seconds: float
) -> Answer:
    client = AIOKafkaClient(**broker.client_arguments() | {"request_timeout_ms": int(seconds * 1000)})
    try:
        await client.bootstrap()
        heard.has_bootstrapped = True
        return await question(client)
    finally:
        await client.close()


async def _cluster(client: Any) -> Cluster:
    node = client.get_random_node()
    metadata = await client.send(node, MetadataRequest(None))
    versions = await client.send(node, ApiVersionRequest())
    topics = frozenset(topic for _, topic, *_ in metadata.topics)
    newest = {api: highest for api, _, highest in versions.api_versions}
    return Cluster(getattr(metadata, "cluster_id", None), _release(newest), topics)


def _release(newest: Mapping[int, int]) -> str | None:
    """The release of Apache Kafka that has brought the newest request that is known: a broker does not tell its own."""
    return next((release for release, api, version in _RELEASES if newest.get(api, -1) >= version), None)


def _trouble(broker: Broker, heard: ClientLog, error: BaseException, *, seconds: float) -> Trouble:
    def in_words(cause: BaseException) -> str:
        return cause_in_words(cause, security_protocol=broker.security_protocol, seconds=seconds)

    if heard.brokers and heard.has_bootstrapped:
        address, cause = next(iter(heard.brokers.items()))
        why = f"it answers, and sends its clients to {address} (advertised.listeners): {in_words(cause)}"
        return Trouble(why, is_final=is_final(cause))
    if not heard.servers:
        return Trouble(in_words(error), is_final=is_final(error))
    final = any(is_final(cause) for cause in heard.servers.values())
    if len(heard.servers) == 1:
        return Trouble(in_words(next(iter(heard.servers.values()))), is_final=final)
    causes = (f"{address}: {in_words(cause)}" for address, cause in sorted(heard.servers.items()))
    return Trouble("; ".join(causes), is_final=final)

"""One look at the broker, for `check` and for a service that gets no answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from aiokafka.conn import collect_hosts, create_conn
from aiokafka.errors import KafkaError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.metadata import MetadataRequest

from docsluice.kafka.broker import Broker
from docsluice.kafka.client_log import ClientLog, cause_in_words, is_final, took_and_closed
from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.kafka.wrong_protocol import protocol_to_set

T = TypeVar("T")

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
"""Newest first: the release that introduced a version of a request."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no answer, in words. `is_final`: the server refused, so waiting alone does not help."""

    cause: str
    is_final: bool = False


class Unreachable(BrokerFault):
    """The probe got no answer. `closed_by` are the servers that accepted the connection and closed it."""

    def __init__(self, trouble: Trouble, closed_by: Sequence[str] = ()) -> None:
        super().__init__(trouble.cause)
        self.trouble = trouble
        self.closed_by = closed_by


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a broker tells of its cluster. `id` is None where it has none."""

    id: str | None
    release: str | None
    """The oldest release of Apache Kafka that knows the same requests."""
    topics: Mapping[str, Sequence[int]]
    """The topics that we may see, with their partitions."""


SendRequest = Callable[[Any], Awaitable[Any]]
"""Sends a request of aiokafka's protocol to a broker, and returns its answer."""


async def look_at(broker: Broker, *, seconds: float) -> Cluster:
    """Ask for the cluster's id and topics.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        Unreachable: no answer, or one that will not serve us.
    """
    return await asked(broker, _cluster, seconds=seconds)


async def asked(broker: Broker, question: Callable[[SendRequest], Awaitable[T]], *, seconds: float) -> T:
    """Find the cluster through the bootstrap servers, and send a request to one of its brokers.

    Connections are made by hand. One that is given up half-way must be closed, and aiokafka's client leaves it open.
    `seconds` is for all servers, each of which has its part of them for each request.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        Unreachable: no answer, or one that will not serve us.
    """
    servers = [(host, port) for host, port, _ in collect_hosts(broker.bootstrap_servers)]
    visit = _Visit(broker, seconds / len(servers))
    failed: dict[str, BaseException] = {}
    for server in servers:
        try:
            brokers = await visit.to(server, _addresses)
        except (KafkaError, OSError) as error:
            failed["{}:{}".format(*server)] = error
            continue
        for address in brokers or [server]:
            try:
                return await visit.to(address, question)
            except (KafkaError, OSError) as error:
                raise Unreachable(visit.led_nowhere("{}:{}".format(*address), error)) from None
    closed = [address for address, error in failed.items() if took_and_closed(error)]
    raise Unreachable(visit.failed(failed), closed)


async def why_silent(broker: Broker, *, seconds: float) -> Trouble | None:
    """Why there is no answer. None if there is one.

    Brokers that other clients of this process fail to reach count too, because the bootstrap server may be well.
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


async def why_closed(broker: Broker, unreachable: Unreachable, *, seconds: float) -> str | None:
    """The security protocol to set, if a server closes our connections for it."""
    for address in unreachable.closed_by:
        wrong = await protocol_to_set(address, security_protocol=broker.security_protocol, seconds=seconds)
        if wrong is not None:
            return wrong
    return None


class _Visit:
    """Short connections to servers of one cluster, and what their failures mean."""

    def __init__(self, broker: Broker, seconds: float) -> None:
        self._protocol = broker.security_protocol
        self._seconds = seconds
        self._arguments = broker.client_arguments() | {"request_timeout_ms": int(seconds * 1000)}
        del self._arguments["bootstrap_servers"]

    async def to(self, address: tuple[str, int], question: Callable[[SendRequest], Awaitable[T]]) -> T:
        """Connect, ask, and disconnect."""
        connection = await create_conn(*address, **self._arguments)
        try:
            return await question(connection.send)
        finally:
            connection.close()

    def failed(self, errors: Mapping[str, BaseException]) -> Trouble:
        """Explain that none of the bootstrap servers could be reached."""
        final = any(is_final(error) for error in errors.values())
        if len(errors) == 1:
            return Trouble(self._in_words(next(iter(errors.values()))), is_final=final)
        causes = (f"{address}: {self._in_words(error)}" for address, error in sorted(errors.items()))
        return Trouble("; ".join(causes), is_final=final)

    def led_nowhere(self, address: str, error: BaseException) -> Trouble:
        """Explain that a bootstrap server answered, and the broker that it named did not."""
        why = f"it answers, and sends its clients to {address} (advertised.listeners): {self._in_words(error)}"
        return Trouble(why, is_final=is_final(error))

    def _in_words(self, error: BaseException) -> str:
        return cause_in_words(error, security_protocol=self._protocol, seconds=self._seconds)


async def _addresses(ask: SendRequest) -> list[tuple[str, int]]:
    metadata = await ask(MetadataRequest([]))
    return [(host, port) for _, host, port, *_ in metadata.brokers]


async def _cluster(ask: SendRequest) -> Cluster:
    metadata = await ask(MetadataRequest(None))
    versions = await ask(ApiVersionRequest())
    topics = {topic: [number for _, number, *_ in partitions] for _, topic, *_, partitions in metadata.topics}
    newest = {api: highest for api, _, highest in versions.api_versions}
    return Cluster(getattr(metadata, "cluster_id", None), _release(newest), topics)


def _release(newest: Mapping[int, int]) -> str | None:
    """The release of Apache Kafka that introduced the newest request it knows.

    A broker does not tell its own release.
    """
    return next((release for release, api, version in _RELEASES if newest.get(api, -1) >= version), None)

"""One look at the broker, for a person who waits for the answer: where the service would be patient, this says why."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections.abc import Iterator, Sequence

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError, KafkaError

from consumer.errors import BrokerFault
from consumer.kafka import faults
from consumer.kafka.connection import Broker
from consumer.reach import in_words

_DOING = "look up the topics"


class _ClientLog(logging.Handler):
    """Keeps what aiokafka logs off the terminal, and remembers which addresses failed and why.

    Its exceptions say no more than that no server could be reached; the cause is in the arguments of its log calls.
    """

    def __init__(self) -> None:
        super().__init__(level=logging.DEBUG)
        self.servers: dict[str, BaseException] = {}
        self.brokers: dict[str, BaseException] = {}
        """Those that a server named, at the addresses that it gave for them."""
        self._addresses: dict[object, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of a connection that is begun, or that failed."""
        match record.args:
            case (host, port, BaseException() as cause):
                self.servers[f"{host}:{port}"] = cause
            case (node, BaseException() as cause):
                self.brokers[self._addresses.get(node, f"broker {node}")] = cause
            case (node, host, port) if str(record.msg).startswith("Initiating connection to node"):
                self._addresses[node] = f"{host}:{port}"

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Hear what the client logs until the block ends."""
        logger = logging.getLogger("aiokafka")
        before = logger.level, logger.propagate
        logger.addHandler(self)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        try:
            yield
        finally:
            logger.removeHandler(self)
            logger.setLevel(before[0])
            logger.propagate = before[1]


async def missing_topics(broker: Broker, topics: Sequence[str], *, seconds: float) -> list[str]:
    """Those of the topics that are not there.

    Raises:
        ConfigurationError: a certificate file cannot be used.
        BrokerFault: no answer within `seconds`, or one that will not serve us; why, as far as it can be told.
    """
    each = seconds / (broker.bootstrap_servers.count(",") + 1)
    heard = _ClientLog()
    with heard.listening():
        try:
            async with asyncio.timeout(seconds):
                return sorted(set(topics) - set(await _topics(broker, seconds=each)))
        except (KafkaError, OSError) as error:
            cause: BaseException = error
    raise BrokerFault(_why(broker, heard, cause, seconds=each))


async def _topics(broker: Broker, *, seconds: float) -> list[str]:
    """`seconds` for each server and each request: one that says nothing is not to use up the time of the others."""
    admin = AIOKafkaAdminClient(**broker.client_arguments() | {"request_timeout_ms": int(seconds * 1000)})
    try:
        await admin.start()
        topics: list[str] = await admin.list_topics()
    finally:
        await admin.close()
    return topics


def _why(broker: Broker, heard: _ClientLog, error: BaseException, *, seconds: float) -> str:
    if heard.brokers:
        address, cause = next(iter(heard.brokers.items()))
        why = _cause(broker, cause, seconds=seconds)
        return f"it answers, and sends its clients to {address} (advertised.listeners): {why}"
    causes = {address: _cause(broker, cause, seconds=seconds) for address, cause in heard.servers.items()}
    if len(causes) > 1:
        return "; ".join(f"{address}: {cause}" for address, cause in sorted(causes.items()))
    return next(iter(causes.values()), None) or _cause(broker, error, seconds=seconds)


def _cause(broker: Broker, error: BaseException, *, seconds: float) -> str:
    """In words, with the setting that may be wrong."""
    protocol = broker.security_protocol
    if isinstance(error, TimeoutError):
        return f"no answer within {seconds:g} seconds"
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        # What TLS looks like to a client that speaks none, and SASL to one that sends no credentials.
        return f"it closed the connection; is DOCSLUICE_KAFKA_SECURITY_PROTOCOL={protocol} right?"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{in_words(error)} (DOCSLUICE_KAFKA_SSL_CAFILE)"
    if isinstance(error, ssl.SSLError):
        return f"{in_words(error)}; is DOCSLUICE_KAFKA_SECURITY_PROTOCOL={protocol} right?"
    if isinstance(error, KafkaError):
        fault = faults.translate(error, doing=_DOING)
        return str(fault) if fault else f"cannot {_DOING} now, try again ({type(error).__name__})"
    return in_words(error)

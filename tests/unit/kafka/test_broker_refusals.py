"""When a start gives up on a broker, and how the client's own log tells why."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    NotEnoughReplicasError,
    SaslAuthenticationFailed,
)
from aiokafka.producer.sender import log as sender_log

from docsluice.kafka.broker import Broker
from docsluice.kafka.client_log import ClientLog, cause_in_words, is_final
from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.kafka import broker_refusals as refusals_module
from docsluice_consumer.kafka.broker_refusals import BrokerRefusals
from docsluice_consumer.kafka.connection import first_contact
from docsluice_consumer.kafka.wrong_protocol import protocol_to_set

PASSWORD = SaslAuthenticationFailed("Authentication failed")
UNTRUSTED = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")
UNTRUSTED.reason, UNTRUSTED.verify_message = "CERTIFICATE_VERIFY_FAILED", "self-signed certificate"
OTHER_HOST, OTHER_ADDRESS = (ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]") for _ in range(2))
OTHER_HOST.reason = OTHER_ADDRESS.reason = "CERTIFICATE_VERIFY_FAILED"
OTHER_HOST.verify_code, OTHER_HOST.verify_message = 62, "Hostname mismatch"
OTHER_ADDRESS.verify_code, OTHER_ADDRESS.verify_message = 64, "IP address mismatch"
REFUSED = ConnectionRefusedError(111, "Connection refused")
UNKNOWN_NAME = socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def _heard(*causes: BaseException) -> ClientLog:
    heard = ClientLog()
    with heard.listening():
        for number, cause in enumerate(causes):
            logging.getLogger("aiokafka").error('Unable connect to "%s:%s": %s', f"kafka{number}", 9092, cause)
    return heard


def _refusals(seconds: float) -> tuple[BrokerRefusals, list[float]]:
    now = [0.0]
    return BrokerRefusals(security_protocol="SASL_SSL", seconds=seconds, doing="start", clock=lambda: now[0]), now


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (PASSWORD, "DOCSLUICE_KAFKA_SASL_USERNAME, _SASL_PASSWORD"),
        (UNTRUSTED, "DOCSLUICE_KAFKA_SSL_CAFILE"),
        (OTHER_HOST, "Hostname mismatch.*KAFKA_BOOTSTRAP_SERVERS"),
        (OTHER_ADDRESS, "IP address mismatch.*KAFKA_BOOTSTRAP_SERVERS"),
        (IllegalSaslStateError(), "DOCSLUICE_KAFKA_SECURITY_PROTOCOL"),
    ],
)
async def test_a_refusal_ends_the_first_contact_at_once(cause: Exception, words: str) -> None:
    """With the setting, also when another server of the list is only away."""
    refusals, _ = _refusals(0.0)
    with pytest.raises(BrokerFault, match=words):
        await refusals.causes(_heard(REFUSED, cause))


async def test_a_running_service_bears_a_refusal_for_a_while() -> None:
    """And begins to count again when the broker was only away in between."""
    refusals, now = _refusals(120.0)
    for seconds, cause in ((0, PASSWORD), (100, PASSWORD), (119, REFUSED), (121, PASSWORD), (240, PASSWORD)):
        now[0] = seconds
        await refusals.causes(_heard(cause))
    now[0] = 241.5
    with pytest.raises(BrokerFault, match="cannot start: kafka0:9092: the broker does not accept"):
        await refusals.causes(_heard(PASSWORD))


@pytest.mark.parametrize(("cause", "words"), [(REFUSED, "connection refused"), (UNKNOWN_NAME, "its name is not known")])
async def test_a_broker_that_is_not_there_yet_is_waited_for(cause: Exception, words: str) -> None:
    """Parts of a system start in any order."""
    refusals, now = _refusals(0.0)
    for _ in range(5):
        assert await refusals.causes(_heard(cause)) == f"kafka0:9092: {words}"
        now[0] += 1000


async def test_a_wrong_protocol_is_said_when_it_was_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that is starting closes connections, too. One look at it may then be a coincidence."""
    verdicts = iter(["speaks TLS", None, "speaks TLS", "speaks TLS"])

    async def look(*_: object, **__: object) -> str | None:
        return next(verdicts)

    monkeypatch.setattr(refusals_module, "protocol_to_set", look)
    refusals, _ = _refusals(0.0)
    for _ in range(3):
        assert "it closed the connection" in await refusals.causes(_heard(KafkaConnectionError("closed")))
    with pytest.raises(BrokerFault, match="cannot start: kafka0:9092: speaks TLS"):
        await refusals.causes(_heard(KafkaConnectionError("closed")))


async def test_the_first_contact_waits_for_a_server_that_closes(closing: str) -> None:
    """What stands before a broker may take connections before the broker does."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.5):
            await first_contact(Broker(bootstrap_servers=closing))


async def test_a_server_that_only_closes_speaks_nothing_that_is_known(closing: str) -> None:
    """So no setting is blamed."""
    for protocol in ("PLAINTEXT", "SSL", "SASL_PLAINTEXT"):
        assert await protocol_to_set(closing, security_protocol=protocol, seconds=1.0) is None


@pytest.fixture
async def closing() -> AsyncIterator[str]:
    """A server that accepts connections and closes them."""

    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_server_that_wants_a_certificate_of_ours_says_so_late() -> None:
    """With TLS 1.3 the refusal comes as an alert, behind a handshake that went well."""
    alert = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
    alert.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    error = KafkaConnectionError("Connection at kafka:9093 closed")
    error.__cause__ = alert
    assert is_final(error)
    words = cause_in_words(error, security_protocol="SSL", seconds=5)
    assert "DOCSLUICE_KAFKA_SSL_CERTFILE" in words


def test_only_failures_to_connect_are_taken_note_of() -> None:
    """Other lines of the client's log have as many arguments."""
    heard = ClientLog()
    logger = logging.getLogger("aiokafka.consumer.fetcher")
    with heard.listening():
        logger.debug("Initiating connection to node %s at %s:%s", 1, "kafka-1", 9092)
        logger.error("Unable connect to node with id %s: %s", 1, REFUSED)
        logger.warning("Heartbeat failed for %s %s: %s", "group", 1, KafkaConnectionError("x"))
        logger.error("Failed fetch messages from %s: %s", 1, KafkaConnectionError("x"))
    assert heard.servers == {}
    assert heard.brokers == {"kafka-1:9092": REFUSED}


def test_a_refused_batch_is_taken_note_of_until_it_is_forgotten() -> None:
    """The client sends it again by itself, and logs the error's class instead of raising it."""
    heard = ClientLog()
    with heard.listening_to_warnings():
        sender_log.warning("… %s, retrying. Error: %s", TopicPartition("t", 0), NotEnoughReplicasError)
    assert isinstance(heard.refused, NotEnoughReplicasError)
    heard.forget()
    assert heard.refused is None


def test_listeners_that_overlap_leave_the_log_as_it_was() -> None:
    """Several clients may connect side by side, and the first to end is not the last."""
    logger = logging.getLogger("aiokafka")
    before = logger.level, logger.propagate, logger.handlers[:]
    first, second = ClientLog().listening(), ClientLog().listening()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert logger.level == logging.DEBUG
    second.__exit__(None, None, None)
    assert (logger.level, logger.propagate, logger.handlers) == before

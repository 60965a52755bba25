"""Settings to a broker, and a broker's absence to one line."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaTimeoutError,
    NotLeaderForPartitionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
)

from docsluice.cli.output import CommandFailed
from docsluice.kafka import broker_session as broker_session_room
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import broker_session
from docsluice.kafka.client_log import ClientLog, cause_in_words
from docsluice_producer.errors import BrokerAway, BrokerRefused
from docsluice_producer.kafka.connection_flags import Connection

PASSWORD = "correct horse battery staple"
UNTRUSTED = ssl.SSLCertVerificationError("self-signed")
UNTRUSTED.verify_message = "self-signed certificate"
SASL = {
    "DOCSLUICE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "DOCSLUICE_KAFKA_SASL_MECHANISM": "scram-sha-512",
    "DOCSLUICE_KAFKA_SASL_USERNAME": "me",
    "DOCSLUICE_KAFKA_SASL_PASSWORD": PASSWORD,
}
BROKER = Broker(bootstrap_servers="broker:9092")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], None]:
    """Nothing of the machine's own, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if "KAFKA" in name or name.startswith("DOCSLUICE_")]:
        monkeypatch.delenv(name)

    def set_all(values: dict[str, str]) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


Environment: TypeAlias = Callable[[dict[str, str]], None]


def test_the_environment_wins_over_the_env_file(environment: Environment) -> None:
    """A `.env` beside us is read. What the environment says stands. A blank value is no value."""
    content = "KAFKA_BOOTSTRAP_SERVERS=file:1\nDOCSLUICE_INPUT_TOPIC=file\nDOCSLUICE_RESULT_TOPIC=\n"
    Path(".env").write_text(content, encoding="utf-8")
    environment({"DOCSLUICE_INPUT_TOPIC": "environment"})
    with Connection().settings() as (settings, broker):
        assert broker.bootstrap_servers == "file:1"
        assert settings.input_topic == "environment"
        assert settings.result_topic == "documents.results"


@pytest.mark.usefixtures("environment")
def test_an_env_file_that_is_no_text_is_wrong_usage() -> None:
    """A damaged `.env` is named, not traced."""
    Path(".env").write_bytes(b"A=\xff\xfe")
    with pytest.raises(CommandFailed, match=r"\.env") as caught, Connection().settings():
        pass
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("environment")
def test_nothing_set_means_localhost_in_the_clear() -> None:
    """Without settings we talk to a broker on this machine."""
    with Connection().settings() as (_, broker):
        assert broker.bootstrap_servers == "localhost:9092"
        assert broker.client_arguments()["security_protocol"] == "PLAINTEXT"


def test_the_flag_wins_over_the_environment(environment: Environment) -> None:
    """--bootstrap-servers is the last word on where the broker is."""
    environment({"KAFKA_BOOTSTRAP_SERVERS": "a:1"})
    with Connection(bootstrap_servers="b:2").settings() as (_, broker):
        assert broker.bootstrap_servers == "b:2"


def test_credentials_reach_the_client_and_nobody_else(environment: Environment) -> None:
    """User name, password and certificates become client arguments. The broker's repr shows none of them."""
    environment(SASL)
    with Connection().settings() as (_, broker):
        arguments = broker.client_arguments()
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert arguments["sasl_plain_username"] == "me"
    assert arguments["sasl_plain_password"] == PASSWORD
    assert isinstance(arguments["ssl_context"], ssl.SSLContext)
    assert PASSWORD not in repr(broker)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"KAFKA_BOOTSTRAP_SERVERS": "localhost:port"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "localhost:70000"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "http://localhost:9092"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"KAFKA_BOOTSTRAP_SERVERS": "a:1,,b:2"}, "KAFKA_BOOTSTRAP_SERVERS"),
        ({"DOCSLUICE_KAFKA_SECURITY_PROTOCOL": "TLS"}, "SECURITY_PROTOCOL: must be one of PLAINTEXT, SSL"),
        (SASL | {"DOCSLUICE_KAFKA_SASL_MECHANISM": "GSSAPI"}, "SASL_MECHANISM: must be one of PLAIN"),
        ({"DOCSLUICE_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, "SASL_PASSWORD: needed with"),
        ({"DOCSLUICE_KAFKA_SASL_PASSWORD": PASSWORD}, "SASL_PASSWORD: not used with"),
        (SASL | {"DOCSLUICE_KAFKA_SSL_CAFILE": "/nowhere/ca.pem"}, "SSL_CAFILE: cannot read /nowhere/ca.pem"),
        (SASL | {"DOCSLUICE_KAFKA_SSL_CAFILE": __file__}, "SSL"),
        (SASL | {"DOCSLUICE_KAFKA_SSL_CAFILE": "~nobody-is-called-so/x"}, "SSL_CAFILE: begins with ~ and a user that"),
        (SASL | {"DOCSLUICE_KAFKA_SSL_CAFILE": "~/nowhere.pem"}, f"SSL_CAFILE: cannot read {Path.home()}/nowhere"),
    ],
)
def test_a_setting_that_cannot_work_is_named(changed: dict[str, str], named: str, environment: Environment) -> None:
    """Each bad setting is one line with its name, and never with a password."""
    environment(changed)
    with pytest.raises(CommandFailed) as caught, Connection().settings():
        pass
    (line,) = caught.value.lines
    assert named in line
    assert PASSWORD not in line
    assert "\n" not in line


class Attempts:
    """Fails with the given errors, one by one, then succeeds. Logs the causes as the client does."""

    def __init__(self, *errors: Exception, cause: Exception | None = None) -> None:
        self.errors = list(errors)
        self.made = 0
        self._cause = cause

    async def __call__(self) -> str:
        self.made += 1
        if self._cause is not None:
            logging.getLogger("aiokafka.client").error('Unable connect to "%s:%s": %s', "broker", 9092, self._cause)
        if self.errors:
            raise self.errors.pop(0)
        return "done"


async def attempted(attempt: Attempts, *, said: list[str] | None = None) -> str:
    lines: list[str] = [] if said is None else said
    with broker_session(BROKER, wait_seconds=0, say=lines.append) as session:
        return await session.with_retries(attempt)


async def test_a_broker_that_is_away_is_one_line_with_the_cause() -> None:
    """The line says where we looked and what the client's log says went wrong, not "unable to bootstrap"."""
    attempt = Attempts(KafkaConnectionError("Unable to bootstrap"), cause=ConnectionRefusedError(111, "refused"))
    with pytest.raises(BrokerAway) as caught:
        await attempted(attempt)
    assert str(caught.value) == (
        "no broker at broker:9092: connection refused; KAFKA_BOOTSTRAP_SERVERS or --bootstrap-servers names another"
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed ('127.0.0.1', 9092)"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 111] x, [Errno 111] y"), "connection refused"),
        (OSError("Multiple exceptions: [Errno 101] x, [Errno 111] y"), "network is unreachable, connection refused"),
        (OSError(113, "x"), "no route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "its name is not known"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "no lookup of names works"),
        (OSError("something else"), "something else"),
        (TimeoutError(), "no answer in time"),
    ],
)
def test_an_error_is_told_in_words(error: Exception, words: str) -> None:
    """No number of an error, and no address a second time."""
    assert cause_in_words(error) == words


async def waited_in_vain(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> tuple[list[str], str]:
    """What is said meanwhile and in the end, when each attempt takes half of the time that there is."""
    monkeypatch.setattr(broker_session_room, "_RETRY_SECONDS", 0)
    attempt, said = Attempts(*errors), list[str]()
    loop = asyncio.get_running_loop()
    began = loop.time()
    monkeypatch.setattr(loop, "time", lambda: began + 30 * attempt.made)
    with broker_session(BROKER, wait_seconds=60, say=said.append) as session, pytest.raises(BrokerAway) as caught:
        await session.with_retries(attempt)
    return said, str(caught.value)


async def test_what_was_told_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that says that we wait has the cause and where to look. The last one says for how long we did."""
    said, last = await waited_in_vain(monkeypatch, *[ConnectionRefusedError(111, "Connect call failed")] * 2)
    (line,) = said
    assert line == (
        "no broker at broker:9092: connection refused; KAFKA_BOOTSTRAP_SERVERS or --bootstrap-servers names another"
        " (trying for 60 s)"
    )
    assert last == "no broker at broker:9092 for 60 s"


async def test_another_cause_in_the_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was told of the first attempt may be no longer so."""
    said, last = await waited_in_vain(monkeypatch, TimeoutError(), ConnectionRefusedError(111, "Connect call failed"))
    assert said[0].startswith("no broker at broker:9092: no answer in time; ")
    assert last == "no broker at broker:9092 for 60 s: connection refused"


async def test_waiting_is_said_once_and_ends_with_success(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that comes up in time is worth one line, however often we tried."""
    monkeypatch.setattr(broker_session_room, "_RETRY_SECONDS", 0)
    attempt = Attempts(KafkaConnectionError("away"), NotLeaderForPartitionError(), TimeoutError())
    said: list[str] = []
    with broker_session(BROKER, wait_seconds=60, say=said.append) as session:
        done = await session.with_retries(attempt)
    assert (done, attempt.made, len(said)) == ("done", 4, 1)


@pytest.mark.parametrize(
    ("error", "cause", "line"),
    [
        (
            KafkaConnectionError("away"),
            SaslAuthenticationFailed("no"),
            "does not accept the SASL user name or password",
        ),
        (KafkaConnectionError("away"), UNTRUSTED, "its certificate is not trusted, self-signed certificate"),
        (TopicAuthorizationFailedError("documents"), None, "not allowed on this topic"),
    ],
)
async def test_a_refusal_is_not_tried_again(error: Exception, cause: Exception | None, line: str) -> None:
    """Wrong credentials end at the first attempt: trying them for half a minute would lock the account."""
    attempt = Attempts(error, cause=cause)
    with pytest.raises(BrokerRefused, match=line):
        await attempted(attempt)
    assert attempt.made == 1


async def test_a_client_timeout_is_a_broker_that_is_away() -> None:
    """A broker that accepts connections and says nothing is away, too."""
    with pytest.raises(BrokerAway):
        await attempted(Attempts(KafkaTimeoutError("no offsets")))


def test_the_client_log_stays_off_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """What aiokafka logs is ours to say, and its logger is as it was when we are done."""
    logger = logging.getLogger("aiokafka")
    before = (logger.propagate, list(logger.handlers))
    with ClientLog().listening_to_warnings() as log:
        logging.getLogger("aiokafka.conn").warning("broken: %s", ConnectionResetError("reset"))
    assert isinstance(log.last, ConnectionResetError)
    assert (logger.propagate, list(logger.handlers)) == before
    assert capsys.readouterr().err == ""

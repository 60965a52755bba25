"""How a broker is reached, as far as it takes no broker to see."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.protocol.commit import OffsetFetchResponse_v3

from docsluice.kafka import clients
from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import BrokerFault, ConfigurationError
from docsluice_consumer.kafka import connection
from docsluice_consumer.kafka.connection import committed_points
from docsluice_consumer.kafka.offsets import CommitPoint

PASSWORD = "hunter2"
SASL: dict[str, Any] = {"sasl_username": "u", "sasl_password": PASSWORD}


def _arguments(**fields: Any) -> dict[str, Any]:
    arguments = Broker(bootstrap_servers="a:1,b:2", **fields).client_arguments()
    assert arguments.pop("bootstrap_servers") == "a:1,b:2"
    assert arguments.pop("request_timeout_ms") > 0
    return arguments


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificates")
    certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return {"ssl_cafile": certificate, "ssl_certfile": certificate, "ssl_keyfile": key}


def test_all_three_files_are_used(certificates: dict[str, str]) -> None:
    """As they are."""
    context = _arguments(security_protocol="SSL", **certificates)["ssl_context"]
    assert len(context.get_ca_certs()) == 1


def test_plaintext_needs_nothing() -> None:
    """No credentials and no certificates are passed on."""
    assert _arguments(**SASL) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(("mechanism", "used"), [(None, "PLAIN"), ("SCRAM-SHA-512", "SCRAM-SHA-512")])
def test_sasl(mechanism: str | None, used: str) -> None:
    """User, password and mechanism. PLAIN where none is named."""
    assert _arguments(security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, **SASL) == {
        "security_protocol": "SASL_PLAINTEXT",
        "sasl_mechanism": used,
        "sasl_plain_username": "u",
        "sasl_plain_password": PASSWORD,
    }


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_tls_checks_the_brokers_certificate(protocol: str) -> None:
    """Against the system's authorities unless others are named, and the host's name with it."""
    context = _arguments(security_protocol=protocol, **SASL)["ssl_context"]
    assert isinstance(context, ssl.SSLContext)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


@pytest.mark.parametrize("field", ["ssl_cafile", "ssl_certfile", "ssl_keyfile"])
@pytest.mark.parametrize(
    ("content", "why"),
    [(None, "cannot read {path}: No such file or directory"), ("no certificate", "cannot use {path}: ")],
)
def test_a_certificate_that_cannot_be_used(
    tmp_path: Path, certificates: dict[str, str], field: str, content: str | None, why: str
) -> None:
    """Missing or damaged, it is one line that names the setting and the file."""
    path = tmp_path / "cert.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        _arguments(security_protocol="SSL", **{**certificates, field: str(path)})
    (problem,) = caught.value.problems
    assert problem.startswith(f"DOCSLUICE_KAFKA_{field.upper()}: {why.format(path=path)}")
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("field", "made_by", "why"),
    [
        ("ssl_cafile", None, "it is a Java keystore, and wanted is PEM: keytool -importkeystore"),
        ("ssl_keyfile", None, "it is a Java keystore"),
        (
            "ssl_cafile",
            ["pkcs12", "-export", "-passout", "pass:x", "-inkey", "{key}", "-in"],
            "it is a PKCS#12 keystore",
        ),
        ("ssl_certfile", ["x509", "-outform", "der", "-in"], "it is in DER, and wanted is PEM"),
        ("ssl_cafile", ["pkey", "-pubout", "-inform", "pem", "-in", "{key}"], "there is no certificate in it, in PEM"),
        ("ssl_keyfile", ["x509", "-in"], "there is no private key in it, in PEM"),
    ],
)
def test_a_certificate_of_another_kind_is_named(
    tmp_path: Path, certificates: dict[str, str], field: str, made_by: list[str] | None, why: str
) -> None:
    """Java's clients take keystores. OpenSSL only says that there is no certificate."""
    path = tmp_path / "other"
    if made_by is None:
        path.write_bytes(b"\xfe\xed\xfe\xed\x00\x00\x00\x02")
    else:
        words = [word.format(key=certificates["ssl_keyfile"]) for word in made_by]
        words += [certificates["ssl_certfile"]] if words[-1] == "-in" else []
        subprocess.run(["openssl", *words, "-out", str(path)], check=True, capture_output=True)
    with pytest.raises(ConfigurationError) as caught:
        _arguments(security_protocol="SSL", **{**certificates, field: str(path)})
    assert caught.value.problems[0].startswith(f"DOCSLUICE_KAFKA_{field.upper()}: cannot use {path}: {why}")


def test_a_folder_is_no_certificate(tmp_path: Path) -> None:
    """It is told as one."""
    with pytest.raises(ConfigurationError, match=r"DOCSLUICE_KAFKA_SSL_CAFILE: cannot read .*: Is a directory"):
        _arguments(security_protocol="SSL", ssl_cafile=str(tmp_path))


def test_a_key_without_a_certificate_would_never_be_used(certificates: dict[str, str]) -> None:
    """Somebody who has set it believes that it is."""
    with pytest.raises(ConfigurationError, match="DOCSLUICE_KAFKA_SSL_KEYFILE: not used without DOCSLUICE_KAFKA_SSL_C"):
        _arguments(security_protocol="SSL", ssl_keyfile=certificates["ssl_keyfile"])


def test_a_key_with_a_passphrase_asks_nobody(tmp_path: Path, certificates: dict[str, str]) -> None:
    """OpenSSL would wait for it at the terminal, and a service has none."""
    locked = tmp_path / "locked.pem"
    subprocess.run(
        ["openssl", "rsa", "-aes128", "-passout", "pass:x", "-in", certificates["ssl_keyfile"], "-out", str(locked)],
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigurationError, match=r"KAFKA_SSL_KEYFILE: cannot use .*locked\.pem: .* has a passphrase"):
        _arguments(security_protocol="SSL", **{**certificates, "ssl_keyfile": str(locked)})


def test_the_password_is_not_shown() -> None:
    """Not in the broker's own text."""
    assert PASSWORD not in repr(Broker(bootstrap_servers="a:1", **SASL))


class Stuck:
    """An aiokafka consumer whose end waits for an answer of a broker that restarts."""

    def __init__(self, start: Exception | None = None) -> None:
        self._start = start
        self._client = self
        self.is_closed = False

    async def start(self) -> None:
        if self._start is not None:
            raise self._start

    async def stop(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.is_closed = True


async def test_a_consumer_that_cannot_leave_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stop closes them last, and never comes so far."""
    monkeypatch.setattr(clients, "_STOP_SECONDS", 0.01)
    consumer = Stuck()
    assert not await clients.left(consumer, seconds=0.01)
    assert consumer.is_closed


async def test_a_client_that_fails_to_start_keeps_no_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each try makes a new one, and the old one's end may wait for the very answer that its start has waited for."""
    monkeypatch.setattr(clients, "_STOP_SECONDS", 0.01)
    consumer = Stuck(TopicAuthorizationFailedError("no"))
    with pytest.raises(BrokerFault):
        await connection.started(lambda: consumer, broker=Broker(bootstrap_servers="a:1"), doing="try")
    assert consumer.is_closed


async def test_where_a_consumer_has_its_connections() -> None:
    """They are not a part of aiokafka's interface."""
    consumer = AIOKafkaConsumer(bootstrap_servers="a:1")
    assert callable(consumer._client.close)
    await consumer.stop()


async def test_a_producer_that_cannot_stop_leaves_no_task_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """In an outage there is one after the other, and each would ask for its broker for ever."""
    monkeypatch.setattr(clients, "_STOP_SECONDS", 0.01)
    producer = AIOKafkaProducer(bootstrap_servers="a:1", transactional_id="x")

    async def unanswered(*_: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(producer._sender, "_find_coordinator", unanswered)
    producer._txn_manager.set_pid_and_epoch(1, 1)
    producer._txn_manager.begin_transaction()
    producer._txn_manager.maybe_add_partition_to_txn(TopicPartition("results", 0))
    await producer._message_accumulator.add_message(TopicPartition("results", 0), None, b"value", 1.0)
    await producer._sender.start()
    await asyncio.sleep(0)
    await clients.stopped(producer)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_task_of_a_producer_that_is_cancelled_cancels_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stop then ends with that cancellation, as if it were ours: what commits would end without a word."""
    producer = AIOKafkaProducer(bootstrap_servers="a:1", transactional_id="x")

    async def cut_off(*_: object) -> None:
        await asyncio.sleep(0.01)
        raise asyncio.CancelledError

    monkeypatch.setattr(producer._sender, "_find_coordinator", cut_off)
    producer._txn_manager.set_pid_and_epoch(1, 1)
    producer._txn_manager.begin_transaction()
    producer._txn_manager.maybe_add_partition_to_txn(TopicPartition("results", 0))
    await producer._sender.start()
    await asyncio.sleep(0)
    await clients.stopped(producer)


class FakeAdmin:
    """As much of aiokafka's as the committed offsets take: each answer as the wire brings it."""

    def __init__(self, *answers: OffsetFetchResponse_v3) -> None:
        self._answers = list(answers)

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def find_coordinator(self, _group_id: str) -> int:
        return 1

    async def _send_request(self, _request: object, _node_id: int) -> OffsetFetchResponse_v3:
        return self._answers.pop(0)


_LOADING, _NO_TOPIC_RIGHT = 14, 29


async def _committed(monkeypatch: pytest.MonkeyPatch, *answers: OffsetFetchResponse_v3) -> Any:
    monkeypatch.setattr(connection, "AIOKafkaAdminClient", lambda **_: FakeAdmin(*answers))
    asked = [TopicPartition("documents", number) for number in range(2)]
    return await committed_points(Broker(bootstrap_servers="a:1"), "g", asked)


async def test_a_coordinator_that_is_still_loading_says_nothing_of_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names no partition then. Taken for a group without commits, all would be read once more."""
    told = OffsetFetchResponse_v3(0, [("documents", [(0, 7, "map", 0), (1, -1, "", 0)])], 0)
    points = await _committed(monkeypatch, OffsetFetchResponse_v3(0, [], _LOADING), told)
    assert points == {TopicPartition("documents", 0): CommitPoint(7, "map")}


async def test_a_right_that_is_missing_for_committed_offsets_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken away from a running service, this is where it is missed first."""
    refused = OffsetFetchResponse_v3(0, [("documents", [(0, -1, "", _NO_TOPIC_RIGHT)])], 0)
    with pytest.raises(BrokerFault, match=r"grant READ on the input.*DOCSLUICE_INPUT_TOPIC"):
        await _committed(monkeypatch, refused)

"""`docsluice-producer` against listeners that are not in the clear, or not where they say."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from docsluice_local.kafka import apache_kafka, why_not
from docsluice_local.process import free_port
from tests import required
from tests.integration.producer_process import run
from tests.integration.wire import Wire

pytestmark = pytest.mark.kafka

PASSWORD = "correct-horse"
DOCUMENT = b'{"document_id": "a", "text": "t"}\n'


@dataclass(frozen=True)
class Guarded:
    """One broker with three listeners: in the clear, TLS with SASL, and one that advertises an address of nobody."""

    clear: str
    secure: str
    elsewhere: str
    certificate: Path

    def settings(self, **changed: str) -> dict[str, str]:
        right = {
            "SECURITY_PROTOCOL": "SASL_SSL",
            "SASL_MECHANISM": "PLAIN",
            "SASL_USERNAME": "me",
            "SASL_PASSWORD": PASSWORD,
            "SSL_CAFILE": str(self.certificate),
        }
        return {"DOCSLUICE_KAFKA_" + name: value for name, value in (right | changed).items()}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    reason = why_not() or (None if shutil.which("openssl") else "no openssl to make a certificate with")
    if reason:
        (pytest.fail if required.KAFKA else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("guarded")
    certificate, store = self_signed(folder)
    clear, controller, secure, elsewhere = (free_port() for _ in range(4))
    listener = "listener.name.secure."
    login = "org.apache.kafka.common.security.plain.PlainLoginModule"
    properties = {
        "listeners": (
            f"PLAINTEXT://127.0.0.1:{clear},CONTROLLER://127.0.0.1:{controller},"
            f"SECURE://127.0.0.1:{secure},ELSEWHERE://127.0.0.1:{elsewhere}"
        ),
        "advertised.listeners": (
            f"PLAINTEXT://127.0.0.1:{clear},SECURE://localhost:{secure},ELSEWHERE://nobody.invalid:{elsewhere}"
        ),
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "listener.security.protocol.map": (
            "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL,ELSEWHERE:PLAINTEXT"
        ),
        listener + "ssl.keystore.type": "PEM",
        listener + "ssl.keystore.location": str(store),
        listener + "sasl.enabled.mechanisms": "PLAIN",
        listener + "plain.sasl.jaas.config": f'{login} required user_me="{PASSWORD}";',
    }
    with apache_kafka(data_dir=folder / "broker", port=clear, server_properties=properties):
        yield Guarded(
            clear=f"127.0.0.1:{clear}",
            secure=f"localhost:{secure}",
            elsewhere=f"127.0.0.1:{elsewhere}",
            certificate=certificate,
        )


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost, and the same with its key in one file."""
    key, certificate, store = (folder / name for name in ("key.pem", "certificate.pem", "store.pem"))
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    subprocess.run(
        [
            *request,
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-keyout",
            key,
            "-out",
            certificate,
        ],
        check=True,
        capture_output=True,
    )
    store.write_bytes(key.read_bytes() + certificate.read_bytes())
    return certificate, store


async def test_documents_go_through_tls_and_sasl(guarded: Guarded) -> None:
    """With the right certificate, user and password, making a topic, sending and following all work."""
    wire = Wire(bootstrap_servers=guarded.clear)
    topics = ["--bootstrap-servers", guarded.secure]
    arguments = ["send", "-", "--topic", wire.topics["input"], "--create-topic", *topics]
    code, _, err = await run(*arguments, stdin=DOCUMENT, environment=guarded.settings())
    assert (code, err) == (0, f"made the topic {wire.topics['input']} with 6 partitions\n")
    assert await wire.count("input") == 1
    follow = ["follow", "--result-topic", wire.topics["input"], "--from-beginning", "--timeout-seconds", "3", *topics]
    code, out, err = await run(*follow, environment=guarded.settings())
    assert code == 0
    assert "1 unreadable record" in out


UNNAMED = {"SASL_USERNAME": "", "SASL_PASSWORD": ""}


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"SASL_PASSWORD": "wrong"}, "refuses us: the broker does not accept the SASL user name or password"),
        ({"SASL_MECHANISM": "SCRAM-SHA-256"}, "refuses us: the broker does not know DOCSLUICE_KAFKA_SASL_MECHANISM"),
        ({"SSL_CAFILE": ""}, "refuses us: its certificate is not trusted"),
        ({"SECURITY_PROTOCOL": "PLAINTEXT"} | UNNAMED, "is DOCSLUICE_KAFKA_SECURITY_PROTOCOL="),
        ({"SECURITY_PROTOCOL": "SSL"} | UNNAMED, "is DOCSLUICE_KAFKA_SECURITY_PROTOCOL="),
    ],
)
async def test_what_keeps_us_out_is_named(guarded: Guarded, changed: dict[str, str], line: str) -> None:
    """Each wrong setting ends with exit code 1 and one line that tells it from the others, and no password."""
    arguments = ["send", "-", "--wait-seconds", "0", "--bootstrap-servers", guarded.secure]
    code, _, err = await run(*arguments, stdin=DOCUMENT, environment=guarded.settings(**changed))
    assert code == 1
    (said,) = err.splitlines()
    assert line in said
    assert PASSWORD not in said


async def test_an_advertised_address_that_leads_nowhere_is_named_as_such(guarded: Guarded) -> None:
    """A broker that answers and sends its clients to another name is not said to be away."""
    for command in (["send", "-"], ["follow"]):
        arguments = [*command, "--wait-seconds", "0", "--bootstrap-servers", guarded.elsewhere]
        code, _, err = await run(*arguments, stdin=DOCUMENT)
        assert code == 1
        assert f"{guarded.elsewhere} answers, but the address that it advertises" in err

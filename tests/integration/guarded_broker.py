"""Apache Kafka that wants TLS and a password, or sends its clients to an address of nobody."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docsluice_local.kafka import apache_kafka
from docsluice_local.process import free_port
from tests.integration.certificates import self_signed

PASSWORD = "correct-horse"


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


@contextlib.contextmanager
def guarded_broker(folder: Path) -> Iterator[Guarded]:
    """One for the length of the block, with its data in a folder."""
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

"""How a broker is reached, as far as it takes no broker to see."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import ConfigurationError
from consumer.kafka.connection import Broker

PASSWORD = "hunter2"
SASL: dict[str, Any] = {"sasl_username": "u", "sasl_password": PASSWORD}


def _arguments(**fields: Any) -> dict[str, Any]:
    arguments = Broker(bootstrap_servers="a:1,b:2", **fields).client_arguments()
    assert arguments.pop("bootstrap_servers") == "a:1,b:2"
    assert arguments.pop("request_timeout_ms") > 0
    return arguments


def test_plaintext_needs_nothing() -> None:
    """No credentials and no certificates are passed on."""
    assert _arguments(**SASL) == {"security_protocol": "PLAINTEXT"}


@pytest.mark.parametrize(("mechanism", "used"), [(None, "PLAIN"), ("SCRAM-SHA-512", "SCRAM-SHA-512")])
def test_sasl(mechanism: str | None, used: str) -> None:
    """User, password and mechanism; PLAIN where none is named."""
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


@pytest.mark.parametrize("field", ["ssl_cafile", "ssl_certfile"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_certificate_that_cannot_be_used(tmp_path: Path, field: str, content: str | None) -> None:
    """Missing or damaged, it is one line that names the settings."""
    path = tmp_path / "cert.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigurationError) as caught:
        _arguments(security_protocol="SSL", **{field: str(path)})
    (problem,) = caught.value.problems
    assert "DOCSLUICE_KAFKA_SSL_CAFILE" in problem
    assert "\n" not in problem


def test_the_password_is_not_shown() -> None:
    """Not in the broker's own text."""
    assert PASSWORD not in repr(Broker(bootstrap_servers="a:1", **SASL))

"""How to reach the broker: addresses, credentials and certificates, as a client takes them."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docsluice.errors import ConfigurationError
from docsluice.kafka.certificates import CERTIFICATE, PRIVATE_KEY, why_unusable
from docsluice.kafka.dead_connections import give_up_dead_connections
from docsluice.settings.paths import why_unreadable
from docsluice.settings.shared_settings import SharedSettings

_SSL = "DOCSLUICE_KAFKA_SSL_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Addresses and credentials. The password is no part of its repr."""

    bootstrap_servers: str
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    ssl_cafile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile: str | None = None
    request_timeout_seconds: float = 30.0
    """One request of a client."""

    def client_arguments(self) -> dict[str, Any]:
        """Return what every aiokafka client is made with. Certificates are read anew, since they may have changed.

        Raises:
            ConfigurationError: a certificate file cannot be used.
        """
        give_up_dead_connections()
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap_servers,
            "security_protocol": self.security_protocol,
            "request_timeout_ms": round(self.request_timeout_seconds * 1000),
        }
        if self.security_protocol.startswith("SASL"):
            arguments |= {
                "sasl_mechanism": self.sasl_mechanism or "PLAIN",
                "sasl_plain_username": self.sasl_username,
                "sasl_plain_password": self.sasl_password,
            }
        if self.security_protocol.endswith("SSL"):
            arguments["ssl_context"] = self._ssl_context()
        return arguments

    def _ssl_context(self) -> ssl.SSLContext:
        files = {"CAFILE": self.ssl_cafile, "CERTFILE": self.ssl_certfile, "KEYFILE": self.ssl_keyfile}
        for name, path in files.items():
            if path and (why := why_unreadable(Path(path))) is not None:
                raise ConfigurationError([f"{_SSL}{name}: cannot read {path}: {why}"])
        if self.ssl_keyfile and not self.ssl_certfile:
            raise ConfigurationError([f"{_SSL}KEYFILE: not used without {_SSL}CERTFILE; set that too"])
        name, parts = "CAFILE", [CERTIFICATE]
        try:
            context = ssl.create_default_context(cafile=self.ssl_cafile)
            if self.ssl_certfile:
                name = "CERTFILE"
                ssl.create_default_context(cafile=self.ssl_certfile)  # or nobody could tell which of the two it is
                name, parts = "KEYFILE" if self.ssl_keyfile else name, [PRIVATE_KEY]
                # Without a password of ours OpenSSL would ask for one at the terminal.
                context.load_cert_chain(self.ssl_certfile, self.ssl_keyfile, password=lambda: "")
        except (OSError, ValueError) as error:
            data = Path(files[name] or os.devnull).read_bytes()
            cause = why_unusable(data, *parts) or error
            raise ConfigurationError([f"{_SSL}{name}: cannot use {files[name]}: {cause}"]) from error
        return context


def broker_of(settings: SharedSettings, *, request_timeout_seconds: float = 30.0) -> Broker:
    """The broker that the settings describe."""
    password = settings.kafka_sasl_password
    return Broker(
        bootstrap_servers=settings.kafka_bootstrap_servers,
        security_protocol=settings.kafka_security_protocol,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_username=settings.kafka_sasl_username,
        sasl_password=password.get_secret_value() if password else None,
        ssl_cafile=settings.kafka_ssl_cafile,
        ssl_certfile=settings.kafka_ssl_certfile,
        ssl_keyfile=settings.kafka_ssl_keyfile,
        request_timeout_seconds=request_timeout_seconds,
    )

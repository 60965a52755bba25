"""Where the broker is: given as arguments, or by the same settings as the programs have."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, TypedDict

from docsluice.errors import ConfigurationError
from docsluice.kafka.broker import broker_of
from docsluice.kafka.passing import REQUEST_SECONDS
from docsluice.kafka.topic_access import KafkaTopics, Topics
from docsluice.settings.shared_settings import SharedSettings
from docsluice.settings.trusted_addresses import KAFKA

log = logging.getLogger("docsluice")

_WAIT_SECONDS = 30.0
_OWN = ("topics", "wait_seconds", "env_file")


class Connection(TypedDict, total=False):
    """How to reach the broker. All may be left out: see docs/reference/settings.md for the variables.

    `bootstrap_servers` are host:port, with commas between. `wait_seconds` is how long a broker may be away.
    `env_file` is read below the environment. With `topics`, those are used and no broker is needed.
    """

    bootstrap_servers: str
    security_protocol: str
    sasl_mechanism: str
    sasl_username: str
    sasl_password: str
    ssl_cafile: str
    ssl_certfile: str
    ssl_keyfile: str
    wait_seconds: float
    env_file: Path
    topics: Topics


def topics_of(connection: Connection, **named: str | None) -> tuple[Topics, SharedSettings]:
    """The topics that a connection leads to, and the settings. `named` are settings that were given, by field name.

    Raises:
        ConfigurationError: a sentence for each problem.
    """
    if unknown := connection.keys() - Connection.__annotations__.keys():
        known = ", ".join(Connection.__annotations__)
        raise ConfigurationError([f"{name}: no such argument; there are {known}" for name in sorted(unknown)])
    flags: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
    flags |= {f"kafka_{name}": value for name, value in connection.items() if name not in _OWN and value is not None}
    settings = SharedSettings.load(flags, env_file=connection.get("env_file"), ways=(KAFKA,))
    if "topics" in connection:
        return connection["topics"], settings
    broker = broker_of(settings, request_timeout_seconds=REQUEST_SECONDS)
    broker.client_arguments()  # a certificate that cannot be read is told here
    wait_seconds = connection.get("wait_seconds", _WAIT_SECONDS)
    return KafkaTopics(broker, wait_seconds=wait_seconds, say=log.warning), settings

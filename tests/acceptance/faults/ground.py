"""What all scenarios stand on: Apache Kafka with a second way in, which leads through the proxy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docsluice_local.broker import Broker
from docsluice_local.kafka import apache_kafka
from docsluice_local.process import free_port
from tests.acceptance.faults.proxy import Proxy, proxy

_HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A broker and the proxy before it."""

    broker: Broker
    proxy: Proxy

    @property
    def direct(self) -> str:
        """The address for observers, which no fault of the proxy reaches."""
        return self.broker.bootstrap_servers

    @property
    def proxied(self) -> str:
        """The address for the consumers under test. Everything the broker tells them leads through the proxy too."""
        return f"{_HOST}:{self.proxy.port}"


@contextlib.contextmanager
def ground(data_dir: Path) -> Iterator[Ground]:
    """Run both for the length of a `with` block."""
    direct, inner, controller, outer = (free_port() for _ in range(4))
    properties = {
        "listeners": f"PLAINTEXT://{_HOST}:{direct},PROXIED://{_HOST}:{inner},CONTROLLER://{_HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{_HOST}:{direct},PROXIED://{_HOST}:{outer}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "controller.quorum.voters": f"1@{_HOST}:{controller}",
        # A topic that is to have gaps is compacted while its scenario waits.
        "log.cleaner.backoff.ms": "250",
        "log.initial.task.delay.ms": "1000",
    }
    with (
        apache_kafka(data_dir=data_dir, port=direct, server_properties=properties) as broker,
        proxy(port=outer, upstream_port=inner) as before,
    ):
        yield Ground(broker=broker, proxy=before)

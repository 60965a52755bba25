"""The embedded broker: `noida-db`, one small binary that speaks the Kafka protocol and needs neither Docker nor Java.

It serves one consumer. It does not rebalance a group whose member was killed until another member joins, and it has
given two members the same partition. Use Apache Kafka (`docsluice_local.kafka`) for several members. It writes to disk
about a second after an acknowledgement, so `stop` keeps everything and `kill` loses the last second.

`docsluice broker --port 9092` runs it in the foreground.
"""

import contextlib
import socket
import struct
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from docsluice.cli.program import main
from docsluice_local.process import Child, free_port

_HOST = "127.0.0.1"
_METADATA_API_KEY = 3
_METADATA_VERSION = 1
_CORRELATION_ID = 1
_READY_CHECK_SECONDS = 2.0


class Broker(Protocol):
    """A broker under our control. Started again, it has the same address and the same data."""

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect: `host:port`."""
        ...

    @property
    def log_path(self) -> Path:
        """The file that the broker's own log goes to."""
        ...

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        ...

    def start(self) -> None:
        """Start it, and return when it serves requests."""
        ...

    def stop(self) -> None:
        """Shut it down in order."""
        ...

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        ...


class BrokerProcess:
    """A broker that runs as a child process of ours on a fixed port."""

    def __init__(self, *, child: Child, port: int, ready_seconds: float, grace_seconds: float) -> None:
        self.bootstrap_servers = f"{_HOST}:{port}"
        self.log_path = child.log_path
        self._child = child
        self._port = port
        self._ready_seconds = ready_seconds
        self._grace_seconds = grace_seconds

    @property
    def running(self) -> bool:
        """Whether it has not ended by itself."""
        return self._child.running

    def start(self) -> None:
        """Start it, and return when it serves requests.

        Raises:
            ChildFailedError: it ended or was not ready in time.
        """
        self._child.start(is_ready=lambda: serves_kafka(port=self._port), timeout_seconds=self._ready_seconds)

    def stop(self) -> None:
        """Shut it down in order."""
        self._child.stop(grace_seconds=self._grace_seconds)

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        self._child.kill()


@contextlib.contextmanager
def embedded_broker(*, data_dir: Path, port: int | None = None) -> Iterator[Broker]:
    """Run the embedded broker on `port` (default: a free one), with its data and its log in `data_dir`."""
    port = port or free_port()
    child = Child(name="noida-db", command=_command(data_dir=data_dir, port=port), log_path=data_dir / "broker.log")
    broker = BrokerProcess(child=child, port=port, ready_seconds=20, grace_seconds=10)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def serves_kafka(*, port: int, host: str = _HOST) -> bool:
    """Whether a broker there answers a Metadata request and lists itself.

    A listening port is not enough: Apache Kafka binds before it serves. It also serves before its controller has let it
    into the cluster, and every topic creation then fails for want of brokers.
    """
    header = struct.pack(">hhih", _METADATA_API_KEY, _METADATA_VERSION, _CORRELATION_ID, -1)
    no_topics = struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), timeout=_READY_CHECK_SECONDS) as connection:
            connection.sendall(struct.pack(">i", len(header) + len(no_topics)) + header + no_topics)
            start = connection.recv(12, socket.MSG_WAITALL)
    except OSError:
        return False
    if len(start) < struct.calcsize(">iii"):
        return False
    _size, correlation_id, broker_count = struct.unpack(">iii", start)
    return bool(correlation_id == _CORRELATION_ID and broker_count > 0)


def _command(*, data_dir: Path, port: int) -> list[str]:
    spec = find_spec("noida_db")
    if spec is None or spec.origin is None:
        raise RuntimeError("the embedded broker is not installed: pip install 'docsluice[broker]'")
    # The binary itself, not the package's Python wrapper, so that signals reach it.
    binary = Path(spec.origin).with_name("noida-db")
    data_dir.mkdir(parents=True, exist_ok=True)
    # fmt: off
    return [
        str(binary), "start", "--only", "kafka",
        "--host", _HOST, "--kafka-port", str(port), "--data-dir", str(data_dir),
    ]
    # fmt: on


if __name__ == "__main__":
    sys.exit(main(["broker", *sys.argv[1:]]))

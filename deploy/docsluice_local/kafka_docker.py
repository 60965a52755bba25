"""Apache Kafka from its own image, through testcontainers, whose reaper removes the container if we are killed."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from testcontainers.core.container import DockerContainer

from docsluice_local.broker import Broker, serves_kafka
from docsluice_local.process import ChildFailedError

_READY_SECONDS = 120
_GRACE_SECONDS = 20
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def docker_broker(*, version: str, data_dir: Path, port: int, server_properties: Mapping[str, str]) -> Iterator[Broker]:
    """Run the broker in a container. Its data stays in the container, which a stop does not remove."""
    listeners, ports = opened(server_properties)
    container = DockerContainer(f"apache/kafka:{version}")
    for each in ports:
        # The same port inside and outside: what the broker advertises is then right for its clients and for itself.
        container.with_bind_ports(each, each)
    container.with_envs(**environment({**server_properties, "listeners": listeners}), KAFKA_HEAP_OPTS="-Xmx512m")
    broker = _ContainerBroker(container=container, port=port, log_path=data_dir / "broker.log")
    try:
        container.start()
        broker.wait_ready()
        yield broker
    finally:
        broker.write_log()
        container.stop()


def opened(server_properties: Mapping[str, str]) -> tuple[str, list[int]]:
    """The listeners for clients outside the container, and their ports: all but the controller's."""
    controllers = set(server_properties["controller.listener.names"].split(","))
    listeners, ports = [], []
    for listener in server_properties["listeners"].split(","):
        found = re.fullmatch(r"(\w+)://127\.0\.0\.1:(\d+)", listener)
        if found is None or found[1] in controllers:
            listeners.append(listener)
        else:
            listeners.append(f"{found[1]}://0.0.0.0:{found[2]}")
            ports.append(int(found[2]))
    return ",".join(listeners), ports


def environment(server_properties: Mapping[str, str]) -> dict[str, str]:
    """Server properties as the environment variables from which the image writes its server.properties."""
    return {
        "KAFKA_" + name.replace("_", "__").replace("-", "___").replace(".", "_").upper(): value
        for name, value in server_properties.items()
    }


class _ContainerBroker:
    def __init__(self, *, container: DockerContainer, port: int, log_path: Path) -> None:
        self.bootstrap_servers = f"127.0.0.1:{port}"
        self.log_path = log_path
        self._container = container
        self._port = port

    @property
    def running(self) -> bool:
        container = self._container.get_wrapped_container()
        container.reload()
        return bool(container.status == "running")

    def start(self) -> None:
        self._container.get_wrapped_container().start()
        self.wait_ready()

    def stop(self) -> None:
        self._container.get_wrapped_container().stop(timeout=_GRACE_SECONDS)
        self.write_log()

    def kill(self) -> None:
        container = self._container.get_wrapped_container()
        container.kill()
        container.wait()
        self.write_log()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not serves_kafka(port=self._port):
            if time.monotonic() > deadline:
                self.write_log()
                raise ChildFailedError(f"Apache Kafka was not ready in {_READY_SECONDS} s; see {self.log_path}")
            time.sleep(_POLL_SECONDS)

    def write_log(self) -> None:
        with contextlib.suppress(Exception):  # there may be no container yet, and then there is no log either
            self.log_path.parent.mkdir(parents=True, exist_ok=True)
            self.log_path.write_bytes(b"".join(self._container.get_logs()))

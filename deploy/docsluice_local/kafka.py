"""Apache Kafka on this machine, one node: from Docker, or else from Maven's artifacts on Java.

Docker is used if an engine answers and has the image, or can pull it.
"""

import contextlib
import functools
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from docsluice_local import kafka_java
from docsluice_local.broker import Broker
from docsluice_local.process import free_port

KAFKA_VERSION = "4.3.1"

_DOCKER_ANSWER_SECONDS = 30
_PULL_SECONDS = 900
_ENGINE = "from testcontainers.core.docker_client import DockerClient; client = DockerClient().client; client.ping()"
_IMAGES = f"""\
import sys
{_ENGINE}
from docker.errors import ImageNotFound
from testcontainers.core.config import testcontainers_config
for image in sys.argv[1:] + ([] if testcontainers_config.ryuk_disabled else [testcontainers_config.ryuk_image]):
    try:
        client.images.get(image)
    except ImageNotFound:
        client.images.pull(image)
"""


def why_not() -> str | None:
    """Why Apache Kafka cannot run here, in a sentence. None if it can."""
    if _docker_answers():
        return None
    lacking = kafka_java.why_not()
    return lacking and f"Apache Kafka needs Docker, or Java 17+ with Maven: no Docker engine answers and {lacking}"


def prepare() -> None:
    """Get what the first broker on this machine would wait for. Later ones start at once. Nothing, if none can run.

    Raises:
        RuntimeError: neither Docker has the image nor Java the jars, and they cannot be got.
    """
    if why_not() is None and not _docker_serves():
        port = free_port()
        properties = _properties(port=port, controller_port=free_port())
        kafka_java.prepared(version=KAFKA_VERSION, port=port, server_properties=properties)


@contextlib.contextmanager
def apache_kafka(
    *,
    data_dir: Path,
    port: int | None = None,
    auto_create_topics: bool = False,
    server_properties: Mapping[str, str] | None = None,
) -> Iterator[Broker]:
    """Run Apache Kafka on `port` (default: a free one), with its data and its log in `data_dir`.

    `server_properties` go into server.properties, over the defaults: `{"message.max.bytes": "5000000"}`.

    Raises:
        RuntimeError: neither Docker with its image nor Java with Maven is here. See `why_not`.
        ChildFailedError: it did not become ready. The message holds the end of its log.
    """
    if reason := why_not():
        raise RuntimeError(reason)
    port = port or free_port()
    properties = {
        **_properties(port=port, controller_port=free_port()),
        "auto.create.topics.enable": str(auto_create_topics).lower(),
        **(server_properties or {}),
    }
    if _docker_serves():
        from docsluice_local import kafka_docker  # noqa: PLC0415 - testcontainers is there for developers only

        broker = kafka_docker.docker_broker(
            version=KAFKA_VERSION, data_dir=data_dir, port=port, server_properties=properties
        )
    else:
        broker = kafka_java.java_broker(
            version=KAFKA_VERSION, data_dir=data_dir, port=port, server_properties=properties
        )
    with broker as running:
        yield running


@functools.cache
def _docker_answers() -> bool:
    """Whether testcontainers finds a Docker engine."""
    return find_spec("testcontainers") is not None and _why_refused(_ENGINE, seconds=_DOCKER_ANSWER_SECONDS) is None


@functools.cache
def _docker_serves() -> bool:
    """Whether Docker runs the broker. Without the image, Java runs it, and a line says so.

    Raises:
        RuntimeError: neither can.
    """
    if not _docker_answers():
        return False
    image = f"apache/kafka:{KAFKA_VERSION}"
    refusal = _why_refused(_IMAGES, image, seconds=_PULL_SECONDS)
    if refusal is None:
        return True
    no_image = f"Docker cannot get the image {image} ({refusal})"
    if lacking := kafka_java.why_not():
        raise RuntimeError(f"Apache Kafka needs its image, or Java 17+ with Maven: {no_image}, and {lacking}")
    print(f"{no_image}: Apache Kafka runs on Java instead", file=sys.stderr)
    return False


def _why_refused(program: str, *arguments: str, seconds: float) -> str | None:
    """The last line of a Docker client's complaint. None if all went well.

    It runs in a process of its own: the client leaves a socket open if nobody answers.
    """
    try:
        asked = subprocess.run(
            [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {seconds:.0f} s"
    return (asked.stderr.strip().splitlines() or ["it ended without a word"])[-1] if asked.returncode else None


def _properties(*, port: int, controller_port: int) -> dict[str, str]:
    """One node that is broker and controller, keeps one copy of everything, and lets groups form at once."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "1",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "1",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A broker that was killed may come back when its old session has expired: after three seconds instead of nine.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # So that a test can have a killed member missed after a second instead of six.
        "group.min.session.timeout.ms": "1000",
        # A quarter of the heap would go to a cleaner that has next to nothing to clean.
        "log.cleaner.dedupe.buffer.size": str(4 * 2**20),
    }

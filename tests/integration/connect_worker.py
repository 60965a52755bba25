"""A worker of Kafka Connect as our own process: connect-standalone, from Maven's artifacts on Java."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from docsluice_local.kafka import KAFKA_VERSION
from docsluice_local.kafka_java import fetched_jars, java_command, write_properties
from docsluice_local.process import accepts_connections, child_process, free_port

_NAMES = ("connect-runtime", "connect-file", "connect-json")
_ARTIFACTS = [f"org.apache.kafka:{name}:{KAFKA_VERSION}" for name in _NAMES]
_READY_SECONDS = 120


@contextlib.contextmanager
def connect_worker(*connectors: Mapping[str, str], bootstrap_servers: str, folder: Path) -> Iterator[None]:
    """Run these connectors for the length of the block, one task each. Files and the log are in `folder`.

    Raises:
        RuntimeError: Maven could not fetch it.
        ChildFailedError: it did not become ready. The message holds the end of its log.
    """
    port = free_port()
    worker = {
        "bootstrap.servers": bootstrap_servers,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "offset.storage.file.filename": str(folder / "offsets"),
        "offset.flush.interval.ms": "200",  # a sink of files writes when it flushes
        "consumer.isolation.level": "read_committed",
        "listeners": f"http://127.0.0.1:{port}",
        "plugin.discovery": "service_load",  # a scan of all classes takes seconds
    }
    paths = [folder / f"connect-{number}.properties" for number in range(len(connectors) + 1)]
    for path, properties in zip(paths, [worker, *connectors], strict=True):
        write_properties(path, properties)
    java = java_command(fetched_jars(f"kafka-connect-{KAFKA_VERSION}", *_ARTIFACTS))
    with child_process(
        name="Kafka Connect",
        command=[*java, "org.apache.kafka.connect.cli.ConnectStandalone", *map(str, paths)],
        log_path=folder / "connect.log",
        is_ready=lambda: accepts_connections(port=port),
        timeout_seconds=_READY_SECONDS,
    ):
        yield

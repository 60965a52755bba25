"""What the benchmarks share: the consumer as its own process, documents in, outcomes out."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import broker_session
from docsluice.kafka.reader import Reader, Start
from docsluice_local.process import Child, child_process, free_port

TOPICS = ("documents", "documents.results", "documents.dlq")


async def send(
    bootstrap_servers: str,
    documents: Mapping[str, str],
    *,
    partitions: int = 4,
    place: Callable[[int], int | None] = lambda _number: None,
) -> None:
    """Create the topics and put the documents (id to text) on the input topic.

    `place` names the partition of the document with that number. Without one it is found by the document's id.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name=t, num_partitions=partitions, replication_factor=1) for t in TOPICS])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    events = [(key, json.dumps({"document_id": key, "text": text}).encode()) for key, text in documents.items()]
    await asyncio.gather(
        *[
            await producer.send(TOPICS[0], value=value, key=key.encode(), partition=place(number))
            for number, (key, value) in enumerate(events)
        ]
    )
    await producer.stop()


async def outcomes(bootstrap_servers: str, count: int, consumer: Child) -> Sequence[tuple[str, bytes]]:
    """Wait for `count` outcomes and return (topic, value) of each."""
    found: list[tuple[str, bytes]] = []
    address = Broker(bootstrap_servers=bootstrap_servers)
    with broker_session(address, wait_seconds=30, say=print) as session:
        # Not a plain aiokafka consumer: on the embedded broker it would spin, and take a core from what is measured.
        reader = Reader(session=session, topics=TOPICS[1:], start=Start(from_beginning=True))
        await reader.open()
        try:
            while len(found) < count:
                if not consumer.running:
                    raise RuntimeError(f"the consumer has ended:\n{consumer.log_tail()}")
                found += [(record.topic, record.value) for record in await reader.fetch(timeout_ms=20)]
        finally:
            await reader.close()
    return found


@contextmanager
def consumer_process(bootstrap_servers: str, settings: Mapping[str, str], *, log_path: Path) -> Iterator[Child]:
    """`docsluice-consumer run`, ready. On the HTTP port of the settings, or one that is free."""
    port = int(settings.get("DOCSLUICE_HTTP_PORT", free_port()))
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "DOCSLUICE_HTTP_HOST": "127.0.0.1",
        "DOCSLUICE_HTTP_PORT": str(port),
        "DOCSLUICE_STATE_DIR": str(log_path.parent / "state"),
        **settings,
    }
    with child_process(
        name="consumer",
        command=[sys.executable, "-m", "docsluice_consumer", "run"],
        log_path=log_path,
        environment=environment,
        is_ready=lambda: _is_ready(port),
        timeout_seconds=60,
    ) as child:
        yield child


def _is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False

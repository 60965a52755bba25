"""What the consumer holds in memory with a million records of lag before it: at first, in the middle, at the end."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from rich.progress import track

from docsluice_local.kafka import apache_kafka
from docsluice_local.process import Child
from docsluice_local.rehearsal.provider import rehearsal_process
from tests.bench.parts import TOPICS, consumer_process

_PARTITIONS = 12
_AT_ONCE = 2_000


def measure(*, records: int = 1_000_000, seconds: float = 90.0) -> Sequence[float]:
    """Resident megabytes, ten times over `seconds` of work on a backlog that is far from done by then."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with (
            apache_kafka(data_dir=place / "broker") as broker,
            rehearsal_process(log_path=place / "rehearsal.log", arguments=["--median-seconds", "0.2"]) as base_url,
        ):
            asyncio.run(_fill(broker.bootstrap_servers, records))
            settings = {
                "OPENAI_BASE_URL": base_url,
                "OPENAI_API_KEY": "",
                "DOCSLUICE_MODE": "fused",
                "DOCSLUICE_MAX_CONCURRENCY": "32",
            }
            with consumer_process(broker.bootstrap_servers, settings, log_path=place / "consumer.log") as consumer:
                return [_after(consumer, seconds / 10) for _ in track(range(10), description="watching memory")]


def _after(consumer: Child, seconds: float) -> float:
    time.sleep(seconds)
    if not consumer.running:
        raise RuntimeError(f"the consumer has ended:\n{consumer.log_tail()}")
    return _resident_megabytes(consumer.pid or 0)


def _resident_megabytes(pid: int) -> float:
    """Linux's own figure. The process that was started is the consumer itself."""
    for line in Path(f"/proc/{pid}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory")


async def _fill(bootstrap_servers: str, records: int) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(name=t, num_partitions=_PARTITIONS, replication_factor=1) for t in TOPICS])
    await admin.close()
    text = "A sentence of some words. " * 20
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, linger_ms=20, max_batch_size=2**18, compression_type="gzip"
    ) as producer:
        for first in track(range(0, records, _AT_ONCE), description="filling the topic"):
            sent = [
                await producer.send(
                    TOPICS[0],
                    value=json.dumps({"document_id": f"doc-{number}", "text": f"{number}. {text}"}).encode(),
                    key=b"%d" % number,
                )
                for number in range(first, min(records, first + _AT_ONCE))
            ]
            await asyncio.gather(*sent)

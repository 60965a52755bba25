"""Whether a long backlog costs more than a short one: CPU time a document, and memory.

Each backlog is measured over its first documents, so a million of them takes hardly longer than a thousand.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import partial

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from docsluice_local.kafka import apache_kafka
from tests.bench.contenders import DEFAULT
from tests.bench.part import Case, Column, Options, Part, Played
from tests.bench.parts import TOPICS
from tests.bench.process_cost import cpu_seconds, resident_mib
from tests.bench.stage import Stage
from tests.bench.utilisation import wait_for_calls

_PARTITIONS = 12
_IN_FLIGHT = 64
_BACKLOGS, _QUICK_BACKLOGS, _MILLION = (1_000, 10_000, 100_000), (1_000, 10_000), 1_000_000
_MOST_DONE = 10_000
_AT_ONCE = 2_000
_TEXT = "A sentence of some words. " * 20


def _cases(stage: Stage, options: Options) -> Iterator[Case]:
    backlogs = _QUICK_BACKLOGS if options.quick else _BACKLOGS
    for records in (*backlogs, _MILLION) if options.million else backlogs:
        yield Case(setup=f"{records:,} records", contender=DEFAULT, play=partial(_play, stage, records=records))


def _play(stage: Stage, *, records: int) -> Played:
    place = stage.place()
    with apache_kafka(data_dir=place / "kafka") as broker, stage.provider(place) as provider:
        asyncio.run(fill(broker.bootstrap_servers, records))
        with stage.contender(
            DEFAULT, servers=broker.bootstrap_servers, provider=provider, place=place, in_flight=_IN_FLIGHT
        ) as child:
            done, ready_cpu = min(records, _MOST_DONE), cpu_seconds(child)
            wait_for_calls(provider, child, least=done)
            cpu, called = cpu_seconds(child) - ready_cpu, provider.count()
            return Played(figures={"cpu_ms_per_document": 1000 * cpu / called, "resident_mib": resident_mib(child)})


async def fill(servers: str, records: int) -> None:
    """Create the topics, and put so many documents on the input topic."""
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(name=t, num_partitions=_PARTITIONS, replication_factor=1) for t in TOPICS])
    await admin.close()
    async with AIOKafkaProducer(
        bootstrap_servers=servers, linger_ms=20, max_batch_size=2**18, compression_type="gzip"
    ) as producer:
        for first in range(0, records, _AT_ONCE):
            sent = [
                await producer.send(
                    TOPICS[0],
                    value=json.dumps({"document_id": f"doc-{number}", "text": f"{number}. {_TEXT}"}).encode(),
                    key=b"%d" % number,
                )
                for number in range(first, min(records, first + _AT_ONCE))
            ]
            await asyncio.gather(*sent)


PART = Part(
    name="scale",
    caption="A provider that answers at once. From readiness to the last document, or to the ten thousandth.",
    columns=(
        Column(figure="cpu_ms_per_document", title="CPU ms a document", digits=2),
        Column(figure="resident_mib", title="MiB"),
    ),
    cases=_cases,
)

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
from docsluice_local.process import Child
from tests.bench.contenders import DEFAULT
from tests.bench.part import Case, Column, Options, Part, Played
from tests.bench.parts import TOPICS
from tests.bench.process_cost import cpu_seconds, resident_mib
from tests.bench.stage import Provider, Stage
from tests.bench.utilisation import wait_for_calls

_PARTITIONS = 12
_IN_FLIGHT = 64
_BACKLOGS, _QUICK_BACKLOGS, _MILLION = (1_000, 10_000, 100_000), (1_000, 10_000), 1_000_000
_FIRST, _EARLY, _LATE = 100, 1_000, 10_000
"""Documents that are not counted, those of the first figure, and those of the second."""
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
            return Played(figures=_figures(provider, child, records))


def _figures(provider: Provider, child: Child, records: int) -> dict[str, float]:
    figures: dict[str, float] = {}
    called = _called(provider, child, _FIRST)
    for name, until in (("early", _EARLY), ("late", _LATE)):
        if until <= records:
            cpu, before = cpu_seconds(child), called
            called = _called(provider, child, until)
            figures[f"{name}_cpu_ms_per_document"] = 1000 * (cpu_seconds(child) - cpu) / (called - before)
            figures[f"{name}_resident_mib"] = resident_mib(child)
    return figures


def _called(provider: Provider, child: Child, least: int) -> int:
    """Wait for so many calls, one a document, and return how many there were."""
    wait_for_calls(provider, child, least=least)
    return provider.count()


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
    caption="A provider that answers at once. Early: to the thousandth document. Late: from there to the ten thousandth.",
    columns=(
        Column(figure="early_cpu_ms_per_document", title="CPU ms a document, early", digits=2),
        Column(figure="early_resident_mib", title="MiB, early"),
        Column(figure="late_cpu_ms_per_document", title="CPU ms a document, late", digits=2),
        Column(figure="late_resident_mib", title="MiB, late"),
    ),
    cases=_cases,
)

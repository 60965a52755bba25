"""What the engine itself costs, beside others that do the same work. The provider answers at once.

Each contender works on an Apache Kafka of its own. Speed and CPU time are taken to the last result, from the time when
there were as many calls as a tenth of the documents. So the start does not count.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial

from docsluice_local.kafka import apache_kafka
from docsluice_local.process import Child
from tests.bench.contenders import ALONE, BASELINE, OURS, PEERS
from tests.bench.part import Case, Column, Options, Part, Played
from tests.bench.parts import send
from tests.bench.process_cost import cpu_seconds, resident_mib
from tests.bench.results import results
from tests.bench.stage import Provider, Stage
from tests.bench.texts import texts
from tests.bench.utilisation import wait_for_calls

PARTITIONS = 6
IN_FLIGHT = 64
_FIRST = 0.1
_KB = 1000
_SETUPS = (("fused", 1, 6000), ("fused", 10, 4000), ("fused", 100, 800), ("fanout", 1, 2000))
"""Mode, kilobytes of each document, and how many there are."""
_QUICK_SETUPS = (("fused", 1, 1500), ("fanout", 1, 500))


def _cases(stage: Stage, options: Options) -> Iterator[Case]:
    for mode, kilobytes, documents in _QUICK_SETUPS if options.quick else _SETUPS:
        sent = texts(options.documents or documents, characters=kilobytes * _KB)
        for name in stage.present(*OURS, *PEERS, ALONE):
            played = _alone if name == ALONE else partial(_through_kafka, name)
            yield Case(
                setup=f"{mode}, {kilobytes} kB",
                contender=name,
                play=partial(played, stage=stage, mode=mode, documents=sent),
            )


def _through_kafka(name: str, *, stage: Stage, mode: str, documents: Mapping[str, str]) -> Played:
    place = stage.place()
    with apache_kafka(data_dir=place / "kafka") as broker, stage.provider(place) as provider:
        asyncio.run(send(broker.bootstrap_servers, documents, partitions=PARTITIONS))
        starting = stage.contender(
            name,
            servers=broker.bootstrap_servers,
            provider=provider,
            place=place,
            in_flight=IN_FLIGHT,
            mode=mode,
            partitions=PARTITIONS,
        )
        return asyncio.run(_watched(broker.bootstrap_servers, provider, len(documents), starting))


async def _watched(servers: str, provider: Provider, count: int, starting: AbstractContextManager[Child]) -> Played:
    """Watch a contender from its first calls to its last result.

    The first figure is not of results: a subscriber sees them some time after the work on them.
    """
    async with results(servers) as seen:
        with starting as child:
            await asyncio.to_thread(wait_for_calls, provider, child, least=int(_FIRST * count))
            began, began_cpu, called = time.monotonic(), cpu_seconds(child), provider.count()
            await seen.wait_for(count, child)
            seconds, cpu = time.monotonic() - began, cpu_seconds(child) - began_cpu
            rest = count * (1 - called / provider.count())
            return _played(rest, seconds=seconds, cpu=cpu, resident_mib=resident_mib(child))


def _alone(*, stage: Stage, mode: str, documents: Mapping[str, str]) -> Played:
    place = stage.place()
    listed = place / "texts.json"
    listed.write_text(json.dumps([*documents.values()]), encoding="utf-8")
    with stage.provider(place) as provider:
        told = stage.alone(listed, provider=provider, place=place, in_flight=IN_FLIGHT, mode=mode)
    return _played(len(documents), seconds=told["seconds"], cpu=told["cpu"])


def _played(documents: float, *, seconds: float, cpu: float, **more: float) -> Played:
    pace = {"documents_per_second": documents / seconds, "cpu_ms_per_document": 1000 * cpu / documents}
    return Played(figures={**pace, **more})


PART = Part(
    name="engine",
    caption="A provider that answers at once, 64 calls in flight. Times: of what the plain loop reaches, or takes.",
    columns=(
        Column(figure="documents_per_second", title="documents a second", times=True),
        Column(figure="cpu_ms_per_document", title="CPU ms a document", digits=2, times=True),
        Column(figure="resident_mib", title="MiB"),
    ),
    cases=_cases,
    baseline=BASELINE,
)

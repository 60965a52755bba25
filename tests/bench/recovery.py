"""How long a replica is missed: `kill -9`, started again at once, and the seconds to the first new result."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from functools import partial
from statistics import median

from docsluice_local.kafka import apache_kafka
from docsluice_local.process import Child
from tests.bench.contenders import BASELINE, DEFAULT, OURS
from tests.bench.latency import Latency
from tests.bench.part import Case, Column, Options, Part, Played, Target
from tests.bench.parts import send
from tests.bench.results import Results, results
from tests.bench.stage import Stage
from tests.bench.texts import texts

_LATENCY = Latency(median_seconds=0.3, sigma=0.3)
_SLOTS = 16
_PARTITIONS = 6
_KILLS, _QUICK_KILLS = 3, 1
_WORK_SECONDS = 4.0
_CONTENDERS = (DEFAULT, "docsluice-at-least-once", BASELINE)
_TIMEOUT_SECONDS = 120.0


def _cases(stage: Stage, options: Options) -> Iterator[Case]:
    kills = _QUICK_KILLS if options.quick else _KILLS
    for name in stage.present(*_CONTENDERS):
        membership = "static membership" if name in OURS else "dynamic membership"
        yield Case(setup=membership, contender=name, play=partial(_play, name, stage=stage, kills=kills))


def _play(name: str, *, stage: Stage, kills: int) -> Played:
    place = stage.place()
    count = math.ceil(_SLOTS / _LATENCY.mean_seconds * (1 + kills) * (_WORK_SECONDS + 3))
    with apache_kafka(data_dir=place / "kafka") as broker, stage.provider(place, _LATENCY) as provider:
        documents = texts(count, characters=1000)
        asyncio.run(send(broker.bootstrap_servers, documents, partitions=_PARTITIONS))
        starting = stage.contender(
            name,
            servers=broker.bootstrap_servers,
            provider=provider,
            place=place,
            in_flight=_SLOTS,
            partitions=_PARTITIONS,
            settings={"DOCSLUICE_GROUP_INSTANCE_ID": "replica-0"},
        )
        return asyncio.run(_killed(broker.bootstrap_servers, starting, kills=kills))


async def _killed(servers: str, starting: AbstractContextManager[Child], *, kills: int) -> Played:
    async with results(servers) as seen:
        with starting as child:
            taken = []
            for _ in range(kills):
                await seen.wait_for(1, child)
                await _let_work(seen, child)
                child.kill()
                began = time.time()
                child.start()
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    await _first_since(began, seen, child)
                taken.append(time.time() - began)
    return Played(figures={"seconds": median(taken), "longest_seconds": max(taken)})


async def _let_work(seen: Results, child: Child) -> None:
    end = time.monotonic() + _WORK_SECONDS
    while time.monotonic() < end:
        await seen.fetch(child)


async def _first_since(began: float, seen: Results, child: Child) -> None:
    """Wait for a result that was sent after that Unix time: what was on its way before the kill does not count."""
    while not any(record.timestamp >= 1000 * began for record in await seen.fetch(child)):
        pass


PART = Part(
    name="recovery",
    caption="From the kill, which is followed by the start at once, to the first new result that a subscriber sees.",
    columns=(
        Column(figure="seconds", title="seconds", digits=2),
        Column(figure="longest_seconds", title="longest", digits=2),
    ),
    cases=_cases,
    targets=tuple(Target(figure="seconds", contender=name, at_most=3.0) for name in _CONTENDERS if name in OURS),
)

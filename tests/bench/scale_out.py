"""What more replicas bring while the provider is what limits: each has a fixed number of calls in flight."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from docsluice_local.kafka import apache_kafka
from tests.bench.latency import Latency
from tests.bench.limits.consumers import Consumer
from tests.bench.part import Case, Column, Options, Part, Played, Target, folder_of
from tests.bench.parts import send
from tests.bench.process_cost import cpu_seconds
from tests.bench.stage import Stage, settings_of
from tests.bench.texts import texts

_REPLICAS = (1, 2, 4)
_SLOTS = 16
_PARTITIONS = 12
_LATENCY = Latency(median_seconds=0.5, sigma=0.2)
_RAMP_SECONDS = 5.0
_SECONDS, _QUICK_SECONDS = 30.0, 10.0
_LONGEST_START_SECONDS = 25.0
_CHARACTERS = 1000


def _cases(stage: Stage, options: Options) -> Iterator[Case]:
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    for replicas in _REPLICAS:
        yield Case(
            setup=f"{_SLOTS} calls in flight each",
            contender=_name(replicas),
            play=partial(_play, stage, replicas=replicas, seconds=seconds),
        )


def _play(stage: Stage, *, replicas: int, seconds: float) -> Played:
    place = stage.place()
    needed_seconds = _LONGEST_START_SECONDS + _RAMP_SECONDS + seconds
    count = math.ceil(replicas * _SLOTS * needed_seconds / _LATENCY.mean_seconds)
    with (
        apache_kafka(data_dir=place / "kafka") as broker,
        stage.provider(place, _LATENCY) as provider,
        ExitStack() as stack,
    ):
        documents = texts(count, characters=_CHARACTERS)
        spread = lambda number: number % _PARTITIONS  # noqa: E731 - so that no replica runs dry before the others
        asyncio.run(send(broker.bootstrap_servers, documents, partitions=_PARTITIONS, place=spread))
        consumers = [
            Consumer(
                name=f"replica {number}",
                settings={
                    **settings_of(provider, mode="fused", in_flight=replicas * _SLOTS),
                    "KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
                    "DOCSLUICE_GROUP_INSTANCE_ID": f"replica-{number}",
                    "DOCSLUICE_STATE_DIR": str(folder_of(place, f"state-{number}")),
                },
                log_path=place / f"replica-{number}.log",
            )
            for number in range(replicas)
        ]
        for consumer in consumers:
            stack.callback(consumer.child.kill)
        asyncio.run(_start(consumers))
        time.sleep(_RAMP_SECONDS)
        begin, cpu = time.time(), _cpu(consumers)
        time.sleep(seconds)
        end, cpu = time.time(), _cpu(consumers) - cpu
        calls = provider.calls()
    return Played(
        figures={
            "documents_per_second": sum(begin <= call.end < end for call in calls) / (end - begin),
            "cpu_cores": cpu / (end - begin),
        }
    )


async def _start(consumers: list[Consumer]) -> None:
    await asyncio.gather(*(consumer.start() for consumer in consumers))


def _cpu(consumers: list[Consumer]) -> float:
    return sum(cpu_seconds(consumer.child) for consumer in consumers)


def _name(replicas: int) -> str:
    return f"{replicas} replica{'s' if replicas > 1 else ''}"


PART = Part(
    name="scale-out",
    caption="A provider that answers in half a second. Times: of what one replica reaches.",
    columns=(
        Column(figure="documents_per_second", title="documents a second", digits=1, times=True),
        Column(figure="cpu_cores", title="cores of all", digits=2),
    ),
    cases=_cases,
    baseline=_name(1),
    targets=(Target(figure="documents_per_second", contender=_name(4), times=True, at_least=3.8),),
)

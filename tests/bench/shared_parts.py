"""What a fleet shares: transactions of a broker, writes of the store, calls of Redis. Each is asked without a pause.

The clients run on the same machine as what they ask, so the figures are lower bounds.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from aiokafka import TopicPartition

from docsluice.kafka.broker import Broker
from docsluice.kafka.transactions import ProducerRecord, transact, transactional_producer
from docsluice.messages import Usage
from docsluice_consumer.admission.leased_bucket import BURST_SECONDS
from docsluice_consumer.store.redis_quota import Asked, RedisQuota
from docsluice_consumer.store.redis_store import RedisStore
from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_consumer.store.step_store import PaidStep, StepStore
from docsluice_local.kafka import apache_kafka
from tests.bench.part import Case, Column, Options, Part, Played
from tests.bench.parts import TOPICS, send
from tests.bench.stage import Stage
from tests.integration.redis_server import redis_server, why_no_redis

_SECONDS, _QUICK_SECONDS = 10.0, 3.0
_PRODUCERS = (6, 24, 96)
_RECORDS, _VALUE = 5, b"x" * 1000
_CLIENTS = 64
_DAY_SECONDS = 86_400.0
_STEP = PaidStep(
    outputs={"summary": "A sentence of some words. " * 8, "keywords": ["reef", "tide", "coral"]},
    models={"summary": "gpt-4o-mini", "keywords": "gpt-4o-mini"},
    usage=Usage(input_tokens=400, output_tokens=60, cached_tokens=0),
)


def _cases(stage: Stage, options: Options) -> Iterator[Case]:
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    for producers in _PRODUCERS:
        yield Case(
            setup="transactions of one broker",
            contender=f"{producers} partitions",
            play=partial(_transactions, stage, producers=producers, seconds=seconds),
        )
    yield Case(setup="store, writes", contender="SQLite", play=partial(_sqlite, stage, seconds=seconds))
    if why_no_redis() is None:
        yield Case(setup="store, writes", contender="Redis", play=partial(_redis, stage, seconds=seconds))
        yield Case(setup="shared limits, claims", contender="Redis", play=partial(_claims, stage, seconds=seconds))


def _transactions(stage: Stage, *, producers: int, seconds: float) -> Played:
    place = stage.place()
    with apache_kafka(data_dir=place / "kafka") as broker:
        asyncio.run(send(broker.bootstrap_servers, {}, partitions=producers))
        return asyncio.run(_transacted(Broker(bootstrap_servers=broker.bootstrap_servers), producers, seconds))


async def _transacted(broker: Broker, count: int, seconds: float) -> Played:
    producers = [
        transactional_producer(broker, transactional_id=f"bench/{number}", timeout_seconds=60.0, codec="gzip")
        for number in range(count)
    ]
    await asyncio.gather(*(producer.start() for producer in producers))

    async def once(number: int, turn: int) -> None:
        records = [
            ProducerRecord(topic=TOPICS[1], key=None, value=_VALUE, headers=(), partition=number)
            for _ in range(_RECORDS)
        ]
        offsets = {TopicPartition(TOPICS[0], number): (turn, "")}
        await transact(producers[number], records, offsets=offsets, group_id="bench")

    try:
        return await _pace(once, clients=count, seconds=seconds)
    finally:
        await asyncio.gather(*(producer.stop() for producer in producers))


def _sqlite(stage: Stage, *, seconds: float) -> Played:
    store = SqliteStore(path=stage.place() / "steps.sqlite3", max_bytes=2**30, max_age_seconds=_DAY_SECONDS)
    return asyncio.run(_written(store, seconds))


def _redis(stage: Stage, *, seconds: float) -> Played:
    with redis_server(folder=stage.place()) as redis:
        return asyncio.run(_written(RedisStore(url=redis.url, max_age_seconds=_DAY_SECONDS), seconds))


async def _written(store: StepStore, seconds: float) -> Played:
    async def once(number: int, turn: int) -> None:
        await store.put(f"{number}-{turn}", _STEP)

    try:
        return await _pace(once, clients=_CLIENTS, seconds=seconds)
    finally:
        await store.close()


def _claims(stage: Stage, *, seconds: float) -> Played:
    with redis_server(folder=stage.place()) as redis:
        return asyncio.run(_claimed(redis.url, seconds))


async def _claimed(url: str, seconds: float) -> Played:
    quotas = [RedisQuota(url=url, account="bench", burst_seconds=BURST_SECONDS) for _ in range(_CLIENTS)]
    claim = {"requests": Asked(per_minute=1e6, wanted=10.0, needed=1.0, returned=0.0)}

    async def once(number: int, _turn: int) -> None:
        await quotas[number].exchange(claim, share=1 / _CLIENTS)

    try:
        return await _pace(once, clients=_CLIENTS, seconds=seconds)
    finally:
        await asyncio.gather(*(quota.close() for quota in quotas))


async def _pace(once: Callable[[int, int], Awaitable[None]], *, clients: int, seconds: float) -> Played:
    """How often it can be done a second, by so many that do it again and again."""
    end = time.monotonic() + seconds

    async def again(number: int) -> int:
        turns = 0
        while time.monotonic() < end:
            await once(number, turns)
            turns += 1
        return turns

    began, cpu = time.monotonic(), time.process_time()
    turns = sum(await asyncio.gather(*map(again, range(clients))))
    took = time.monotonic() - began
    return Played(figures={"per_second": turns / took, "client_cores": (time.process_time() - cpu) / took})


PART = Part(
    name="shared-parts",
    caption="What a fleet shares, asked without a pause by clients on the same machine: lower bounds.",
    columns=(
        Column(figure="per_second", title="a second"),
        Column(figure="client_cores", title="cores of the clients", digits=2),
    ),
    cases=_cases,
)

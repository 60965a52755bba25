"""One case on a real broker, with the consumer as a process of its own and ordinary documents beside."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from docsluice_consumer.telemetry.catalogue import PREFIX
from docsluice_local.broker import Broker
from docsluice_local.process import Child
from tests.acceptance import programs
from tests.acceptance.hostile.case import HOSTILE, KEY, Case, Seen, Stage
from tests.acceptance.hostile.server import ModelServer, model_server, pipeline_of
from tests.fakes.redis_wire import redis_that_says
from tests.integration.raw_producer import produce_batches
from tests.integration.wire import Wire, document

_LOOK_EVERY_SECONDS = 0.2
_LIVEZ_TIMEOUT_SECONDS = 30.0
_ANY_TIME = {"message.timestamp.after.max.ms": str(2**62)}
"""A broker takes nothing from tomorrow else, and documents wait until the clock is set right."""
_BESIDE_SECONDS = 180.0
_MORE_THAN_ENOUGH = "100000"


async def play(
    case: Case,
    wire: Wire,
    *,
    documents: int,
    folder: Path,
    seed: int,
    timeout_seconds: float,
    broker: Broker | None = None,
    is_forked: bool = False,
) -> Seen:
    """Run it to its end, or until the time is over. Logs and state are left in the folder.

    A fork is up sooner. It cannot be started through another command, or with a library before its own.
    """
    seen, state = Seen(), folder / "state"
    state.mkdir(parents=True)
    pipeline = folder / "pipeline.json"
    pipeline.write_text(json.dumps(pipeline_of(case)))
    prepared = case.prepare(state)
    async with model_server(case, seed=seed) as server, _store(case, state) as store:
        settings = {
            **programs.environment(wire, server.base_url),
            "OPENAI_API_KEY": KEY,
            "DOCSLUICE_DELIVERY": "exactly_once",
            "DOCSLUICE_PIPELINE": str(pipeline),
            "DOCSLUICE_STATE_DIR": str(state),
            **store,
            "DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "5",
            **case.settings,
            **prepared,
        }
        log_path = folder / "consumer.log"
        child = (
            programs.forked_consumer(settings, log_path=log_path)
            if is_forked
            else programs.consumer(settings, log_path=log_path, before=case.before)
        )
        await wire.create_topics(configs=dict.fromkeys(("result", "dead_letter"), _ANY_TIME))
        await produce_batches(wire, case.batches())
        await wire.produce(document(f"h{number}", f"{HOSTILE} {number}") for number in range(case.hostile_documents))
        await wire.produce(document(f"d{number}", _text(number)) for number in range(documents))
        if case.prepare_wire:
            await case.prepare_wire(wire)
        try:
            await asyncio.to_thread(programs.start, child, settings)
            stage = Stage(
                wire=wire, folder=folder, settings=settings, child=child, ended=asyncio.Event(), broker=broker
            )
            async with _watched(stage, seen):
                async with _beside(case, stage, seen):
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(timeout_seconds):
                            await _read_ends(case, wire, seen, documents, server)
                seen.is_live = await asyncio.to_thread(programs.answers, f"http://127.0.0.1:{stage.port}/livez")
            child.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                seen.exit_code = await asyncio.to_thread(child.wait, timeout_seconds=60)
        finally:
            await asyncio.to_thread(child.stop)
    _read_log(log_path, seen)
    return seen


def _read_log(path: Path, seen: Seen) -> None:
    log = path.read_text()
    seen.log_mib = len(log.encode()) / 2**20
    seen.look_for_the_key(log, where="the log")
    seen.said = {json.loads(line)["event"] for line in log.splitlines() if line.startswith("{")}


@contextlib.asynccontextmanager
async def _store(case: Case, state: Path) -> AsyncIterator[dict[str, str]]:
    """The settings of the store, and of limits that are shared."""
    if case.redis is None:
        yield {"DOCSLUICE_STORE_URL": f"sqlite:///{state}/steps.sqlite3"}
        return
    async with redis_that_says(case.redis) as url:
        yield {
            "DOCSLUICE_STORE_URL": url,
            "DOCSLUICE_STORE_OPTIONAL": "true",
            "DOCSLUICE_SHARED_LIMITS_URL": url,
            "DOCSLUICE_REQUESTS_PER_MINUTE": _MORE_THAN_ENOUGH,
        }


def _text(number: int) -> str:
    return f"An ordinary text, {number}."


async def _read_ends(case: Case, wire: Wire, seen: Seen, documents: int, server: ModelServer) -> None:
    """Until each ordinary document has ended, and as many hostile ones as the case tells."""
    ended: Counter[str] = Counter()
    begun = time.monotonic()
    async for record in wire.read(wire.topics["result"], wire.topics["dead_letter"], count=sys.maxsize):
        errors = {name: value for name, value in record.headers if name.startswith("__docsluice.errors.")}
        reason = errors.get("__docsluice.errors.reason", b"result").decode()
        seen.look_for_the_key(f"{record.value!r} {record.headers!r}", where=record.topic)
        is_ordinary = (record.key or b"").startswith(b"d")
        if not is_ordinary:
            seen.ends[reason] += 1
        elif reason != "result":
            seen.ordinary_dead_letters[reason] += 1
        else:
            key = (record.key or b"").decode()
            ended[key] += 1
            seen.unanswered += json.loads(record.value)["outputs"].keys() != {"category"}
            seen.results, seen.repeated = len(ended), ended.total() - len(ended)
            if _text(int(key[1:])) not in server.hit:
                seen.seconds = time.monotonic() - begun
        if len(ended) + seen.ordinary_dead_letters.total() >= documents and seen.ends.total() >= case.ends_in_all:
            return


@contextlib.asynccontextmanager
async def _beside(case: Case, stage: Stage, seen: Seen) -> AsyncIterator[None]:
    """Do what is to be done meanwhile, and let it come to its end."""
    if case.beside is None:
        yield
        return
    acting = asyncio.ensure_future(case.beside(stage))
    try:
        yield
    finally:
        stage.ended.set()
        try:
            async with asyncio.timeout(_BESIDE_SECONDS):
                seen.beside += await acting
        except TimeoutError:
            seen.beside.append(f"what is done beside takes longer than {_BESIDE_SECONDS:.0f} s")


@contextlib.asynccontextmanager
async def _watched(stage: Stage, seen: Seen) -> AsyncIterator[None]:
    """Look at its health and its memory all the while."""
    watching = asyncio.create_task(_watch(stage.child, stage.port, seen), name="watch")
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(child: Child, port: int, seen: Seen) -> None:
    timeout = aiohttp.ClientTimeout(total=_LIVEZ_TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", timeout=timeout) as session:
        while True:
            begun = time.monotonic()
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with session.get("/livez") as response:
                    await response.read()
                async with session.get("/metrics") as response:
                    told = await response.text()
                    seen.loop_lag_seconds = max(seen.loop_lag_seconds, _loop_lag(told))
                    seen.look_for_the_key(told, where="/metrics")
            seen.longest_silence_seconds = max(seen.longest_silence_seconds, time.monotonic() - begun)
            seen.peak_mib = max(seen.peak_mib, _peak_mib(child.pid))
            await asyncio.sleep(_LOOK_EVERY_SECONDS)


def _loop_lag(exposition: str) -> float:
    families = text_string_to_metric_families(exposition)
    return max((s.value for f in families for s in f.samples if s.name == f"{PREFIX}event_loop_lag_seconds"), default=0)


def _peak_mib(pid: int | None) -> float:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0

"""What a document costs, in calls and not in time: a regression shows on any machine, however busy."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import urllib.request
from pathlib import Path
from typing import Any

from docsluice_consumer.service import Service
from docsluice_local.rehearsal.provider import rehearsal_process
from tests.integration.wire import Wire, document, serving

DOCUMENTS = 400
IN_FLIGHT = 16
WARM = 50
"""Documents that end before counting begins, so that the start does not count."""


class Counts:
    """How often functions were called in the event loop's thread, for each document."""

    def __init__(self, stats: dict[tuple[str, int, str], tuple[int, int, float, float, Any]], documents: float) -> None:
        self._stats, self._documents = stats, documents

    def all(self) -> float:
        """Calls of any function, built-in ones included."""
        return sum(calls for _, calls, *_ in self._stats.values()) / self._documents

    def of(self, function: str, *, file: str = "") -> float:
        """Calls of this function, in files whose path ends so."""
        return sum(
            calls
            for (path, _, name), (_, calls, *_) in self._stats.items()
            if name == function and path.endswith(file)
        ) / self._documents  # fmt: skip


async def test_a_document_costs_no_more_than_it_did(embedded: str, tmp_path: Path) -> None:
    """With everything on: published exactly once, answers kept, limits, prices, metrics.

    The bounds leave room for what varies with the machine, such as how many documents share a transaction. One bound
    that is far exceeded names the cause. If a new feature needs more, raise it, and say in the commit what for.
    """
    counts = await _counted(embedded, tmp_path)
    assert counts.all() < 4000, "it was 2,300 calls, and more where documents come slowly"
    assert counts.of("create_task", file="asyncio/base_events.py") < 6, "one for the record, one that sends its request"
    assert counts.of("post", file="openai/_base_client.py") == 0, "the SDK builds requests again and again"
    assert counts.of("__init__", file="pydantic/main.py") < 14, "it was 7 objects that are checked"
    assert counts.of("is_coroutine_callable") == 0, "tenacity is let in though nothing has failed"
    assert counts.of("input_bytes") < 1, "a text is encoded again and again to measure it"
    assert counts.of("run_in_executor") < 0.9, "documents hop between threads"
    assert counts.of("transact", file="transactions.py") < 0.9, "it was one transaction for eight documents"


async def _counted(servers: str, folder: Path) -> Counts:
    wire = Wire(bootstrap_servers=servers)
    await wire.create_topics()
    await wire.produce(document(f"d{number}", f"{number} " * 200) for number in range(DOCUMENTS))
    with rehearsal_process(log_path=folder / "log", arguments=["--median-seconds", "0"]) as base_url:
        settings = wire.settings(
            base_url,
            mode="fused",
            delivery="exactly_once",
            prices="openai",
            max_concurrency=str(IN_FLIGHT),
            requests_per_minute="10000000",
            tokens_per_minute="10000000000",
            store_url=f"sqlite:///{folder}/store.sqlite3",
            state_dir=folder / "state",
        )
        async with serving(settings) as service:
            await _until_ended(WARM, service)
            profile = cProfile.Profile()
            profile.enable()
            before = await _until_ended(WARM + 1, service)
            after = await _until_ended(DOCUMENTS, service)
            profile.disable()
    return Counts(pstats.Stats(profile).stats, after - before)  # type: ignore[attr-defined]


async def _until_ended(count: int, service: Service) -> float:
    """Wait until so many documents have ended, and return how many have."""
    while (ended := await asyncio.to_thread(_ended, service.http_port)) < count:
        await asyncio.sleep(0.1)
    return ended


def _ended(port: int) -> float:
    """Asked in another thread, whose calls are not counted."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
        lines = response.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("docsluice_documents_total{"))

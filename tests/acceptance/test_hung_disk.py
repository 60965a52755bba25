"""A disk that does not answer any more: it is a store that is away, and a stop ends in time."""

from __future__ import annotations

import asyncio
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from docsluice_local.rehearsal.provider import rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.acceptance import programs
from tests.fakes.hung_disk import HUNG, IS_POSSIBLE, hung_disk
from tests.integration.wire import Wire, document, until

QUICK = RehearsalSettings(median_seconds=0.02, sigma=0.5)


def _said(port: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as response:
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.skipif(not IS_POSSIBLE, reason="needs Linux and a C compiler (cc)")
async def test_documents_wait_for_a_disk_that_hangs(wire: Wire, log_path: Path, tmp_path: Path) -> None:
    """`/readyz` says so, nothing is published that is not kept, all goes on with the disk, and SIGTERM is enough."""
    disk = await asyncio.to_thread(hung_disk, tmp_path)
    hung = Path(disk[HUNG])
    await wire.create_topics(partitions=1)
    async with rehearsal_provider(QUICK) as provider:
        settings = programs.environment(
            wire,
            provider.base_url,
            DOCSLUICE_STORE_URL="",
            DOCSLUICE_STATE_DIR=str(tmp_path / "state"),
            DOCSLUICE_BUDGET_USD_PER_DAY="1000",
            DOCSLUICE_PRICES="openai",
            DOCSLUICE_DRAIN_SECONDS="5",
            DOCSLUICE_LOG_FORMAT="json",
            **disk,
        )
        port = settings["DOCSLUICE_HTTP_PORT"]
        child = programs.consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)
            await wire.produce(document(f"a{number}") for number in range(20))
            await until(lambda: _are(wire, 20), what="the first are done")
            hung.touch()
            await wire.produce(document(f"b{number}") for number in range(20))

            async def is_told() -> bool:
                code, words = await asyncio.to_thread(_said, port, "readyz")
                return code == 503 and "no answer within 10 seconds" in words

            await until(is_told, what="it says that the store is away")
            assert (await asyncio.to_thread(_said, port, "livez"))[0] == 200
            assert await wire.count("result") == 20
            hung.unlink()
            await until(lambda: _are(wire, 40), what="all are done")
            hung.touch()
            await wire.produce(document(f"c{number}") for number in range(20))
            await until(is_told, what="it says that the store is away again")
            began = time.monotonic()
            child.send_signal(signal.SIGTERM)
            code = await asyncio.to_thread(child.wait, timeout_seconds=60)
        finally:
            hung.unlink(missing_ok=True)
            await asyncio.to_thread(child.stop)
    assert code == 0
    print(f"ended {time.monotonic() - began:.1f} s after SIGTERM")  # noqa: T201 - a figure to look at
    events = log_path.read_text()
    assert events.count('"store.away"') == 2
    assert "ledger.failing" in events


async def _are(wire: Wire, count: int) -> bool:
    return await wire.count("result") == count

"""What was paid for once is not paid for again: after a crash, for repeats, and when a dead letter is redriven."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from docsluice.messages import DocumentResult
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.acceptance import programs
from tests.integration.wire import Wire, document, until

STEPS = 3
AT_ONCE = 24
QUICK = RehearsalSettings(median_seconds=0.05, sigma=0.5)


def _asked(provider: RehearsalProvider) -> Counter[tuple[str | None, str | None]]:
    """How often each step of each text was asked."""
    return Counter((call.task, call.document) for call in provider.calls)


async def _results(wire: Wire, count: int) -> list[DocumentResult]:
    records = wire.read(wire.topics["result"], count=count)
    return [DocumentResult.model_validate_json(record.value) async for record in records]


@pytest.mark.kafka
async def test_a_crash_and_offsets_at_the_beginning(kafka_wire: Wire, log_path: Path, tmp_path: Path) -> None:
    """Killed half-way, and told to read everything again: each step is asked once but for what was in flight."""
    wire, documents = kafka_wire, 200
    await wire.create_topics(partitions=2)
    await wire.produce(document(f"d{number}") for number in range(documents))
    async with rehearsal_provider(QUICK) as provider:
        store = {"DOCSLUICE_STORE_URL": f"sqlite:///{tmp_path / 'steps.sqlite3'}", "DOCSLUICE_LOG_FORMAT": "json"}
        concurrency = {"DOCSLUICE_MAX_CONCURRENCY": str(AT_ONCE)}
        # A transaction that the kill leaves open would hide all later results until the broker gives it up.
        delivery = {"DOCSLUICE_DELIVERY": "at_least_once"}
        settings = programs.environment(wire, provider.base_url, **store, **concurrency, **delivery)
        child = programs.forked_consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)

            async def halfway() -> bool:
                return len(provider.calls) > STEPS * documents // 2

            await until(halfway, what="half of the calls are made")
            child.send_signal(signal.SIGKILL)
            await asyncio.to_thread(child.wait, timeout_seconds=60)
        finally:
            await asyncio.to_thread(child.stop)
        done, asked = await wire.count("result"), len(provider.calls)
        assert done < documents, "killed too late to prove anything"
        restarted_at = datetime.now(UTC)
        # Another group begins at the beginning. Nobody has to wait until the first one is known to be dead.
        settings |= {"DOCSLUICE_GROUP_ID": f"{wire.name}.again"}
        again = programs.forked_consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, again, settings)

            async def all_again() -> bool:
                return await wire.count("result") == done + documents

            await until(all_again, what="every document has its result in the second life")
        finally:
            await asyncio.to_thread(again.stop)
    results = [one for one in await _results(wire, done + documents) if one.started_at > restarted_at]
    assert len(results) == documents
    assert {result.document_id for result in results} == {f"d{number}" for number in range(documents)}
    assert all(len(result.outputs) == STEPS for result in results)
    answered = _asked(provider)
    assert len(answered) == STEPS * documents
    again_paid = sum(answered.values()) - len(answered)
    assert again_paid <= AT_ONCE  # what was in flight, for a call is until its answer is kept
    saved, spent = sum(one.saved_usd for one in results), sum(one.cost_usd for one in results)
    print(f"{asked} calls before the kill, {again_paid} of them made again; then ${spent} spent and ${saved} saved")  # noqa: T201 - figures to look at
    assert saved > Decimal(0)


async def test_repeats_cost_nothing(wire: Wire, log_path: Path) -> None:
    """Of 400 documents 120 have the text of another: 280 are asked about, and all have results."""
    texts = [f"Text {number}." for number in range(280)]
    texts += texts[40:160]
    await wire.create_topics(partitions=2)
    await wire.produce(document(f"d{number}", text) for number, text in enumerate(texts))
    async with rehearsal_provider(QUICK) as provider:
        fused = {"DOCSLUICE_MODE": "fused", "DOCSLUICE_MAX_CONCURRENCY": str(AT_ONCE)}
        settings = programs.environment(wire, provider.base_url, **fused)
        child = programs.forked_consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)
            results = await _results(wire, len(texts))
        finally:
            await asyncio.to_thread(child.stop)
    assert len({result.document_id for result in results}) == len(texts)
    assert len(provider.calls) == len(_asked(provider)) == 280
    assert sum(result.cost_usd == 0 and result.saved_usd > 0 for result in results) == 120


async def test_a_redrive_pays_for_the_failed_step_alone(wire: Wire, log_path: Path, tmp_path: Path) -> None:
    """A document of which only the keywords failed makes one call when it is redriven."""
    await wire.create_topics()
    text = "About reefs. [[rehearse:refusalx1@keywords]]"
    await wire.produce([document("reefs", text)])
    async with rehearsal_provider(QUICK) as provider:
        store = {"DOCSLUICE_STORE_URL": f"sqlite:///{tmp_path / 'steps.sqlite3'}"}
        settings = programs.environment(wire, provider.base_url, **store)
        child = programs.forked_consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)
            (failed,) = await wire.outcomes(1)
            assert (failed.reason, failed.step) == ("refused", "keywords")
            assert len(provider.calls) == STEPS
            redrive = await asyncio.to_thread(programs.run, "producer", "dead-letters", "redrive", settings=settings)
            assert redrive.returncode == 0, redrive.stderr
            (result,) = await _results(wire, 1)
        finally:
            await asyncio.to_thread(child.stop)
    assert len(provider.calls) == STEPS + 1
    assert list(provider.calls)[-1].task == "keywords"
    assert set(result.outputs) == {"summary", "category", "keywords"}
    assert result.attempts == 1
    assert result.saved_usd > 0

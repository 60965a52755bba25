"""A deploy under which no document can pass, as a process: stopped, resumed, fixed."""

from __future__ import annotations

import asyncio
import signal
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from docsluice_local.rehearsal.faults import Fault
from docsluice_local.rehearsal.provider import rehearsal_provider
from tests.acceptance import programs
from tests.integration.wire import Record, Wire, document, until

DOCUMENTS, MOST, PARTITIONS, OPEN = 150, 20, 3, 10
REACHED = "dead_letter_limit.reached"
PAUSED = '\ndocsluice_consumption_paused{reason="dead_letter_limit"} 1.0\n'


def _asked(settings: Mapping[str, str], path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings['DOCSLUICE_HTTP_PORT']}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()


def _said(log_path: Path, event: str) -> int:
    return log_path.read_text().count(event)


def _documents() -> list[Record]:
    made = [document(f"d{n}", f"Text {n}.") for n in range(DOCUMENTS)]
    return [Record(key=b"key-%d" % (n % 50), value=one.value) for n, one in enumerate(made)]


@pytest.mark.parametrize(
    ("delivery", "ordering"), [("exactly_once", "unordered"), ("exactly_once", "key"), ("at_least_once", "partition")]
)
async def test_a_broken_deploy_is_stopped_and_mended(wire: Wire, log_path: Path, delivery: str, ordering: str) -> None:
    """It stops at the limit and says why, and goes on for as many again when told to.

    Once fixed it does all the rest.
    """
    await wire.create_topics(partitions=PARTITIONS)
    async with rehearsal_provider() as provider:
        provider.outages.set_rates({Fault.WRONG_SCHEMA: 1.0})
        settings = programs.environment(
            wire,
            provider.base_url,
            DOCSLUICE_GROUP_INSTANCE_ID="one",
            DOCSLUICE_DELIVERY=delivery,
            DOCSLUICE_ORDERING=ordering,
            DOCSLUICE_MODE="fused",
            DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION=str(OPEN),
            DOCSLUICE_DRAIN_SECONDS="600",
            DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE=str(MOST),
        )
        child = programs.forked_consumer(settings, log_path=log_path)

        async def stopped(times: int, *, dead_letters: int) -> None:
            async def reached() -> bool:
                return _said(log_path, REACHED) == times

            async def published() -> bool:
                return await wire.count("dead_letter") == dead_letters

            await until(reached, what=f"it has stopped {times} times")
            await until(published, what=f"there are {dead_letters} dead letters")

        async def paused() -> bool:
            return PAUSED in (await asyncio.to_thread(_asked, settings, "metrics"))[1]

        try:
            await asyncio.to_thread(programs.start, child, settings)
            child.send_signal(signal.SIGUSR1)  # harmless
            await wire.produce(_documents())
            await stopped(1, dead_letters=MOST - 1)
            status, why = await asyncio.to_thread(_asked, settings, "readyz")
            assert status == 503
            assert "DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE" in why
            assert f"{MOST} invalid_answer/fused" in why
            assert "SIGUSR1" in why
            await until(paused, what="reading is paused")
            # An answer and its repair for those that were published, and for those that were open with them.
            assert len(provider.calls) <= 2 * (MOST + PARTITIONS * OPEN)

            child.send_signal(signal.SIGUSR1)
            await stopped(2, dead_letters=2 * MOST - 1)

            provider.outages.set_rates({})
            child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(child.wait, timeout_seconds=60) == 0
            dead = await wire.count("dead_letter")
            assert dead == 2 * MOST - 1
            await asyncio.to_thread(programs.start, child, settings)
            found = await wire.outcomes(DOCUMENTS)
            assert (await asyncio.to_thread(_asked, settings, "readyz"))[0] == 200
        finally:
            await asyncio.to_thread(child.stop)
    assert Counter(outcome.is_dead_letter for outcome in found) == {True: dead, False: DOCUMENTS - dead}
    assert await wire.count("dead_letter") == dead
    assert await wire.count("result") == DOCUMENTS - dead
    places = {(outcome.fields["source"]["partition"], outcome.fields["source"]["offset"]) for outcome in found}
    assert len(places) == DOCUMENTS
    assert _said(log_path, "dead_letter_limit.not_reached") == 1
    assert _said(log_path, "dead_letter_limit.lifted") == 1

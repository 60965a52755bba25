"""A provider that hangs, and a document that takes longer than all the others together."""

from __future__ import annotations

from docsluice_local.rehearsal.chat import text_hash
from tests.acceptance.faults.scenario import Scenario
from tests.acceptance.faults.stage import Stage

_HOLD = "[[rehearse:hold]]"


async def _hang(stage: Stage) -> None:
    """One call in a hundred is never answered. The client gives it up after a few seconds and asks again."""
    await stage.begin(stage.documents)
    await stage.until_ended(stage.documents)


async def _slow_document(stage: Stage) -> None:
    """All others pass one slow document on its own partition. Then the replica is killed and started again."""
    slow = stage.feed.event(marker=_HOLD)
    await stage.feed.send([slow, *stage.feed.events(stage.documents)])
    await stage.replicas.start()
    await stage.until_ended(stage.documents)
    await stage.replicas.kill()
    for replica in stage.replicas:
        await replica.start()
    stage.fault_ended()

    async def asked_again() -> bool:
        asked = [call["document"] for call in await stage.provider.calls()]
        return asked.count(text_hash(slow.text)) > 1

    await stage.until(asked_again, what="the slow document is asked again after the restart")
    await stage.provider.release()
    await stage.until_ended(stage.documents + 1)


HANG = Scenario(
    name="hang",
    play=_hang,
    documents=2_000,
    provider=("--fault-rate", "hang=0.01"),
    settings={"DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "3"},
)
SLOW_DOCUMENT = Scenario(
    name="slow-document",
    play=_slow_document,
    documents=5_000,
    partitions=1,
    replicas=1,
    settings={"DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "600", "DOCSLUICE_MAX_CONCURRENCY": "32"},
)

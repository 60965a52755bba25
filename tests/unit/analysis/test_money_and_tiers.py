"""What a document may cost, and in which tier it is asked about."""

from __future__ import annotations

from decimal import Decimal

import pytest

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.store.memory_store import MemoryStore
from tests.fakes.analysis import OUTPUTS
from tests.fakes.lab import Lab
from tests.fakes.samples import steps


async def test_a_document_that_would_cost_too_much_is_never_asked_about() -> None:
    """All its calls together are held against the bound. One cheap enough passes."""
    lab = Lab(max_cost_usd=Decimal("0.00000001"))
    rejection = await lab.rejection()
    assert rejection.reason is DeadLetterReason.TOO_LARGE
    assert "DOCSLUICE_MAX_COST_USD_PER_DOCUMENT" in str(rejection)
    assert lab.client.requests == []
    assert await Lab(max_cost_usd=Decimal(1)).analyze() == OUTPUTS


async def test_what_an_answer_costs_is_known_from_answers() -> None:
    """Before the first one only the document is counted, or a first guess would turn a whole topic away."""
    lab = Lab(steps=steps()[:1], max_cost_usd=Decimal("0.00005"))
    assert await lab.analyze("short") == {"summary": OUTPUTS["summary"]}
    assert (await lab.rejection()).reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize(
    ("tier", "priority", "asked"),
    [
        (None, "low", None),
        ("flex", None, "flex"),
        ("flex", "high", "default"),
        ("priority", "high", "priority"),
        ("auto", "high", "auto"),
        ("default", "high", "default"),
        ("default", "low", "flex"),
        ("auto", "normal", "auto"),
        ("auto", 3, "auto"),
    ],
)
async def test_the_tier_that_is_asked_for(tier: str | None, priority: object, asked: str | None) -> None:
    """The setting's. A document may say that it is in no hurry, or that it is. Without the setting none is."""
    lab = Lab(service_tier=tier)
    await lab.analyzer.analyze("text", DocumentUsage(), priority=priority)
    assert {request.service_tier for request in lab.client.requests} == {asked}


async def test_each_task_tells_what_it_took() -> None:
    """Together they are the document's. A task that was answered before took nothing."""
    lab, first = Lab(store=MemoryStore(max_bytes=10**6, max_age_seconds=10**6)), DocumentUsage()
    await lab.analyze("text", first)
    assert first.by_step.keys() == OUTPUTS.keys()
    assert sum((part.usage for part in first.by_step.values()), Usage()) == first.usage
    assert sum(part.cost_usd for part in first.by_step.values()) == first.cost_usd
    again = DocumentUsage()
    await lab.analyze("text", again)
    assert all(part.usage == Usage() for part in again.by_step.values())


async def test_tasks_that_share_a_call_tell_nothing_of_their_own() -> None:
    """Nobody knows whose a token was."""
    usage = DocumentUsage()
    await Lab(steps=steps(mode="fused")).analyze("text", usage)
    assert (usage.by_step, usage.attempts) == ({}, 1)

"""What is asked about one document, and what becomes of it when one of its steps fails."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import (
    CallTimedOut,
    ProviderMisconfigured,
    ProviderUnavailable,
    RecordRejected,
    ServiceFault,
)
from docsluice_consumer.llm.chat import Answer, ChatRequest
from tests.fakes.analysis import OUTPUTS
from tests.fakes.chat import USAGE, by_step, of_documents, right
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL
from tests.fakes.samples import SECRET_TEXT, steps
from tests.fakes.timer import settled


async def test_each_step_is_asked_once_when_all_is_well() -> None:
    """One call a step, one output a task."""
    lab = Lab()
    assert await lab.analyze() == OUTPUTS
    assert sorted(request.step for request in lab.client.requests) == ["category", "summary"]
    assert lab.sleep.pauses == []


async def test_steps_run_side_by_side() -> None:
    """A document takes as long as its slowest step, and not as all of them."""
    lab = Lab()
    lab.client.hold()
    task = asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage()))
    await settled()
    assert lab.client.in_flight == 2
    lab.client.release()
    assert await task == OUTPUTS


async def test_fused_is_one_call() -> None:
    """All tasks in one answer."""
    lab = Lab(steps=steps(mode="fused"))
    assert await lab.analyze() == OUTPUTS
    assert [request.step for request in lab.client.requests] == ["fused"]


async def test_the_models_of_the_tasks_are_known() -> None:
    """One for each task, also where a call did several."""
    for mode in ("fanout", "fused"):
        document_usage = DocumentUsage()
        await Lab(steps=steps(mode=mode)).analyze(document_usage=document_usage)
        assert document_usage.models == {"summary": MODEL, "category": MODEL}


async def test_one_rejected_step_lets_the_others_finish() -> None:
    """Their tokens are being paid for. What they cost is counted."""
    rejection = RecordRejected(DeadLetterReason.REJECTED, "400", step="summary")
    lab = Lab(of_documents(lambda request: rejection if request.step == "summary" else right(request)))
    may_finish = asyncio.Event()
    ask = lab.client.ask

    async def slow_category(request: ChatRequest) -> Answer:
        if request.step == "category":
            await may_finish.wait()
        return await ask(request)

    lab.client.ask = slow_category  # type: ignore[method-assign]
    document_usage = DocumentUsage()
    task = asyncio.create_task(lab.analyzer.analyze("text", document_usage))
    await settled()
    assert not task.done()
    may_finish.set()
    with pytest.raises(RecordRejected):
        await task
    assert document_usage.usage == USAGE + USAGE  # of the category, and of the text of our own
    assert document_usage.attempts == 3


async def test_of_two_rejections_the_pipelines_first_is_told() -> None:
    """Whichever came first in time: the same document fails for the same reason every time."""
    replies = {name: [RecordRejected(DeadLetterReason.REJECTED, "400", step=name)] for name in ("summary", "category")}
    assert (await Lab(by_step(replies)).rejection()).step == "summary"


async def test_a_fault_of_the_world_wins_at_once() -> None:
    """The other steps are cancelled, whatever they wait for, and nothing stays in flight."""
    lab = Lab(by_step({"category": [ProviderMisconfigured("401")]}), limits=Limits(max_concurrency=10))
    ask = lab.client.ask

    async def summary_hangs(request: ChatRequest) -> Answer:
        if request.step == "summary":
            await asyncio.Event().wait()
        return await ask(request)

    lab.client.ask = summary_hangs  # type: ignore[method-assign]
    with pytest.raises(ProviderMisconfigured, match="401"):
        await lab.analyze()
    assert lab.free_slots() == 10


async def test_a_fault_of_the_world_wins_over_a_rejection_and_a_bug() -> None:
    """The record is then not to blame, and must not become a dead letter."""
    for other in (RecordRejected(DeadLetterReason.REJECTED, "400"), RuntimeError("a bug")):
        lab = Lab(by_step({"summary": [other], "category": [ProviderMisconfigured("401")]}))
        with pytest.raises(ServiceFault):
            await lab.analyze()


async def test_a_bug_comes_out_as_it_is() -> None:
    """Not wrapped in a group, so that its class and trace are what the dead letter shows."""
    bug = RuntimeError("a bug")
    bug.__cause__ = KeyError("the cause")
    with pytest.raises(RuntimeError) as caught:
        await Lab(by_step({"summary": [bug]})).analyze()
    assert caught.value is bug
    assert isinstance(bug.__cause__, KeyError)


async def test_cancelling_leaves_nothing_behind() -> None:
    """A drain cancels documents that wait."""
    lab = Lab(limits=Limits(max_concurrency=1, tokens_per_minute=60_000))
    lab.client.hold()
    task = asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage()))
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lab.free_slots() == 1
    assert lab.admission.limited_by() is None


async def test_a_long_outage_is_told_once_in_a_while() -> None:
    """One line for each kind of fault, not one for each attempt, and none with the document's text."""
    lab = Lab(by_step({"summary": [ProviderUnavailable("500")] * 50 + [CallTimedOut("slow")] * 50}))
    with structlog.testing.capture_logs() as logs:
        await lab.analyze()
    assert [(entry["event"], entry["outcome"]) for entry in logs] == [
        ("provider.failing", "unavailable"),
        ("provider.failing", "timeout"),
    ]
    assert SECRET_TEXT not in str(logs)

"""When a document is to blame for its failures, and when the world is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import AttemptFailed, CallTimedOut, ProviderUnavailable, RateLimited, RecordRejected
from docsluice_consumer.llm.chat import ChatRequest
from tests.fakes.analysis import OUTPUTS
from tests.fakes.chat import Replies, Reply, by_step, in_turn, right
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL
from tests.fakes.samples import SECRET_TEXT, steps
from tests.fakes.timer import settled


async def test_an_outage_never_costs_a_document() -> None:
    """A thousand failures on end, and the document waits: nobody else is answered either."""
    lab = Lab(by_step({"summary": [ProviderUnavailable("no")] * 500 + [CallTimedOut("no")] * 500}), steps=steps()[:1])
    document_usage = DocumentUsage()
    assert await lab.analyze(document_usage=document_usage) == {"summary": OUTPUTS["summary"]}
    assert document_usage.attempts == 1001


def _only_this_document_fails(fault: AttemptFailed, *, times: int = 10**9) -> Replies:
    left = [times]

    def reply(request: ChatRequest) -> Reply:
        if SECRET_TEXT not in request.messages[-1].content or left[0] == 0:
            return right(request)
        left[0] -= 1
        return fault

    return reply


async def _others_are_answered(lab: Lab, count: int = 100) -> None:
    for number in range(count):
        await lab.analyze(f"another {number}")


def _lab_where_others_succeed(reply: Replies, **changes: Any) -> Lab:
    """While a document backs off, a hundred others are answered."""

    async def sleep(seconds: float) -> None:
        lab.timer.advance(seconds)
        await _others_are_answered(lab)

    lab = Lab(reply, sleep=sleep, steps=steps()[:1], **changes)
    return lab


@pytest.mark.parametrize("fault", [CallTimedOut("slow"), ProviderUnavailable("500")])
@pytest.mark.parametrize("max_attempts", [4, 5, 7])
async def test_attempts_are_used_up_while_others_succeed(fault: AttemptFailed, max_attempts: int) -> None:
    """Then it is this document. The very first failure does not count, for so an outage begins."""
    lab = _lab_where_others_succeed(_only_this_document_fails(fault), max_attempts=max_attempts)
    document_usage = DocumentUsage()
    rejection = await lab.rejection(document_usage)
    assert rejection.reason is DeadLetterReason.ATTEMPTS_EXHAUSTED
    assert (rejection.step, str(rejection.model)) == ("summary", MODEL)
    assert document_usage.attempts == max_attempts + 1
    assert f"{max_attempts + 1} attempts failed; the last: {fault}" in str(rejection)
    assert type(rejection.__cause__) is type(fault)
    assert document_usage.first_failed_at is not None


async def test_limits_never_use_up_attempts() -> None:
    """Even while others succeed: that says how busy we are, and nothing about the document."""
    fault = RateLimited("429")

    async def sleep(seconds: float) -> None:
        lab.timer.advance(seconds)
        await lab.analyze("another")

    lab = Lab(_only_this_document_fails(fault, times=50), sleep=sleep, steps=steps()[:1], max_attempts=2)
    assert await lab.analyze() == {"summary": OUTPUTS["summary"]}


async def test_failures_before_and_after_an_outage_count_and_those_in_it_do_not() -> None:
    """Four with others succeeding, two hundred in the outage, and the fifth that counts is the last."""
    failures = 0

    def reply(request: ChatRequest) -> Reply:
        return right(request) if "another" in request.messages[-1].content else ProviderUnavailable("500")

    async def sleep(seconds: float) -> None:
        nonlocal failures
        failures += 1
        lab.timer.advance(seconds)
        if failures in {1, 2, 3, 4, 205}:
            await _others_are_answered(lab)

    lab = Lab(reply, sleep=sleep, steps=steps()[:1], max_attempts=5)
    assert (await lab.rejection()).reason is DeadLetterReason.ATTEMPTS_EXHAUSTED
    assert sum(SECRET_TEXT in request.messages[-1].content for request in lab.client.requests) == 206


async def test_a_judgement_on_another_document_is_a_sign_of_life() -> None:
    """A provider that rejects others is not down."""

    def reply(request: ChatRequest) -> Reply:
        text = request.messages[-1].content
        if SECRET_TEXT in text:
            return ProviderUnavailable("500")
        return RecordRejected(DeadLetterReason.REJECTED, "400") if text == "another" else right(request)

    async def sleep(_seconds: float) -> None:
        with pytest.raises(RecordRejected):
            await lab.analyze("another")

    lab = Lab(reply, sleep=sleep, steps=steps()[:1], max_attempts=2)
    assert (await lab.rejection()).reason is DeadLetterReason.ATTEMPTS_EXHAUSTED


async def test_in_a_storm_of_refusals_everybody_waits_in_the_queue() -> None:
    """Nobody pauses by himself where nobody is answered: that would only delay the end."""
    lab = Lab(by_step({"summary": [RateLimited("no")] * 50}), steps=steps()[:1])
    await lab.analyze()
    assert set(lab.sleep.pauses) == {0.0}


@pytest.mark.parametrize("fault", [CallTimedOut("slow"), ProviderUnavailable("500")])
async def test_the_first_failure_never_counts(fault: AttemptFailed) -> None:
    """However many were answered before it: an outage begins like that, and a second call tells."""
    lab = Lab(in_turn(right, fault), limits=Limits(max_concurrency=1), steps=steps()[:1], max_attempts=1)
    lab.client.hold()
    both = [asyncio.create_task(lab.analyzer.analyze(text, DocumentUsage())) for text in ("another", "this one")]
    await settled()
    lab.client.release()
    assert await asyncio.gather(*both) == [{"summary": OUTPUTS["summary"]}] * 2
    assert len(lab.client.requests) == 3


async def test_another_models_answers_say_nothing() -> None:
    """Of two models one is down for a while: no document is to blame for it, whatever the other one answers."""
    tasks = [
        {"name": name, "prompt": "P", "output": {"type": "text", "sentences": 2}, "model": model}
        for name, model in (("summary", "down"), ("category", "well"))
    ]
    lab = Lab(by_step({"summary": [ProviderUnavailable("500")] * 4}), steps=steps(*tasks), max_attempts=1)
    assert set(await lab.analyze()) == {"summary", "category"}

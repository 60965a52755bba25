"""An answer that is none: what is asked again, with what, and what is given up."""

from __future__ import annotations

import asyncio

import pytest

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import CallRefused, CallTimedOut, RecordRejected
from docsluice_consumer.llm.chat import Answer, ChatRequest
from tests.fakes.analysis import COST, CUT, JUDGED, NONSENSE, OUTPUTS
from tests.fakes.chat import USAGE, Reply, by_step, in_turn, of_documents, right, say
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL, MODEL_REF
from tests.fakes.samples import SECRET_TEXT, TASKS, steps


async def test_an_invalid_answer_is_asked_again_once() -> None:
    """With the answer and what is wrong with it."""
    lab = Lab(by_step({"category": [say('{"category": "sports"}')]}))
    document_usage = DocumentUsage()
    assert await lab.analyze(document_usage=document_usage) == OUTPUTS
    first, repair = lab.client.asked("category")
    assert repair.messages[: len(first.messages)] == first.messages
    assert "must be one of: tech, other" in repair.messages[-1].content
    assert document_usage.attempts == 3
    assert lab.samples("retries_total") == {("category", "invalid_answer"): 1}


async def test_a_repair_goes_before_the_documents_behind() -> None:
    """What was begun is finished first: a pipeline that no answer meets shows before all have paid."""
    lab = Lab(in_turn(NONSENSE), steps=steps()[:1], limits=Limits(max_concurrency=1))
    tasks = [asyncio.create_task(lab.analyzer.analyze(text, DocumentUsage())) for text in ("one", "two", "three")]
    await asyncio.gather(*tasks)
    # The second had its turn when the first call ended. The repair came a moment later.
    assert [request.messages[1].content for request in lab.client.requests] == ["one", "two", "one", "three"]


async def test_an_answer_that_stays_invalid_rejects_the_document() -> None:
    """After the one repair, paid for in full."""
    lab = Lab(by_step({"category": [NONSENSE, say('{"category": "sports"}')]}))
    document_usage = DocumentUsage()
    rejection = await lab.rejection(document_usage)
    assert (rejection.reason, rejection.step) == (DeadLetterReason.INVALID_ANSWER, "category")
    assert str(rejection) == ("the answer is still not valid after a repair: category must be one of: tech, other")
    assert len(lab.client.asked("category")) == 2
    assert document_usage.usage == USAGE + USAGE + USAGE
    assert document_usage.first_failed_at is not None  # the dead letter says since when


async def test_a_repair_has_attempts_of_its_own() -> None:
    """A time-out on the way to it is no second invalid answer."""
    lab = Lab(by_step({"category": [NONSENSE, CallTimedOut("slow")]}))
    assert await lab.analyze() == OUTPUTS
    assert len(lab.client.asked("category")) == 3


@pytest.mark.parametrize(("answer", "reason", "words"), JUDGED)
async def test_an_answer_that_is_none_is_paid_for(answer: Answer, reason: DeadLetterReason, words: str) -> None:
    """It rejects the document at once, and its tokens and dollars are counted under the reason."""
    lab = Lab(by_step({"category": [answer]}))
    document_usage = DocumentUsage()
    rejection = await lab.rejection(document_usage)
    assert (rejection.reason, rejection.step, str(rejection.model)) == (reason, "category", MODEL)
    assert words in str(rejection)
    assert len(lab.client.asked("category")) == 1
    assert document_usage.usage == USAGE + USAGE
    assert document_usage.cost_usd == 2 * COST
    assert lab.samples("llm_requests_total") == {("summary", MODEL, "ok"): 1, ("category", MODEL, reason): 1}
    assert lab.samples("llm_cost_usd_total")["category", MODEL, reason] == pytest.approx(float(COST))


async def test_a_cut_answer_is_asked_for_with_more_room_once() -> None:
    """Four times the bound. What is cut there too names it, for that is the setting that must be raised."""
    bounded = steps({"name": "k", "prompt": "P", "output": {"type": "text"}, "max_output_tokens": 77})
    lab = Lab(in_turn(CUT), steps=bounded)
    assert await lab.analyze() == {"k": "words"}
    assert [request.sampling.max_output_tokens for request in lab.client.requests] == [77, 308]
    assert lab.samples("retries_total") == {("k", "truncated"): 1}
    still = Lab(in_turn(CUT, CUT), steps=bounded)
    assert "max_output_tokens (308)" in str(await still.rejection())
    assert len(still.client.requests) == 2


async def test_a_cut_answer_without_a_bound_of_ours_is_not_asked_for_again() -> None:
    """It is the model's own bound, and would be the same."""
    lab = Lab(in_turn(CUT), steps=steps()[:1])
    assert (await lab.rejection()).reason is DeadLetterReason.TRUNCATED
    assert len(lab.client.requests) == 1


async def test_more_room_than_the_model_gives_leaves_the_answer_cut() -> None:
    """The refusal is of our own remedy: it says nothing of the document, nor of other calls."""
    refusal = CallRefused("max_tokens is too large", kind="unknown", remedy="lower it", parameter="max_tokens")

    def reply(request: ChatRequest) -> Reply:
        return refusal if request.is_roomier else CUT

    task = {**TASKS[0], "max_output_tokens": 40}
    lab = Lab(reply, steps=steps(task))
    for _ in range(4):
        assert (await lab.rejection()).reason is DeadLetterReason.TRUNCATED
    assert len(lab.client.requests) == 8
    assert lab.admission.circuits() == {MODEL_REF: False}


async def test_what_the_provider_rejects_is_not_tried_again() -> None:
    """A 400 stays one."""
    rejection = RecordRejected(DeadLetterReason.REJECTED, "400", step="summary", model=MODEL_REF)
    lab = Lab(of_documents(lambda request: rejection if request.step == "summary" else right(request)))
    raised = await lab.rejection()
    assert raised.reason is DeadLetterReason.REJECTED
    assert raised.__cause__ is not raised, "a circle of causes"
    assert [SECRET_TEXT in asked.messages[-1].content for asked in lab.client.asked("summary")] == [True, False]
    assert lab.sleep.pauses == []


@pytest.mark.parametrize(
    "limits",
    [
        Limits(max_concurrency=1, tokens_per_minute=100),
        Limits(max_concurrency=1, input_tokens_per_minute=100),
    ],
)
async def test_what_exceeds_a_minutes_limit_is_rejected_before_any_call(limits: Limits) -> None:
    """It could never pass, and costs nothing to find out."""
    lab = Lab(limits=limits)
    document_usage = DocumentUsage()
    with pytest.raises(RecordRejected) as caught:
        await lab.analyze("x" * 10_000, document_usage)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE
    assert "100 a minute" in str(caught.value)
    assert lab.client.requests == []
    assert (document_usage.attempts, document_usage.invested) == (0, 0)

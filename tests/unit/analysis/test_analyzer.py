"""What is asked about one document, how often, and what is counted, with a model that does as it is told."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import structlog
import tenacity
from hypothesis import example, given, settings
from hypothesis import strategies as st

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.model_caller import _pause_seconds
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
    ServiceFault,
)
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.tasks.steps import Step
from tests.examples import examples
from tests.fakes.chat import USAGE, Replies, Reply, by_step, in_turn, of_documents, right, say
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL, MODEL_REF, FakePrices
from tests.fakes.samples import SECRET_TEXT, TASKS, steps
from tests.fakes.timer import ManualTimer, settled
from tests.fakes.town import Town

OUTPUTS = {"summary": "words 0 words 1", "category": "tech"}
COST = Decimal("0.0002")
"""What one answer of `USAGE` costs."""
NONSENSE = say("nonsense")


# What is asked


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


# What is tried again


@pytest.mark.parametrize("fault", [RateLimited, CallTimedOut, ProviderUnavailable])
async def test_what_passes_is_tried_again(fault: type[AttemptFailed]) -> None:
    """Twice in vain, and then it comes."""
    lab = Lab(by_step({"summary": [fault("no"), fault("no")]}))
    document_usage = DocumentUsage()
    assert await lab.analyze(document_usage=document_usage) == OUTPUTS
    assert len(lab.client.asked("summary")) == 3
    assert len(lab.client.asked("category")) == 1
    assert document_usage.attempts == 4
    assert lab.samples("retries_total") == {("summary", fault.outcome): 2}


def _pauses(fault: AttemptFailed, *, count: int = 40) -> list[float]:
    """How long is paused after each of so many failures."""
    pauses = []
    for number in range(1, count + 1):
        outcome: tenacity.Future = tenacity.Future(number)
        outcome.set_exception(fault)
        state = tenacity.RetryCallState(tenacity.AsyncRetrying(), None, (), {})
        state.attempt_number, state.outcome = number, outcome
        pauses.append(_pause_seconds(state))
    return pauses


def test_pauses_grow_with_jitter() -> None:
    """Up to half a second, one, two, four, … and never above twenty: all of it random, so that nobody keeps step."""
    pauses = _pauses(ProviderUnavailable("no"))
    bounds = [min(20, 0.5 * 2**number) for number in range(40)]
    assert all(0 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert len(set(pauses)) == 40
    assert max(pauses) > 5


def test_a_pause_is_never_shorter_than_the_provider_asked_for() -> None:
    """Retry-After and some jitter on top, or everybody would come back at once."""
    pauses = _pauses(ProviderUnavailable("no", retry_after_seconds=7), count=3)
    assert all(7 <= pause <= 7 + 2 for pause in pauses)
    assert len(set(pauses)) == 3


def test_who_waits_in_the_queue_pauses_nowhere_else() -> None:
    """Where admission holds everybody back, a pause of one's own would only cost the place in the order."""
    fault = RateLimited("no", retry_after_seconds=7)
    fault.waits_in_queue = True
    assert _pauses(fault, count=3) == [0, 0, 0]


async def test_a_rate_limit_holds_everybody_back() -> None:
    """Other calls to the provider wait as well. They would only be refused too."""
    lab = Lab(by_step({"summary": [RateLimited("no", retry_after_seconds=7)]}), limits=Limits(max_concurrency=1))
    started = lab.timer.time()
    await lab.analyze()
    assert lab.timer.time() >= started + 7
    assert sum(seconds for constraint, seconds in lab.waits if constraint == "gate") == pytest.approx(2 * 7)
    order = [request.step for request in lab.client.requests]
    assert order[0] == "summary"
    assert sorted(order[1:]) == ["category", "summary"]


async def test_an_empty_account_holds_everybody_back() -> None:
    """One call is tried every ten seconds, as often as it takes, and the document is never to blame."""
    lab = Lab(by_step({"summary": [QuotaExhausted("empty")] * 20}), limits=Limits(max_concurrency=1))
    started = lab.timer.time()
    assert await lab.analyze() == OUTPUTS
    assert lab.timer.time() >= started + 20 * 10
    assert sum(seconds for constraint, seconds in lab.waits if constraint == "circuit") >= 20 * 10
    assert lab.sleep.pauses == [0.0] * 20, "its place to wait is the queue"


async def test_a_document_that_backs_off_holds_no_slot() -> None:
    """Others use it meanwhile."""
    others: list[dict[str, Any]] = []

    async def sleep(_seconds: float) -> None:
        assert lab.free_slots() == 1
        others.append(await lab.analyze("another"))

    lab = Lab(
        by_step({"summary": [ProviderUnavailable("no")]}),
        sleep=sleep,
        steps=steps()[:1],
        limits=Limits(max_concurrency=1),
    )
    await lab.analyze()
    assert len(others) == 1


async def test_never_more_calls_than_allowed() -> None:
    """However many documents are worked on."""
    lab = Lab(limits=Limits(max_concurrency=3))
    await asyncio.gather(*(lab.analyzer.analyze(f"text {number}", DocumentUsage()) for number in range(20)))
    assert lab.client.most_in_flight == 3
    assert lab.free_slots() == 3


# When a document is to blame


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


# When an answer is none


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


JUDGED: list[tuple[Answer, DeadLetterReason, str]] = [
    (say("", refusal="I cannot help with that."), DeadLetterReason.REFUSED, "the model refused to answer"),
    (say("", finish_reason="content_filter"), DeadLetterReason.CONTENT_FILTERED, "content filter"),
    (say('{"category": "te', finish_reason="length"), DeadLetterReason.TRUNCATED, "max_output_tokens"),
]


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


_CUT = JUDGED[2][0]


async def test_a_cut_answer_is_asked_for_with_more_room_once() -> None:
    """Four times the bound. What is cut there too names it, for that is the setting that must be raised."""
    bounded = steps({"name": "k", "prompt": "P", "output": {"type": "text"}, "max_output_tokens": 77})
    lab = Lab(in_turn(_CUT), steps=bounded)
    assert await lab.analyze() == {"k": "words"}
    assert [request.sampling.max_output_tokens for request in lab.client.requests] == [77, 308]
    assert lab.samples("retries_total") == {("k", "truncated"): 1}
    still = Lab(in_turn(_CUT, _CUT), steps=bounded)
    assert "max_output_tokens (308)" in str(await still.rejection())
    assert len(still.client.requests) == 2


async def test_a_cut_answer_without_a_bound_of_ours_is_not_asked_for_again() -> None:
    """It is the model's own bound, and would be the same."""
    lab = Lab(in_turn(_CUT), steps=steps()[:1])
    assert (await lab.rejection()).reason is DeadLetterReason.TRUNCATED
    assert len(lab.client.requests) == 1


async def test_more_room_than_the_model_gives_leaves_the_answer_cut() -> None:
    """The refusal is of our own remedy: it says nothing of the document, nor of other calls."""
    refusal = CallRefused("max_tokens is too large", kind="unknown", remedy="lower it", parameter="max_tokens")

    def reply(request: ChatRequest) -> Reply:
        return refusal if request.is_roomier else _CUT

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


# When one step fails


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
    """The other steps are let go of, whatever they wait for, and nothing stays in flight."""
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
    """A drain lets go of documents that wait."""
    lab = Lab(limits=Limits(max_concurrency=1, tokens_per_minute=60_000))
    lab.client.hold()
    task = asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage()))
    await settled()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert lab.free_slots() == 1
    assert lab.admission.limited_by() is None


# What is counted


async def test_spending_is_the_sum_of_all_attempts_and_the_metrics_equal_it() -> None:
    """Good answers, bad ones, and calls without an answer."""
    replies: dict[str, list[Reply]] = {
        "summary": [ProviderUnavailable("500"), NONSENSE],
        "category": [RateLimited("429"), say("", usage=Usage(input_tokens=7, output_tokens=3), refusal="no")],
    }
    lab, document_usage = Lab(by_step(replies)), DocumentUsage()
    await lab.rejection(document_usage)
    assert document_usage.attempts == 5
    assert document_usage.usage == USAGE + USAGE + Usage(input_tokens=7, output_tokens=3)
    assert document_usage.cost_usd == 2 * COST + Decimal("0.000037")
    assert lab.samples("llm_requests_total") == {
        ("summary", MODEL, "unavailable"): 1,
        ("summary", MODEL, "ok"): 2,
        ("category", MODEL, "rate_limited"): 1,
        ("category", MODEL, "refused"): 1,
    }
    assert sum(lab.samples("llm_requests_total").values()) == document_usage.attempts
    tokens = lab.samples("llm_tokens_total")
    assert {key: value for key, value in tokens.items() if key[0] == "category"} == {
        ("category", MODEL, "input"): 7,
        ("category", MODEL, "output"): 3,
    }
    by_direction = {
        direction: sum(value for key, value in tokens.items() if key[2] == direction)
        for direction in ("input", "output", "cached_input")
    }
    assert by_direction == {
        "input": document_usage.usage.input_tokens,
        "output": document_usage.usage.output_tokens,
        "cached_input": document_usage.usage.cached_tokens,
    }
    assert sum(lab.samples("llm_cost_usd_total").values()) == pytest.approx(float(document_usage.cost_usd))
    assert sum(lab.samples("llm_request_duration_seconds_count").values()) == 3


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (RateLimited("x"), "rate_limited"),
        (QuotaExhausted("x"), "quota_exhausted"),
        (CallTimedOut("x"), "timeout"),
        (ProviderUnavailable("x"), "unavailable"),
    ],
)
async def test_a_call_without_an_answer_is_counted_by_its_fault(fault: AttemptFailed, outcome: str) -> None:
    """As an attempt, without tokens."""
    lab, document_usage = Lab(in_turn(fault), steps=steps()[:1]), DocumentUsage()
    await lab.analyze(document_usage=document_usage)
    assert lab.samples("llm_requests_total") == {("summary", MODEL, outcome): 1, ("summary", MODEL, "ok"): 1}
    assert document_usage.usage == USAGE
    assert document_usage.first_failed_at is not None


async def test_the_outcomes_of_faults_that_end_a_call() -> None:
    """A rejection by its reason, a fault of the world by its class."""
    lab = Lab(of_documents(lambda _: RecordRejected(DeadLetterReason.TOO_LARGE, "413")), steps=steps()[:1])
    await lab.rejection()
    requests = lab.samples("llm_requests_total")
    assert requests == {("summary", MODEL, "too_large"): 1, ("summary", MODEL, "trial"): 1}
    lab = Lab(in_turn(ProviderMisconfigured("401")), steps=steps()[:1])
    with pytest.raises(ServiceFault):
        await lab.analyze()
    assert lab.samples("llm_requests_total") == {("summary", MODEL, "ProviderMisconfigured"): 1}


async def test_usage_that_is_not_reported_is_estimated() -> None:
    """So a budget holds, and the log says so once. The reservation stays taken, for the tokens were used."""
    lab = Lab(
        in_turn(say('{"summary": ["a", "b"]}', usage=None)),
        steps=steps()[:1],
        limits=Limits(max_concurrency=1, tokens_per_minute=60_000),
    )
    document_usage = DocumentUsage()
    with structlog.testing.capture_logs() as logs:
        await lab.analyze(document_usage=document_usage)
    asked = sum(len(message.content.encode()) for message in lab.client.requests[0].messages)
    assert document_usage.usage == Usage(
        input_tokens=round(asked / 4), output_tokens=round(len('{"summary": ["a", "b"]}') / 4)
    )
    assert document_usage.cost_usd == FakePrices().cost_usd(MODEL_REF, document_usage.usage)
    assert [entry["event"] for entry in logs] == ["usage.unknown"]
    assert lab.admission.limits_and_available()["tokens"][1] == pytest.approx(0, abs=1)


async def test_a_model_without_a_price_is_told_once() -> None:
    """Its calls count as free."""
    free = steps(*({**task, "model": "free"} for task in ({"name": "k", "prompt": "P", "output": {"type": "text"}},)))
    lab, document_usage = Lab(steps=free), DocumentUsage()
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            await lab.analyze(document_usage=document_usage)
    assert [(entry["event"], entry["model"]) for entry in logs] == [("price.unknown", "free")]
    assert document_usage.cost_usd == 0
    assert document_usage.usage.input_tokens == 300


async def test_actual_usage_settles_the_reservation() -> None:
    """What was reserved and not used is there for the next call."""
    lab = Lab(steps=steps()[:1], limits=Limits(max_concurrency=1, tokens_per_minute=60_000))
    await lab.analyze()
    # It waited for 256 tokens of output and some of input to come, and used 110 of them.
    assert lab.admission.limits_and_available()["tokens"][1] > 100


async def test_estimates_learn_from_what_is_reported() -> None:
    """The second document of a kind reserves what the first one used."""
    lab = Lab(steps=steps()[:1], limits=Limits(max_concurrency=1, tokens_per_minute=60_000))
    await lab.analyze()
    lab.client.hold()
    before = lab.timer.time()
    lab.timer.advance(60)
    task = asyncio.create_task(lab.analyzer.analyze(SECRET_TEXT, DocumentUsage()))
    await settled()
    assert lab.admission.limits_and_available()["tokens"][1] == pytest.approx(500 - 110)
    assert lab.timer.time() == before + 60
    lab.client.release()
    await task


async def test_what_is_invested_are_calls_under_way_or_answered() -> None:
    """Without any, nothing would be wasted by letting go of the document."""
    lab, document_usage = Lab(limits=Limits(max_concurrency=1)), DocumentUsage()
    lab.client.hold()
    first = asyncio.create_task(lab.analyzer.analyze("one", DocumentUsage()))
    await settled()
    second = asyncio.create_task(lab.analyzer.analyze("two", document_usage))
    await settled()
    assert document_usage.invested == 0
    lab.client.release()
    await asyncio.gather(first, second)
    assert document_usage.invested == 2


async def test_a_document_that_only_backs_off_has_nothing_invested() -> None:
    """A failed call holds nothing worth waiting for."""
    seen: list[int] = []

    async def sleep(_seconds: float) -> None:
        seen.append(document_usage.invested)

    lab, document_usage = Lab(in_turn(ProviderUnavailable("500")), sleep=sleep, steps=steps()[:1]), DocumentUsage()
    await lab.analyze(document_usage=document_usage)
    assert seen == [0]
    assert document_usage.invested == 1


# What is said


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


# Chains of models


def _chain(*models: str) -> tuple[Step, ...]:
    return steps({"name": "summary", "prompt": "P", "output": {"type": "text", "sentences": 2}, "model": list(models)})


def _failing(*models: str, fault: Exception | None = None) -> Replies:
    def reply(request: ChatRequest) -> Reply:
        return (fault or ProviderUnavailable("no")) if str(request.model) in models else right(request)

    return of_documents(reply) if fault else reply


def _asked(lab: Lab) -> list[str]:
    return [str(request.model) for request in lab.client.requests]


async def test_the_first_choice_is_asked_while_it_is_well() -> None:
    """The others cost nothing until they are needed. The result names who answered."""
    lab, document_usage = Lab(steps=_chain("first", "second")), DocumentUsage()
    await lab.analyze(document_usage=document_usage)
    assert _asked(lab) == ["first"]
    assert document_usage.models == {"summary": "first"}


async def test_the_second_choice_is_asked_while_the_first_fails() -> None:
    """From the fifth fault in a row on, and the document that met it goes on at once. Later ones do not even try."""
    lab = Lab(_failing("first"), steps=_chain("first", "second"))
    document_usage = DocumentUsage()
    assert await lab.analyze(document_usage=document_usage) == {"summary": OUTPUTS["summary"]}
    assert _asked(lab) == ["first"] * 5 + ["second"]
    assert document_usage.models == {"summary": "second"}
    await lab.analyze("another")
    assert _asked(lab)[6:] == ["second"]


async def test_a_first_choice_that_is_well_again_is_found_out() -> None:
    """A document is its probe now and then, and when it is answered all go back."""
    lab = Lab(_failing("first"), steps=_chain("first", "second"))
    await lab.analyze()
    lab.client.reply = right
    lab.timer.advance(5)
    await lab.analyze("another")
    await lab.analyze("a third")
    assert _asked(lab)[6:] == ["first", "first"]


async def test_with_all_failing_the_first_choice_is_waited_for() -> None:
    """Nothing is lost, and nobody runs in circles."""
    lab = Lab(_failing("first", "second"), steps=_chain("first", "second"))
    task = asyncio.create_task(lab.analyze())
    await settled(2000)
    lab.client.reply = right
    assert await task == {"summary": OUTPUTS["summary"]}


async def test_a_document_too_large_for_the_first_choice() -> None:
    """Where its context is known no call is wasted. Where the provider has to say it, two are: ours is the second."""
    known = Lab(steps=_chain("small", "large"), context_tokens={"small": 10})
    await known.analyze()
    assert _asked(known) == ["large"]
    fault = RecordRejected(DeadLetterReason.TOO_LARGE, "context length")
    told = Lab(_failing("small", fault=fault), steps=_chain("small", "large"))
    await told.analyze()
    assert _asked(told) == ["small", "small", "large"]


async def test_a_document_that_the_first_choice_may_have_room_for() -> None:
    """One that most likely has is asked first, and the other one only where that one says that it has not."""
    text = "x" * 1_000
    likely = Lab(steps=_chain("small", "large"), context_tokens={"small": 300, "large": 1_000})
    await likely.analyze(text)
    assert _asked(likely) == ["large"]
    fault = RecordRejected(DeadLetterReason.TOO_LARGE, "context length")
    told = Lab(_failing("large", fault=fault), steps=_chain("small", "large"), context_tokens={"small": 300})
    await told.analyze(text)
    assert _asked(told) == ["large", "large", "small"]


async def test_a_document_too_large_for_all() -> None:
    """It is rejected for it, without a call where the contexts are known."""
    known = Lab(steps=_chain("small", "smaller"), context_tokens={"small": 2, "smaller": 1})
    rejection = await known.rejection()
    assert rejection.reason is DeadLetterReason.TOO_LARGE
    assert "small has a context of 2" in str(rejection)
    assert _asked(known) == []
    fault = RecordRejected(DeadLetterReason.TOO_LARGE, "context length")
    told = Lab(_failing("small", "smaller", fault=fault), steps=_chain("small", "smaller"))
    assert (await told.rejection()).reason is DeadLetterReason.TOO_LARGE
    assert _asked(told) == ["small", "small", "smaller", "smaller"]


def _no_room_for_a_remedy(answer: Answer) -> Replies:
    """A first choice that answers badly, and to which every remedy is too large. The second one is well."""

    def reply(request: ChatRequest) -> Reply:
        if str(request.model) != "first":
            return right(request)
        is_remedy = len(request.messages) > 2 or request.sampling.max_output_tokens != 77
        too_large = RecordRejected(DeadLetterReason.TOO_LARGE, "context length", model=model_ref("first"))
        return too_large if is_remedy else answer

    return reply


@pytest.mark.parametrize(
    ("answer", "reason"), [(NONSENSE, DeadLetterReason.INVALID_ANSWER), (_CUT, DeadLetterReason.TRUNCATED)]
)
async def test_a_remedy_that_is_too_large_makes_no_document_so(answer: Answer, reason: DeadLetterReason) -> None:
    """It stays what it was, and the next model is asked. With none left it is not cut to pieces for it either."""
    task = {"name": "k", "prompt": "P", "output": {"type": "text"}, "max_output_tokens": 77, "long": "split"}
    reply = _no_room_for_a_remedy(answer)
    assert await Lab(reply, steps=steps({**task, "model": ["first", "second"]})).analyze() == {"k": "words"}
    alone = Lab(reply, steps=steps({**task, "model": "first"}))
    assert (await alone.rejection()).reason is reason
    assert len(alone.client.requests) == 2


@pytest.mark.parametrize("chain", [("small", "large"), ("large", "small")])
async def test_a_document_that_one_model_has_read_is_not_too_large(chain: tuple[str, str]) -> None:
    """Whatever that one had to say of it is the reason, and not that the other one has no room."""
    lab = Lab(lambda _: JUDGED[0][0], steps=_chain(*chain), context_tokens={"small": 2})
    rejection = await lab.rejection()
    assert (rejection.reason, str(rejection.model)) == (DeadLetterReason.REFUSED, "large")
    assert _asked(lab) == ["large"]


_BAD_ANSWERS = [
    (RecordRejected(DeadLetterReason.REJECTED, "no", model=model_ref("first")), 2),  # a text of our own is tried
    (JUDGED[0][0], 1),
    (JUDGED[1][0], 1),
    (_CUT, 1),
    (NONSENSE, 2),  # its repair is asked of it too
]


@pytest.mark.parametrize(("bad", "calls"), _BAD_ANSWERS)
async def test_what_one_model_cannot_answer_the_next_may(bad: Reply, calls: int) -> None:
    """Before a document is given up, every model of the chain is asked."""
    reply = of_documents(lambda request: bad if str(request.model) == "first" else right(request))
    lab = Lab(reply, steps=_chain("first", "second"))
    document_usage = DocumentUsage()
    assert await lab.analyze(document_usage=document_usage) == {"summary": OUTPUTS["summary"]}
    assert _asked(lab) == ["first"] * calls + ["second"]
    assert document_usage.models == {"summary": "second"}
    assert document_usage.first_failed_at is not None


async def test_what_no_model_can_answer_is_told_by_the_last() -> None:
    """Each once, and then it is the document's fault."""
    lab = Lab(lambda _: say("", refusal="no"), steps=_chain("first", "second", "third"))
    rejection = await lab.rejection()
    assert (rejection.reason, str(rejection.model)) == (DeadLetterReason.REFUSED, "third")
    assert _asked(lab) == ["first", "second", "third"]


# Money and tiers


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


# One document that spoils it for others


def _spoilt(fault: AttemptFailed, *, is_down: Callable[[], bool] = lambda: False) -> Replies:
    def reply(request: ChatRequest) -> Reply:
        is_bad = SECRET_TEXT in request.messages[-1].content
        return fault if is_bad or is_down() else right(request)

    return reply


async def test_a_document_that_fails_for_good_keeps_no_outage_going() -> None:
    """It was the oldest of those that waited: once the model is well the others are done, and then it is given up."""
    begin = ManualTimer().time()
    town = Town(_spoilt(ProviderUnavailable("500"), is_down=lambda: town.lab.timer.time() < begin + 10))
    others = [f"text {number}" for number in range(50)]
    await town.come(SECRET_TEXT, *others)
    await town.lab.timer.run(10)
    assert town.ended() == []
    await town.lab.timer.run(60)
    assert set(others) <= set(town.ended())
    for number in range(20):
        await town.come(f"later text {number}")
        await town.lab.timer.run(60)
    assert all(task.exception() is None for text, task in town.tasks.items() if text != SECRET_TEXT)
    assert isinstance(town.tasks[SECRET_TEXT].exception(), RecordRejected)
    await town.close()


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [(ProviderUnavailable("500"), 600), (CallTimedOut("slow"), 600), (AnswerUnreadable("no JSON"), 2400)],
)
@pytest.mark.parametrize("count", [1, 10])
async def test_documents_that_fail_for_good_end_without_others(fault: AttemptFailed, seconds: int, count: int) -> None:
    """A text of our own is answered, and tells what documents of others would. What may be paid for is asked seldom."""
    town = Town(_spoilt(fault))
    texts = [f"{SECRET_TEXT} {number}" for number in range(count)]
    await town.come(*texts)
    await town.lab.timer.run(seconds)
    assert sorted(town.ended()) == sorted(texts)
    assert {type(town.tasks[text].exception()) for text in texts} == {RecordRejected}
    await town.come("a sound text")
    await town.lab.timer.run(10)
    assert "a sound text" in town.ended()
    await town.close()


@pytest.mark.parametrize("count", [1, 5, 20])
async def test_documents_that_are_refused_for_good_end_without_others(count: int) -> None:
    """The model has answered others before. A text of our own is answered, and tells that it still would."""
    town = Town(_spoilt(CallRefused("403", kind="permission", remedy="")))
    texts = [f"{SECRET_TEXT} {number}" for number in range(count)]
    await town.come("a sound text", *texts)
    await town.lab.timer.run(600)
    assert sorted(town.ended()) == sorted(town.tasks)
    assert {type(town.tasks[text].exception()) for text in texts} == {RecordRejected}
    await town.close()


async def test_a_gateway_that_keeps_answers_blames_no_document_for_an_outage() -> None:
    """No two texts of our own are alike, so none is answered by anybody but the model."""
    kept: set[str] = set()

    def reply(request: ChatRequest) -> Reply:
        text = request.messages[-1].content
        is_kept = text in kept
        if "harbour office" in text:
            kept.add(text)
        return right(request) if is_kept else ProviderUnavailable("500")

    town = Town(reply)
    await town.come("a sound text")
    await town.lab.timer.run(3600)
    assert town.ended() == []
    await town.close()


async def test_in_an_outage_a_lone_document_waits_and_texts_of_our_own_are_few() -> None:
    """They fail as well, which tells nothing. Once they are answered, so is it."""
    begin = ManualTimer().time()
    town = Town(_spoilt(ProviderUnavailable("500"), is_down=lambda: town.lab.timer.time() < begin + 3600))
    await town.come("a sound text")
    await town.lab.timer.run(3590)
    assert town.ended() == []
    own = sum("harbour office" in request.messages[-1].content for request in town.lab.client.requests)
    assert 1 <= own <= 65, "one a minute"
    await town.lab.timer.run(40)
    assert town.ended() == ["a sound text"]
    await town.close()


@pytest.mark.parametrize(("share", "least"), [(0.5, 500), (0.9, 150)])
async def test_work_goes_on_where_most_calls_fail(share: float, least: int) -> None:
    """Of 500 documents in 100 seconds, and none becomes a dead letter. One probe at a time does ten."""
    chance = random.Random(1)
    town = Town(
        lambda request: ProviderUnavailable("503") if chance.random() < share else right(request),
        limits=Limits(max_concurrency=16),
    )
    await town.come(*(f"text {number}" for number in range(500)))
    await town.lab.timer.run(100)
    assert len(town.ended()) >= least
    assert not any(town.tasks[text].exception() for text in town.ended())
    await town.close()


async def test_a_stream_of_which_a_third_fails_for_good_goes_on() -> None:
    """Those are given up one by one: as many open records as there may be are never all of that kind."""
    town = Town(_spoilt(ProviderUnavailable("500")), limits=Limits(max_concurrency=16))
    texts = (f"{SECRET_TEXT if number % 3 == 0 else 'text'} {number}" for number in itertools.count())
    for _ in range(120):
        are_open = len(town.tasks) - len(town.ended())
        await town.come(*itertools.islice(texts, 128 - are_open))
        await town.lab.timer.run(1)
    good = {text for text in town.ended() if text.startswith("text")}
    assert len(good) >= 450
    assert all((town.tasks[text].exception() is None) == (text in good) for text in town.ended())
    await town.close()


async def test_a_document_that_is_refused_for_good_stops_nobody() -> None:
    """It pauses by itself, ever longer, while others are answered, and is never given up."""
    town = Town(_spoilt(RateLimited("429")), limits=Limits(max_concurrency=16))
    others = [f"text {number}" for number in range(1000)]
    await town.come(SECRET_TEXT, *others)
    await town.lab.timer.run(60)
    assert len(town.ended()) >= 600, "of 1920 without it"
    assert SECRET_TEXT not in town.ended()
    await town.close()


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


KINDS = st.sampled_from(["good", "good", "500", "429", "slow"])


@example(  # the first "500" must not be the next one each time a text of our own is answered
    documents=[
        *(("good", 0.0), ("429", 0.0), ("429", 5.0), ("500", 0.0), ("good", 0.0), ("429", 0.0), ("good", 0.0)),
        *(("500", 0.0), ("500", 0.0), ("429", 0.0), ("good", 0.0)),
    ],
    slots=2,
    outage=("none", 0),
    max_attempts=1,
)
@settings(max_examples=examples(40))
@given(
    documents=st.lists(st.tuples(KINDS, st.sampled_from([0.0, 0.0, 0.3, 5.0])), max_size=12),
    slots=st.integers(1, 4),
    outage=st.tuples(st.sampled_from(["none", "500", "429"]), st.integers(0, 20)),
    max_attempts=st.integers(1, 3),
)
async def test_whoever_can_be_answered_is_answered(
    documents: list[tuple[str, float]], slots: int, outage: tuple[str, int], max_attempts: int
) -> None:
    """Whatever the documents round it are like, and through any outage: none stands behind them, none is given up."""
    faults = {"500": ProviderUnavailable("500"), "429": RateLimited("429"), "slow": CallTimedOut("slow")}
    end = ManualTimer().time() + outage[1]

    def reply(request: ChatRequest) -> Reply:
        kind = request.messages[-1].content.split()[-1]
        if outage[0] != "none" and town.lab.timer.time() < end:
            kind = outage[0]
        return faults.get(kind) or right(request)

    town = Town(reply, limits=Limits(max_concurrency=slots), max_attempts=max_attempts)
    for number, (kind, pause) in enumerate(documents):
        await town.come(f"text {number} {kind}")
        await town.lab.timer.run(pause)
    await town.lab.timer.run(240)
    good = [text for text in town.tasks if text.endswith("good")]
    assert set(good) <= set(town.ended())
    assert all(town.tasks[text].exception() is None for text in good)
    assert not any(text.endswith("429") for text in town.ended())
    await town.close()

"""What calls cost, whom it is counted for, and what the metrics say of it."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
import structlog

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import (
    AttemptFailed,
    CallTimedOut,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
    ServiceFault,
)
from tests.fakes.analysis import COST, NONSENSE
from tests.fakes.chat import USAGE, Reply, by_step, in_turn, of_documents, say
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL, MODEL_REF, FakePrices
from tests.fakes.samples import SECRET_TEXT, steps
from tests.fakes.timer import settled


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
    """The second document of a kind waits for what the first one used. That much has come back."""
    lab = Lab(steps=steps()[:1], limits=Limits(max_concurrency=1, tokens_per_minute=60_000))
    await lab.analyze()
    lab.client.hold()
    task = asyncio.create_task(lab.analyzer.analyze(SECRET_TEXT, DocumentUsage()))
    await settled()
    assert lab.admission.limited_by() is None, "it waits for 256 tokens of output, as the first one did"
    lab.client.release()
    await task


async def test_what_is_invested_are_calls_under_way_or_answered() -> None:
    """Without any, nothing would be wasted by cancelling the document."""
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

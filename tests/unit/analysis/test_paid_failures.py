"""Calls that fail and are paid for all the same."""

from __future__ import annotations

from decimal import Decimal

import pytest

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import AnswerUnreadable, AttemptFailed, ProviderUnavailable, RecordRejected
from tests.fakes.chat import in_turn, of_documents
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL, MODEL_REF, FakePrices
from tests.fakes.samples import steps

USED = Usage(input_tokens=5_000, output_tokens=500)


def _paid(fault: AttemptFailed, *, usage: Usage | None = USED, stated: Decimal | None = None) -> AttemptFailed:
    fault.usage, fault.stated_cost_usd = usage, stated
    return fault


@pytest.mark.parametrize(
    "fault",
    [ProviderUnavailable("the answer was broken off"), AnswerUnreadable("HTML")],
    ids=["unavailable", "answer_unreadable"],
)
async def test_what_a_failed_call_has_used_is_counted(fault: AttemptFailed) -> None:
    """For the document, in the metrics and against the limit of tokens."""
    limits = Limits(max_concurrency=1, tokens_per_minute=60_000)
    lab, document_usage = Lab(in_turn(_paid(fault)), steps=steps()[:1], limits=limits), DocumentUsage()
    await lab.analyze(document_usage=document_usage)
    assert document_usage.usage.input_tokens == USED.input_tokens + 100
    assert document_usage.cost_usd > (FakePrices().cost_usd(MODEL_REF, USED) or 0)
    assert lab.samples("llm_cost_usd_total")[("summary", MODEL, fault.outcome)] > 0


async def test_a_stated_cost_without_usage_is_counted() -> None:
    """An error inside a 200 may tell its cost alone."""
    fault = _paid(ProviderUnavailable("502"), usage=None, stated=Decimal("0.5"))
    free = steps({"name": "k", "prompt": "P", "output": {"type": "text"}, "model": "other"})
    lab, document_usage = Lab(in_turn(fault), steps=free), DocumentUsage()
    await lab.analyze(document_usage=document_usage)
    assert document_usage.cost_usd == Decimal("0.5")


async def test_what_a_rejected_call_has_used_is_counted() -> None:
    """A filter of the provider's may block an answer that was written and is billed."""
    fault = RecordRejected(DeadLetterReason.CONTENT_FILTERED, "blocked")
    fault.usage = USED
    limits = Limits(max_concurrency=1, tokens_per_minute=60_000)
    lab, document_usage = Lab(of_documents(lambda _: fault), steps=steps()[:1], limits=limits), DocumentUsage()
    await lab.rejection(document_usage)
    assert document_usage.usage.input_tokens == USED.input_tokens + 100
    assert lab.samples("llm_cost_usd_total")[("summary", MODEL, "content_filtered")] > 0

"""What is tried again, after which pause, and who is held back meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import tenacity

from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.model_caller import _pause_seconds
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import AttemptFailed, CallTimedOut, ProviderUnavailable, QuotaExhausted, RateLimited
from tests.fakes.analysis import OUTPUTS
from tests.fakes.chat import by_step
from tests.fakes.lab import Lab
from tests.fakes.samples import steps


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

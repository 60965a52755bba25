"""Calls that are refused: one document's affair, or everybody's."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import (
    CallRefused,
    CallTimedOut,
    ProviderMisconfigured,
    ProviderUnavailable,
    RateLimited,
    RecordRejected,
    RefusalKind,
)
from docsluice_consumer.llm.chat import ChatRequest
from tests.examples import examples
from tests.fakes.chat import USAGE, Reply, right
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL, MODEL_REF
from tests.fakes.samples import SECRET_TEXT, TASKS, steps
from tests.fakes.timer import settled
from tests.fakes.town import Town

KINDS: list[RefusalKind] = ["credentials", "permission", "model", "path", "proxy", "unknown"]


def refusal(kind: RefusalKind, *, is_certain: bool = False) -> CallRefused:
    return CallRefused("400 odd: words", kind=kind, remedy="see to the setting", is_certain=is_certain)


def _ends(town: Town) -> dict[str, BaseException | None]:
    return {text: task.exception() for text, task in town.tasks.items() if task.done()}


@pytest.mark.parametrize("kind", KINDS)
async def test_one_document_among_others_is_rejected_and_nobody_else_feels_it(kind: RefusalKind) -> None:
    """Though it is the first of all, before the model has answered anybody."""
    town = Town(lambda request: refusal(kind) if "odd" in request.messages[-1].content else right(request))
    await town.come("odd", *(f"text {number}" for number in range(20)))
    await town.lab.timer.run(60)
    ends = _ends(town)
    assert isinstance(ends.pop("odd"), RecordRejected)
    assert list(ends.values()) == [None] * 20
    await town.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_of_all_stops_the_service_before_anything_was_answered(kind: RefusalKind) -> None:
    """With the setting and the provider's words, and no document becomes a dead letter for it."""
    town = Town(lambda _: refusal(kind))
    await town.come(*(f"text {number}" for number in range(5)))
    await town.lab.timer.run(60)
    faults = [end for end in _ends(town).values() if isinstance(end, ProviderMisconfigured)]
    assert str(faults[0]) == "see to the setting: 400 odd: words"
    assert not any(isinstance(end, RecordRejected) for end in _ends(town).values())
    await town.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_refusal_of_all_in_a_running_service_is_waited_out(kind: RefusalKind) -> None:
    """A key that is revoked at noon: the circuit opens, documents wait, and all are answered once it is fixed."""
    refuses: list[bool] = []

    def reply(request: ChatRequest) -> Reply:
        return refusal(kind, is_certain=kind == "credentials") if refuses else right(request)

    town = Town(reply)
    await town.come("before")
    await town.lab.timer.run(1)
    refuses.append(True)
    with structlog.testing.capture_logs() as logs:
        await town.come(*(f"text {number}" for number in range(20)))
        await town.lab.timer.run(120)
    assert list(_ends(town)) == ["before"]
    assert town.lab.admission.circuits() == {MODEL_REF: True}
    assert any(line["event"] == "provider.refuses" and line["error"] == "400 odd: words" for line in logs)
    refuses.clear()
    await town.lab.timer.run(30)
    assert list(_ends(town).values()) == [None] * 21
    await town.close()


@pytest.mark.parametrize("is_certain", [True, False])
async def test_a_model_that_refuses_all_gives_way_to_the_next_one_loudly(*, is_certain: bool) -> None:
    """The chain goes on, and the log says what is wrong with its first choice."""
    chain = steps({**TASKS[0], "model": ["gone", "here"]})
    town = Town(
        lambda request: refusal("model", is_certain=is_certain) if str(request.model) == "gone" else right(request),
        steps=chain,
    )
    with structlog.testing.capture_logs() as logs:
        await town.come(*(f"text {number}" for number in range(8)))
        await town.lab.timer.run(60)
    assert list(_ends(town).values()) == [None] * 8
    assert {(line["event"], line["model"]) for line in logs if line["log_level"] == "error"} == {
        ("provider.refuses", "gone")
    }
    await town.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_lone_document_stops_the_service_only_if_a_text_of_our_own_is_refused_too(kind: RefusalKind) -> None:
    """Nobody else is there whose call could tell, so one of ours does: nothing is rejected for the settings."""
    lab = Lab(lambda _: refusal(kind), steps=steps()[:1])
    with pytest.raises(ProviderMisconfigured):
        await lab.analyze()
    assert len(lab.client.requests) == 4
    odd = Lab(lambda request: refusal(kind) if SECRET_TEXT in request.messages[-1].content else right(request))
    assert (await odd.rejection()).reason is DeadLetterReason.REJECTED


async def test_a_call_about_a_text_of_our_own_is_counted() -> None:
    """It is paid for like any other, and the metrics tell it from the rest."""
    lab = Lab(
        lambda request: refusal("path") if SECRET_TEXT in request.messages[-1].content else right(request),
        steps=steps()[:1],
    )
    document_usage = DocumentUsage()
    await lab.rejection(document_usage)
    trials = int(lab.samples("llm_requests_total")[("summary", MODEL, "trial")])
    assert 1 <= trials <= 6
    assert document_usage.usage.input_tokens == trials * USAGE.input_tokens


@settings(max_examples=examples(60))
@given(
    odd=st.lists(st.sampled_from(KINDS), max_size=4),
    sound=st.integers(1, 12),
    first=st.booleans(),
    slots=st.integers(1, 5),
)
async def test_nothing_that_is_about_single_documents_stops_the_others(
    odd: list[RefusalKind], sound: int, slots: int, *, first: bool
) -> None:
    """Whatever they are refused for, in whatever order: the others are answered, and the service goes on."""
    texts = [f"odd {number} {kind}" for number, kind in enumerate(odd)]
    others = [f"text {number}" for number in range(sound)]

    def reply(request: ChatRequest) -> Reply:
        kind = next((kind for kind in KINDS if request.messages[-1].content.endswith(f" {kind}")), None)
        return right(request) if kind is None else refusal(kind)

    town = Town(reply, limits=Limits(max_concurrency=slots))
    await town.come(*(texts + others if first else others + texts))
    await settled()
    await town.lab.timer.run(240)
    ends = _ends(town)
    assert not any(isinstance(end, ProviderMisconfigured) for end in ends.values())
    assert [ends.get(text, "waits") for text in others] == [None] * sound
    await town.close()


@settings(max_examples=examples(40))
@given(kind=st.sampled_from(KINDS), documents=st.integers(1, 12), slots=st.integers(1, 5))
async def test_of_documents_that_are_refused_alike_at_most_one_is_a_dead_letter(
    kind: RefusalKind, documents: int, slots: int
) -> None:
    """An unknown complaint about all of them is the world's."""
    town = Town(lambda _: refusal(kind), limits=Limits(max_concurrency=slots))
    for number in range(documents):
        await town.come(f"text {number}")
        await town.lab.timer.run(0.3)
    await town.lab.timer.run(120)
    assert sum(isinstance(end, RecordRejected) for end in _ends(town).values()) <= 1
    await town.close()


async def test_a_step_that_is_refused_for_all_holds_no_other_step() -> None:
    """A server may refuse one step's schema: the others are answered, and the documents go on once it is fixed."""
    refuses = [True]

    def reply(request: ChatRequest) -> Reply:
        return refusal("unknown") if refuses and request.step == "category" else right(request)

    town = Town(reply, steps=steps()[:2])
    with structlog.testing.capture_logs() as logs:
        await town.come(*(f"text {number}" for number in range(40)))
        await town.lab.timer.run(120)
    summaries = {request.messages[-1].content for request in town.lab.client.asked("summary")}
    assert len(summaries) == 40
    assert town.ended() == []
    assert town.lab.admission.circuits() == {MODEL_REF: False}
    assert len(town.lab.client.asked("category")) < 40 * 25, "each waits longer and longer, and so do texts of our own"
    assert {line["task"] for line in logs if line["event"] == "provider.refuses"} == {"category"}
    refuses.clear()
    await town.lab.timer.run(60)
    assert list(_ends(town).values()) == [None] * 40
    await town.close()


async def test_a_step_that_one_model_refuses_for_all_goes_to_the_next() -> None:
    """The other steps stay with the first choice."""

    def reply(request: ChatRequest) -> Reply:
        is_refused = request.step == "category" and str(request.model) == "first"
        return refusal("unknown") if is_refused else right(request)

    chain = [{**task, "model": ["first", "second"]} for task in TASKS[:2]]
    town = Town(reply, steps=steps(*chain))
    await town.come(*(f"text {number}" for number in range(20)))
    await town.lab.timer.run(120)
    assert list(_ends(town).values()) == [None] * 20
    assert {str(request.model) for request in town.lab.client.asked("summary")} == {"first"}
    await town.close()


JUDGEMENTS = [DeadLetterReason.TOO_LARGE, DeadLetterReason.CONTENT_FILTERED, DeadLetterReason.REJECTED]


@pytest.mark.parametrize("reason", JUDGEMENTS)
async def test_a_provider_that_judges_every_document_alike_judges_none(reason: DeadLetterReason) -> None:
    """A bound on the answer that no call can have, a filter that stops all: a short text of our own tells."""
    town = Town(lambda _: RecordRejected(reason, "400 too large"))
    await town.come(*(f"text {number}" for number in range(5)))
    await town.lab.timer.run(60)
    ends = list(_ends(town).values())
    assert [type(end) for end in ends] == [ProviderMisconfigured] * len(ends)
    assert ends
    assert "rejects even a short text of our own (task summary): 400 too large" in str(ends[0])
    await town.close()


@pytest.mark.parametrize("reason", JUDGEMENTS)
async def test_documents_that_are_judged_by_themselves_are_rejected(reason: DeadLetterReason) -> None:
    """Though they are the first of all, and the text of our own meets a failure."""

    def reply(request: ChatRequest) -> Reply:
        text = request.messages[-1].content
        if "odd" in text:
            return RecordRejected(reason, "400 too large")
        down = "harbour" in text and town.lab.timer.time() < up_at
        return ProviderUnavailable("503") if down else right(request)

    town = Town(reply)
    up_at = town.lab.timer.time() + 30
    await town.come("odd 1", "odd 2")
    await town.lab.timer.run(5)
    await town.come(*(f"text {number}" for number in range(5)))
    await town.lab.timer.run(60)
    ends = _ends(town)
    assert [type(ends.pop(text)) for text in ("odd 1", "odd 2")] == [RecordRejected] * 2
    assert list(ends.values()) == [None] * 5
    await town.close()


@pytest.mark.long
@pytest.mark.parametrize("slots", [8, 16])
@pytest.mark.parametrize("fault", ["500", "429", "slow"])
async def test_documents_that_always_fail_do_not_starve_those_behind_them(fault: str, slots: int) -> None:
    """Ten at the head of three hundred: the others take at most twice as long, after ten seconds to find that out."""
    faults = {"500": ProviderUnavailable("500"), "429": RateLimited("429"), "slow": CallTimedOut("slow")}

    def reply(request: ChatRequest) -> Reply:
        return faults[fault] if "poison" in request.messages[-1].content else right(request)

    town = Town(reply, limits=Limits(max_concurrency=slots), max_attempts=5)
    await town.come(*(f"poison {number}" for number in range(10)), *(f"text {number}" for number in range(290)))
    await town.lab.timer.run(10 + 2 * 290 * 0.5 / slots)
    assert sum(text.startswith("text") for text in town.ended()) == 290
    await town.lab.timer.run(600)
    ends = _ends(town)
    assert all(ends[f"text {number}"] is None for number in range(290))
    await town.close()

"""Which model of a chain is asked, and when the next one is."""

from __future__ import annotations

import asyncio

import pytest

from docsluice.messages import DeadLetterReason
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import ProviderUnavailable, RecordRejected
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.tasks.steps import Step
from tests.fakes.analysis import CUT, JUDGED, NONSENSE, OUTPUTS
from tests.fakes.chat import Replies, Reply, of_documents, right, say
from tests.fakes.lab import Lab
from tests.fakes.samples import steps
from tests.fakes.timer import settled


def _chain(*models: str) -> tuple[Step, ...]:
    return steps({"name": "summary", "prompt": "P", "output": {"type": "text", "sentences": 2}, "model": list(models)})


def _failing(*models: str, fault: Exception | None = None) -> Replies:
    def reply(request: ChatRequest) -> Reply:
        return (fault or ProviderUnavailable("no")) if str(request.model) in models else right(request)

    return of_documents(reply) if fault else reply


def _asked(lab: Lab) -> list[str]:
    return [str(request.model) for request in lab.client.requests]


async def test_the_first_choice_is_asked_while_it_is_well() -> None:
    """The others cost nothing until they are needed. The result names the model that answered."""
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
    ("answer", "reason"), [(NONSENSE, DeadLetterReason.INVALID_ANSWER), (CUT, DeadLetterReason.TRUNCATED)]
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
    (CUT, 1),
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

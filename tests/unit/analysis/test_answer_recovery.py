"""What becomes of an answer that the step cannot read, or only in part."""

from __future__ import annotations

import json
from typing import Any

import pytest
import structlog

from docsluice.messages import DeadLetterReason
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import ProviderMisconfigured, RecordRejected, ServiceFault
from docsluice_consumer.store.memory_store import MemoryStore
from docsluice_consumer.store.step_store import PaidStep
from tests.fakes.chat import USAGE, Reply, by_step, in_turn, say
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL, MODEL_REF
from tests.fakes.samples import TASKS, steps

LIST = {"name": "keywords", "prompt": "P", "output": {"type": "list", "items": 4, "at_least": 2}}
TEXT = {"name": "summary", "prompt": "P", "output": {"type": "text"}}


def _keywords(*items: str) -> Reply:
    return say(json.dumps({"keywords": items}))


def _lab(*replies: Reply, task: dict[str, Any] = LIST, **more: Any) -> Lab:
    return Lab(by_step({task["name"]: replies}), steps=steps(task), **more)


async def test_a_list_that_repeats_itself_is_asked_once_for_others() -> None:
    """The repair names which items repeat, and the answer to it is taken."""
    lab = _lab(_keywords("a", "b", "B", "a"), _keywords("a", "b", "c", "d"))
    assert await lab.analyze() == {"keywords": ["a", "b", "c", "d"]}
    repair = lab.client.requests[1].messages[-1].content
    assert 'must be 4 items that differ from one another; more than once it has "a", "b"' in repair


async def test_a_list_that_goes_on_repeating_itself_is_taken_as_far_as_it_goes() -> None:
    """The document is not lost for an item too few, and it is asked for once, not for ever."""
    lab = _lab(_keywords("a", "b", "a", "a"), _keywords("a", "b", "c", "c"))
    assert await lab.analyze() == {"keywords": ["a", "b", "c"]}
    assert len(lab.client.requests) == 2


@pytest.mark.parametrize(
    "repaired",
    [
        say("nonsense"),
        _keywords("a"),
        _keywords("That answer is not valid", "x", "y", "z"),
        say("", refusal="no"),
        say('{"keywords": ["a', finish_reason="length"),
        RecordRejected(DeadLetterReason.TOO_LARGE, "context length", model=MODEL_REF),
        RecordRejected(DeadLetterReason.REJECTED, "no", model=MODEL_REF),
    ],
)
async def test_where_the_repair_brings_nothing_the_first_answer_is_taken(repaired: Reply) -> None:
    """Whatever became of the repair: what was there before it is still good enough."""
    lab = _lab(_keywords("a", "b", "a", "a"), repaired)
    document_usage = DocumentUsage()
    assert await lab.analyze(document_usage=document_usage) == {"keywords": ["a", "b"]}
    assert document_usage.models == {"keywords": MODEL}
    assert len(lab.client.requests) == 2
    assert lab.free_slots() == 10


async def test_a_short_list_is_kept_for_when_it_comes_again() -> None:
    """It was paid for twice, and is not paid for a third time."""
    lab = _lab(_keywords("a", "b", "a", "a"), say("nonsense"), store=MemoryStore(max_bytes=10_000, max_age_seconds=60))
    assert await lab.analyze("text") == await lab.analyze("text") == {"keywords": ["a", "b"]}
    assert len(lab.client.requests) == 2


async def test_a_fault_of_the_world_is_no_answer() -> None:
    """A bad key during the repair stops the service, and no short list hides it."""
    lab = _lab(_keywords("a", "b", "a", "a"), ProviderMisconfigured("bad key"))
    with pytest.raises(ServiceFault):
        await lab.analyze()


async def test_without_at_least_a_short_list_is_no_answer() -> None:
    """So many were asked for, and the pipeline allows no fewer."""
    strict = {**LIST, "output": {"type": "list", "items": 4}}
    rejection = await _lab(_keywords("a", "b", "a", "c"), _keywords("a", "b", "c", "c"), task=strict).rejection()
    assert rejection.reason is DeadLetterReason.INVALID_ANSWER


@pytest.mark.parametrize("output", [{"type": "text"}, {"type": "text", "sentences": 1}])
async def test_the_repair_never_comes_back_as_the_answer(output: dict[str, Any]) -> None:
    """A small model repeats what it was told last, and a text may be anything."""
    task = {**TEXT, "output": output}

    def parrot(request: Any) -> Reply:
        said = request.messages[-1].content
        return say(json.dumps({"summary": [said] if "sentences" in output else said}))

    lab = Lab(in_turn(say("nonsense"), then=parrot), steps=steps(task))
    rejection = await lab.rejection()
    assert rejection.reason is DeadLetterReason.INVALID_ANSWER
    assert str(rejection) == (
        "the answer is still not valid after a repair: summary repeats what the model was told instead of answering"
    )
    assert len(lab.client.requests) == 2


async def test_the_answer_is_kept_with_the_rejection_and_out_of_the_log() -> None:
    """A dead letter shows what the model said. Nobody else is told."""
    with structlog.testing.capture_logs() as logs:
        replies = [say("quillon first"), say('{"category": "quillon words"}')]
        lab = Lab(by_step({"category": replies}), steps=steps(TASKS[1]))
        rejection = await lab.rejection()
    assert rejection.answer == '{"category": "quillon words"}'
    assert "quillon" not in str(rejection)
    assert "quillon" not in str(logs)
    assert b"quillon" not in lab.metrics.exposition()


async def test_where_the_repair_has_no_room_the_first_answer_is_kept() -> None:
    """It is the one that the rejection is about."""
    too_large = RecordRejected(DeadLetterReason.TOO_LARGE, "context length", model=MODEL_REF)
    rejection = await _lab(say("first words"), too_large, task=TEXT).rejection()
    assert (rejection.reason, rejection.answer) == (DeadLetterReason.INVALID_ANSWER, "first words")


_RUNS_ON = '{"keywords": ["a", "b", "B", "c", "d", "d", "d", "d", "d", "d'
_SPARE = {**LIST, "output": {"type": "list", "items": 4, "candidates": 6}}


@pytest.mark.parametrize("task", [LIST, _SPARE])
@pytest.mark.parametrize(
    "said", [_RUNS_ON, f"<think>[1, 2</think>Here: {_RUNS_ON}", _RUNS_ON + '", "e"],', _RUNS_ON + '", [{']
)
async def test_a_list_that_runs_on_until_it_is_cut_is_there(task: dict[str, Any], said: str) -> None:
    """What was asked for was said before the cut. To ask for more of it costs four times as much, and ends the same."""
    lab = _lab(say(said, finish_reason="length"), task=task, store=MemoryStore(max_bytes=10_000, max_age_seconds=60))
    assert await lab.analyze("text") == await lab.analyze("text") == {"keywords": ["a", "b", "c", "d"]}
    assert len(lab.client.requests) == 1


@pytest.mark.parametrize("task", [TEXT, {**TEXT, "output": {"type": "json", "schema": {"type": "string"}}}])
async def test_a_whole_answer_with_blanks_up_to_the_cut_is_there(task: dict[str, Any]) -> None:
    """Models in JSON mode may end their object, and go on with line breaks until the bound."""
    lab = _lab(say('{"summary": "All of it."}' + " \n" * 50, finish_reason="length"), task=task)
    assert await lab.analyze() == {"summary": "All of it."}
    assert len(lab.client.requests) == 1


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ({"type": "list", "items": 4}, '{"keywords": ["a", "b", "c", "d'),
        ({"type": "list", "items": 4, "at_least": 2}, '{"keywords": ["a", "a", "a", "b", "b", "b", "b'),
        ({"type": "text"}, '{"keywords": "a, b, c and d; [1, 2'),
        ({"type": "json", "schema": {"type": "array"}}, '{"keywords": ["a", "b", "c", "d", "e", "f'),
        ({"type": "list", "items": 4}, '{"others": ["a", "b", "c", "d", "e", "f'),
        ({"type": "list", "items": 1}, '{"keywords": ' + "[" * 40 + '"a", "b'),
        ({"type": "list", "items": 3}, '<think>A draft: {"keywords": ["a", "b", "c", "d'),
        ({"type": "list", "items": 3}, 'A draft: {"keywords": ["a", "b", "c", ... no, rather {"keywords": ["p'),
        ({"type": "list", "items": 3}, '{"keywords": ["a", "b", "the "best" word", "d", "e'),
    ],
)
async def test_an_answer_that_was_cut_too_soon_is_asked_for_with_more_room(output: dict[str, Any], said: str) -> None:
    """Half an item is none, nor is a draft, and of a schema of one's own nobody knows what is missing."""
    task = {**LIST, "output": output, "max_output_tokens": 50}
    whole = "a text" if output["type"] == "text" else ["p", "q", "r", "s"][: output.get("items", 4)]
    lab = _lab(say(said, finish_reason="length"), say(json.dumps({"keywords": whole})), task=task)
    assert await lab.analyze() == {"keywords": whole}
    assert [request.sampling.max_output_tokens for request in lab.client.requests] == [50, 200]


_ALL_OF_IT = USAGE.model_copy(update={"output_tokens": 50})


async def test_an_answer_that_used_up_its_room_was_cut_whatever_its_end_is_called() -> None:
    """Servers say `stop` or `tool_calls` of it. With the same room a repair would end the same."""
    task = {**TEXT, "max_output_tokens": 50}
    lab = _lab(say('{"summary": "Half of', usage=_ALL_OF_IT), say('{"summary": "All of it."}'), task=task)
    assert await lab.analyze() == {"summary": "All of it."}
    assert [request.sampling.max_output_tokens for request in lab.client.requests] == [50, 200]
    assert len(lab.client.requests[1].messages) == len(lab.client.requests[0].messages)


async def test_what_is_cut_with_more_room_too_says_so() -> None:
    """The operator is told of the bound, not of JSON that is not valid."""
    spent = [USAGE.model_copy(update={"output_tokens": bound}) for bound in (50, 200)]
    used_up = [say('{"summary": "Half of', usage=usage) for usage in spent]
    lab = _lab(*used_up, task={**TEXT, "max_output_tokens": 50})
    with pytest.raises(RecordRejected, match=r"cut at max_output_tokens \(200\)") as raised:
        await lab.analyze()
    assert raised.value.reason is DeadLetterReason.TRUNCATED


async def test_a_list_that_runs_on_is_there_whatever_its_end_is_called() -> None:
    """All that was asked for came before the room was used up."""
    lab = _lab(say(_RUNS_ON, usage=_ALL_OF_IT), task={**LIST, "max_output_tokens": 50})
    assert await lab.analyze() == {"keywords": ["a", "b", "c", "d"]}
    assert len(lab.client.requests) == 1


@pytest.mark.parametrize("bound", [49, 51, None])
async def test_an_answer_with_room_left_is_repaired(bound: int | None) -> None:
    """It was not cut. Where thoughts are counted that have no bound, more may be used than there was room for."""
    task = {**TEXT, "max_output_tokens": bound} if bound else TEXT
    lab = _lab(say('{"summary": "Half of', usage=_ALL_OF_IT), say('{"summary": "All of it."}'), task=task)
    assert await lab.analyze() == {"summary": "All of it."}
    assert len(lab.client.requests[1].messages) > len(lab.client.requests[0].messages)


async def test_a_whole_answer_that_just_fits_is_there() -> None:
    """Its last token was the last there was room for."""
    lab = _lab(say('{"summary": "All of it."}', usage=_ALL_OF_IT), task={**TEXT, "max_output_tokens": 50})
    assert await lab.analyze() == {"summary": "All of it."}
    assert len(lab.client.requests) == 1


async def test_a_short_list_is_kept_while_its_call_holds_the_slot() -> None:
    """Of answers that are paid for and not kept yet, there are never more than there may be calls."""
    free: list[float] = []

    class Watched(MemoryStore):
        async def put(self, fingerprint: str, step: PaidStep) -> None:
            free.append(lab.free_slots())
            await super().put(fingerprint, step)

    store = Watched(max_bytes=10_000, max_age_seconds=60)
    lab = _lab(_keywords("a", "b", "a", "a"), say("nonsense"), store=store)
    await lab.analyze()
    assert free == [9]

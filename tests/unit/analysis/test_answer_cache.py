"""Questions that are asked only once, and which document pays."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest
import structlog

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import ProviderMisconfigured, RecordRejected
from docsluice_consumer.store.memory_store import MemoryStore
from docsluice_consumer.store.step_store import PaidStep
from docsluice_consumer.tasks.step_building import steps_of
from tests.fakes.chat import USAGE, by_step, say
from tests.fakes.lab import Lab
from tests.fakes.samples import SECRET_TEXT, pipeline_file, steps
from tests.fakes.timer import settled

COST = Decimal("0.0002")
NOTHING = Decimal(0)


class _Slow(MemoryStore):
    """A store that is never done with putting."""

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        await asyncio.Event().wait()


def _store() -> MemoryStore:
    return MemoryStore(max_bytes=10**6, max_age_seconds=10**6)


async def test_what_was_paid_for_is_not_asked_again() -> None:
    """The second time it costs nothing, and says what it has saved."""
    lab, first, second = Lab(store=_store()), DocumentUsage(), DocumentUsage()
    outputs = await lab.analyze("text", first)
    assert await lab.analyze("text", second) == outputs
    assert len(lab.client.requests) == 2
    assert (first.cost_usd, first.saved_usd) == (2 * COST, NOTHING)
    assert (second.cost_usd, second.attempts, second.saved_usd) == (NOTHING, 0, 2 * COST)
    assert second.saved_usage == USAGE + USAGE
    assert second.models == first.models
    assert lab.samples("store_lookups_total") == {("miss",): 2, ("hit",): 2}
    assert lab.metrics.total("saved_usd_total") == pytest.approx(float(2 * COST))


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Other."},
        {"output": {"type": "text", "sentences": 3}},
        {"output": {"type": "text", "sentences": 2, "max_characters": 900}},
        {"model": "another"},
        {"model": ["test-model", "another"]},
        {"temperature": 0.5},
        {"max_output_tokens": 99},
        {"long": "head"},
    ],
)
def test_another_question_has_another_fingerprint(change: dict[str, Any]) -> None:
    """Whatever shapes an answer is part of it."""
    task = {"name": "summary", "prompt": "Summarize.", "output": {"type": "text", "sentences": 2}}
    (one,), (other,) = steps(task), steps({**task, **change})
    assert one.fingerprint("text") != other.fingerprint("text")
    assert one.fingerprint("text") != one.fingerprint("text.")


def test_a_fingerprint_is_of_the_question_alone() -> None:
    """Another task, another order of tasks or another file's name change nothing about a step."""
    task = {"name": "summary", "prompt": "Summarize.", "output": {"type": "text", "sentences": 2}}
    other = {"name": "category", "prompt": "Classify.", "output": {"type": "choice", "labels": ["tech", "other"]}}
    assert steps(task)[0].fingerprint("text") == steps(other, task)[1].fingerprint("text")


def test_how_a_list_is_read_is_part_of_its_fingerprint() -> None:
    """Of eight candidates five or four may be kept, and the schema is the same."""
    lists = [{"name": "k", "prompt": "P", "output": {"type": "list", "items": n, "candidates": 8}} for n in (4, 5)]
    assert len({steps(task)[0].fingerprint("text") for task in lists}) == 2


def test_another_servers_answers_are_not_ours() -> None:
    """A rehearsal must never answer for the real thing, nor one provider of a chain for another."""
    task = {"name": "k", "prompt": "P", "output": {"type": "text"}, "model": ["a", "cloud/b"]}

    def fingerprint(default_url: str, cloud_url: str) -> str:
        file = pipeline_file(task, providers={"cloud": {"base_url": cloud_url}})
        return steps_of(file, mode="fanout", default_model="m", default_url=default_url)[0].fingerprint("text")

    urls = ("", "http://localhost:8081/v1", "https://example.com/v1")
    assert len({fingerprint(one, two) for one in urls for two in urls[1:]}) == 6


def test_a_step_of_before_is_found_again() -> None:
    """The key of an answer in the store is as it was before there were providers."""
    task = {"name": "k", "prompt": "P", "output": {"type": "text"}, "model": "m"}
    (step,) = steps_of(pipeline_file(task), mode="fanout", default_model="m", default_url="http://localhost/v1")
    assert step.fingerprint("text") == "56723d70c83a0a7bb94f46b465a77d817b9f7dafb8deb5cd5405f2a6e43fd37d"


async def test_the_same_text_in_flight_twice_is_asked_once() -> None:
    """The second waits for the first, and saves what that one pays."""
    lab, spendings = Lab(), [DocumentUsage(), DocumentUsage(), DocumentUsage()]
    lab.client.hold()
    tasks = [asyncio.create_task(lab.analyzer.analyze("text", document_usage)) for document_usage in spendings]
    await settled()
    assert lab.client.in_flight == 2
    lab.client.release()
    first, *others = await asyncio.gather(*tasks)
    assert others == [first, first]
    assert [document_usage.cost_usd for document_usage in spendings] == [2 * COST, 0, 0]
    assert [document_usage.saved_usd for document_usage in spendings] == [0, 2 * COST, 2 * COST]


async def test_when_whoever_asks_lets_go_the_next_one_asks() -> None:
    """A record that is cancelled leaves nobody waiting for it."""
    lab = Lab()
    lab.client.hold()
    first, second = (asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage())) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    assert lab.client.in_flight == 2
    lab.client.release()
    assert await second
    assert first.cancelled()


async def test_an_answer_is_everybodys_before_it_is_kept() -> None:
    """The document that paid may be cancelled while the store takes its time, and nobody pays again."""
    lab = Lab(store=_Slow(max_bytes=10**6, max_age_seconds=10**6), steps=steps()[:1])
    first, second = (asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage())) for _ in range(2))
    await settled()
    first.cancel()
    await settled()
    assert first.cancelled()
    assert second.done()
    assert await second
    assert len(lab.client.requests) == 1


async def test_one_who_waits_may_let_go() -> None:
    """And the one who asks notices nothing."""
    lab = Lab()
    lab.client.hold()
    first, second = (asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage())) for _ in range(2))
    await settled()
    second.cancel()
    await settled()
    lab.client.release()
    assert await first
    assert len(lab.client.requests) == 2


async def test_a_rejection_is_shared() -> None:
    """The same question about the same text would be refused to the other one too."""
    lab = Lab(by_step({"category": [say("", refusal="no")] * 9}), steps=steps()[1:])
    lab.client.hold()
    tasks = [asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage())) for _ in range(3)]
    await settled()
    lab.client.release()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [end.reason for end in ends if isinstance(end, RecordRejected)] == [DeadLetterReason.REFUSED] * 3
    assert [end.answer for end in ends if isinstance(end, RecordRejected)] == ["no"] * 3, "each dead letter shows it"
    assert len({id(end) for end in ends}) == 3
    assert len(lab.client.requests) == 1


async def test_used_up_attempts_are_shared_the_second_time() -> None:
    """Once says nothing about the text, and waiting documents must not try it one after the other without end."""
    answer_cache, asked, gate = Lab().answer_cache, 0, asyncio.Event()

    async def ask() -> None:
        nonlocal asked
        async with answer_cache.entry("f", fits=lambda _: True):
            asked += 1
            await gate.wait()
            await settled()
            raise RecordRejected(DeadLetterReason.ATTEMPTS_EXHAUSTED, "no luck")

    tasks = [asyncio.create_task(ask()) for _ in range(5)]
    await settled()
    gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [RecordRejected] * 5
    assert asked == 2


async def test_a_fault_of_the_world_is_everybodys_own() -> None:
    """Nobody waits for ever for an answer that will not come."""
    lab = Lab(by_step({"category": [ProviderMisconfigured("bad key")] * 9}), steps=steps()[1:])
    tasks = [asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage())) for _ in range(2)]
    ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(end) for end in ends] == [ProviderMisconfigured] * 2


async def test_a_call_is_over_when_its_answer_is_kept() -> None:
    """Of answers that are paid for and could still be lost, there are never more than there may be calls."""
    lab = Lab(store=_Slow(max_bytes=10**6, max_age_seconds=10**6), steps=steps()[1:], limits=Limits(max_concurrency=2))
    tasks = [asyncio.create_task(lab.analyzer.analyze(f"text {number}", DocumentUsage())) for number in range(5)]
    await settled()
    assert lab.client.in_flight == 0
    assert len(lab.client.requests) == 2
    tasks[0].cancel()
    await settled()
    assert len(lab.client.requests) == 3
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert lab.free_slots() == 2


async def test_an_answer_that_is_to_be_repaired_holds_no_slot() -> None:
    """The repair would wait for it for ever."""
    lab = Lab(by_step({"category": [say("no JSON"), say('{"category": "tech"}')]}), limits=Limits(max_concurrency=1))
    assert (await lab.analyze())["category"] == "tech"


async def test_the_steps_that_succeeded_are_kept() -> None:
    """A document of which one step failed pays for that one alone, when it comes again."""
    lab = Lab(by_step({"category": [say("", refusal="no")]}), store=_store())
    await lab.rejection()
    again = DocumentUsage()
    await lab.analyze(document_usage=again)
    assert len(lab.client.asked("summary")) == 1
    assert len(lab.client.asked("category")) == 2
    assert (again.cost_usd, again.saved_usd) == (COST, COST)


async def test_what_a_repair_has_cost_is_saved_too() -> None:
    """All that it took to get the answer."""
    lab, again = Lab(by_step({"category": [say("nonsense")]}), steps=steps()[1:], store=_store()), DocumentUsage()
    await lab.analyze("text")
    await lab.analyze("text", again)
    assert again.saved_usd == 2 * COST


async def test_what_is_paid_for_does_not_count_towards_the_bound_on_cost() -> None:
    """A redrive of the missing step may cost more than the bound leaves for all."""
    store = _store()
    await Lab(store=store).analyze("text")
    lab = Lab(store=store, max_cost_usd=Decimal("0.000000001"))
    assert await lab.analyze("text")
    assert lab.client.requests == []


def test_a_document_that_is_begun_again_has_nothing_invested() -> None:
    """A call may go out in the very turn in which it is sent back: broken off, it is no reason to wait in a drain."""
    document_usage = DocumentUsage()
    document_usage.part().invest(1)
    document_usage.begin_again()
    assert document_usage.invested == 0


# What the store holds is not believed unseen


SUMMARY, CATEGORY = steps()
NO_ANSWERS: dict[str, dict[str, Any]] = {
    "no outputs": {},
    "another task's": {"category": "tech"},
    "one task too many": {"summary": "It is.", "category": "tech"},
    "a number": {"summary": 5},
    "a blank": {"summary": " "},
    "a list": {"summary": ["It", "is"]},
    "nothing": {"summary": None},
}


@pytest.mark.parametrize("outputs", NO_ANSWERS.values(), ids=list(NO_ANSWERS))
async def test_an_entry_that_answers_something_else_is_asked_again(outputs: dict[str, Any]) -> None:
    """It is no result and saves nothing. It is counted, said once, and replaced by the answer."""
    store = _store()
    for number in range(2):
        wrong = PaidStep(outputs=outputs, models=dict.fromkeys(outputs, "m"), cost_usd=Decimal(7))
        await store.put(SUMMARY.fingerprint(f"text {number}"), wrong)
    lab = Lab(store=store, steps=(SUMMARY,))
    with structlog.testing.capture_logs() as logs:
        for number in range(2):
            document_usage = DocumentUsage()
            assert (await lab.analyze(f"text {number}", document_usage))["summary"] == "words 0 words 1"
            assert (document_usage.cost_usd, document_usage.saved_usd) == (COST, NOTHING)
    assert [entry["event"] for entry in logs] == ["store.entry_refused"]
    assert lab.metrics.total("store_entries_refused_total") == 2
    assert lab.samples("store_lookups_total") == {("miss",): 2}
    again = DocumentUsage()
    await lab.analyze("text 1", again)
    assert again.saved_usd == COST


async def test_an_entry_that_cannot_be_read_is_asked_again() -> None:
    """The same, where it is no step at all."""
    store = _store()
    await store.put(SUMMARY.fingerprint("text"), PaidStep(outputs={"summary": "It is."}, models={}))
    lab = Lab(store=store, steps=(SUMMARY,))
    with structlog.testing.capture_logs() as logs:
        assert await lab.analyze("text")
    assert [(entry["event"], entry["reason"]) for entry in logs] == [
        ("store.entry_refused", "it holds a step without a model for each output")
    ]
    assert lab.metrics.total("store_entries_refused_total") == 1


async def test_an_entry_that_is_not_believed_is_not_paid_for() -> None:
    """A document may not go beyond its bound on cost, because somebody has put rubbish into the store."""
    store = _store()
    for step in steps():
        await store.put(step.fingerprint(SECRET_TEXT), PaidStep(outputs={}, models={}))
    lab = Lab(store=store, max_cost_usd=Decimal("0.000000001"))
    assert (await lab.rejection()).reason is DeadLetterReason.TOO_LARGE
    assert lab.client.requests == []


@pytest.mark.parametrize(
    ("output", "fitting", "others"),
    [
        ({"type": "text"}, ["a", "x" * 1000], ["", "\n", 1, None, ["a"], {}]),
        ({"type": "choice", "labels": ["tech", "other"]}, ["tech"], ["Tech", "sport", "", ["tech"], None]),
        ({"type": "list", "items": 3}, [["a"], ["a", "b", "c"]], [[], ["a", "b", "c", "d"], ["a", " "], [1], "abc"]),
        (
            {"type": "json", "schema": {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}},
            [{"n": 1}, {"n": 1.5, "more": [1]}],
            [{}, {"n": "1"}, [], None, "n"],
        ),
    ],
)
def test_outputs_are_held_to_their_kind(output: dict[str, Any], fitting: list[Any], others: list[Any]) -> None:
    """What was put together of a long document may be longer than a single answer, and a list shorter."""
    (step,) = steps({"name": "t", "prompt": "P", "output": output})
    assert [value for value in fitting if not step.is_answered_by({"t": value})] == []
    assert [value for value in others if step.is_answered_by({"t": value})] == []

"""Documents too large for one call, with a model that has a small context."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal
from typing import Any

import pytest

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import ConfigurationError, RecordRejected
from docsluice_consumer.llm.chat import ChatRequest
from docsluice_consumer.store.memory_store import MemoryStore
from docsluice_consumer.tasks.question import Question
from docsluice_consumer.tasks.steps import Step
from tests.fakes.chat import Reply, example_of, say
from tests.fakes.lab import Lab
from tests.fakes.prices import MODEL
from tests.fakes.samples import steps

PARAGRAPHS = [f"Paragraph {number}: " + "all of it is about the same thing. " * 8 for number in range(12)]
TEXT = "\n\n".join(PARAGRAPHS)
SUMMARY = {"name": "summary", "prompt": "P", "output": {"type": "text", "max_characters": 420}}
ANY_LENGTH = {**SUMMARY, "output": {"type": "text"}}
CATEGORY = {"name": "category", "prompt": "C", "output": {"type": "choice", "labels": ["tech", "other"]}}
TOKENS_A_BYTE = 4


def _long(long: str, *tasks: dict[str, Any], mode: str = "fanout") -> tuple[Step, ...]:
    return steps(*({**task, "long": long} for task in tasks or (SUMMARY,)), mode=mode)


def _with_context(tokens: int) -> Any:
    """A model of such a context that says of what it has read where it began and where it ended."""

    def reply(request: ChatRequest) -> Reply:
        if request.input_bytes / TOKENS_A_BYTE > tokens:
            return RecordRejected(DeadLetterReason.TOO_LARGE, "context length", step=request.step, model=request.model)
        text = request.messages[-1].content
        answer = example_of(request.schema)
        if "summary" in answer:
            said = f"{text[:12]}…{text[-12:]}"
            answer["summary"] = [said for _ in answer["summary"]] if isinstance(answer["summary"], list) else said
        usage = Usage(input_tokens=request.input_bytes // TOKENS_A_BYTE, output_tokens=10)
        return say(json.dumps(answer), usage=usage)

    return reply


def _read(lab: Lab) -> list[str]:
    return [request.messages[-1].content for request in lab.client.requests]


@pytest.mark.parametrize("known", [True, False])
async def test_split_asks_about_every_part_and_condenses(*, known: bool) -> None:
    """Whether the model's context is known beforehand, or the provider has to say that it is too large."""
    lab = Lab(_with_context(400), steps=_long("split"), context_tokens={MODEL: 400} if known else None)
    document_usage = DocumentUsage()
    outputs = await lab.analyze(TEXT, document_usage)
    parts = [text for text in _read(lab) if "…" not in text and len(text) < len(TEXT) / 2]
    assert all(paragraph.strip() in "".join(parts) for paragraph in PARAGRAPHS)
    said = [text for text in _read(lab) if "…" in text]
    assert any(text.startswith("Paragraph 0:") for text in said)  # what was said of the first parts…
    assert any(text.endswith(TEXT[-12:].strip()) for text in said)  # …and of the last ones
    if known:
        assert said[0] == f"{parts[0][:12]}…{parts[0][-12:].strip()}"
        assert said[2] == f"{parts[-1][:12]}…{parts[-1][-12:].strip()}"
        assert len(said) == 3
    assert outputs["summary"].startswith("Paragraph 0")
    assert outputs["summary"].endswith(TEXT[-12:].strip())
    assert document_usage.long == {"summary": "split"}
    assert (TEXT in _read(lab)) is not known  # no call is wasted on what is known not to fit


async def test_choices_and_lists_are_put_together_without_a_call() -> None:
    """Only prose is condensed. In one call for all, by asking for the prose alone."""
    fused = _long("split", SUMMARY, CATEGORY, mode="fused")
    lab = Lab(_with_context(400), steps=fused, context_tokens={MODEL: 400})
    outputs = await lab.analyze(TEXT)
    assert outputs["category"] == "tech"
    *parts, first, between, last = lab.client.requests
    assert all(set(request.schema["properties"]) == {"summary", "category"} for request in parts)
    assert [set(request.schema["properties"]) for request in (first, between, last)] == [{"summary"}] * 3


@pytest.mark.parametrize(("sentences", "asked"), [(5, [1, 3, 1]), (3, [1, 1, 1]), (2, [1, 1]), (1, [1])])
async def test_the_sentences_of_a_summary_are_shared_out(sentences: int, asked: list[int]) -> None:
    """So that the end is spoken of as well as the beginning. One alone is of the whole."""
    task = {**SUMMARY, "output": {"type": "text", "sentences": sentences}, "max_output_tokens": 50}
    lab = Lab(_with_context(400), steps=_long("split", task), context_tokens={MODEL: 400})
    await lab.analyze(TEXT)
    last = lab.client.requests[-len(asked) :]
    assert [request.schema["properties"]["summary"]["minItems"] for request in last] == asked
    assert lab.client.requests[0].schema["properties"]["summary"]["minItems"] == sentences


async def test_prose_of_any_length_is_condensed_as_a_whole() -> None:
    """Shared out, it would come out three times as long. So would a title or a date."""
    title = {**SUMMARY, "output": {"type": "text", "max_characters": 60}}
    for task in (ANY_LENGTH, title):
        lab = Lab(_with_context(400), steps=_long("split", task), context_tokens={MODEL: 400})
        outputs = await lab.analyze(TEXT)
        *parts, last = _read(lab)
        assert last.count("\n\n") == len(parts) - 1  # what was said of all of them
        assert outputs == {"summary": f"{last[:12]}…{last[-12:]}"}


async def test_tasks_in_one_call_are_shared_out_each_as_it_can_be() -> None:
    """A title of one sentence takes nothing from the summary beside it."""
    title = {"name": "title", "prompt": "T", "output": {"type": "text", "sentences": 1}}
    steps_of_both = _long("split", title, SUMMARY, mode="fused")
    lab = Lab(_with_context(400), steps=steps_of_both, context_tokens={MODEL: 400})
    assert set(await lab.analyze(TEXT)) == {"title", "summary"}
    condensing = [list(request.schema["properties"]) for request in lab.client.requests[-4:]]
    assert condensing == [["title"], ["summary"], ["summary"], ["summary"]]


async def test_what_stands_twice_in_a_document_is_asked_about_once() -> None:
    """And counts as often as it stands there. Nothing is said to be saved by it."""
    page = "The same page, which stands here ever again. " * 7
    pages = "\n\n".join([page, page, "Another page, which stands here once and says more. " * 6])
    lab = Lab(_with_context(400), steps=_long("split", CATEGORY), context_tokens={MODEL: 400})
    await lab.analyze(pages, document_usage := DocumentUsage())
    assert len(_read(lab)) == 2
    assert document_usage.saved_usd == 0


async def test_what_was_paid_for_is_condensed_however_many_parts_there_were() -> None:
    """The bound on parts is one on the document. What was said of them may take some, too."""
    brief = {**ANY_LENGTH, "max_output_tokens": 20}
    lab = Lab(_with_context(130), steps=_long("split", brief), context_tokens={MODEL: 130})
    text = "\n\n".join(f"Paragraph {number}: {'something else is said here. ' * 9}" for number in range(60))
    assert (await lab.analyze(text))["summary"]


async def test_head_asks_about_the_beginning() -> None:
    """As much of it as fits, and the result says so."""
    lab, document_usage = Lab(_with_context(700), steps=_long("head"), context_tokens={MODEL: 700}), DocumentUsage()
    outputs = await lab.analyze(TEXT, document_usage)
    assert [TEXT.startswith(text) for text in _read(lab)] == [True]
    assert outputs["summary"].startswith("Paragraph 0")
    assert document_usage.long == {"summary": "head"}
    assert len(_read(lab)[0].encode()) > 1_000


async def test_reject_is_the_default() -> None:
    """A document that nobody has said how to cut is not cut."""
    assert steps(SUMMARY)[0].long == "reject"
    lab = Lab(_with_context(400), steps=steps(SUMMARY), context_tokens={MODEL: 400})
    with pytest.raises(RecordRejected) as caught:
        await lab.analyze(TEXT)
    assert caught.value.reason is DeadLetterReason.TOO_LARGE


ENGLISH = "The quick brown fox jumps over the lazy dog, and so on it goes. " * 310
"""Of about 20 kB: 5,000 tokens."""


async def _after_emojis(**changes: Any) -> Lab:
    """A lab whose model has counted a token for every byte and a half until now."""
    lab = Lab(**changes)
    lab.client.reply = lambda request: say(
        json.dumps(example_of(request.schema)), usage=Usage(input_tokens=request.input_bytes * 2 // 3, output_tokens=10)
    )
    for number in range(30):
        await lab.analyze(f"{number} {chr(0x1F600)} " * 40)
    lab.client.reply = _with_context(8192)
    lab.client.requests.clear()
    return lab


@pytest.mark.parametrize("long", ["reject", "split", "head"])
@pytest.mark.parametrize("limits", [Limits(max_concurrency=10), Limits(max_concurrency=10, tokens_per_minute=8192)])
async def test_what_other_texts_took_turns_no_document_away(long: str, limits: Limits) -> None:
    """Nor cuts it: a text that most likely fits is asked about as a whole, whatever came before it."""
    context = {MODEL: 8192} if limits.tokens_per_minute is None else None
    lab = await _after_emojis(steps=_long(long), context_tokens=context, limits=limits)
    document_usage = DocumentUsage()
    assert (await lab.analyze(ENGLISH, document_usage))["summary"]
    assert _read(lab) == [ENGLISH]
    assert document_usage.long == {}


async def test_of_what_may_fit_the_provider_is_the_judge() -> None:
    """A text of ten bytes a token would: where it may not be cut, it is asked about, and rejected only then."""
    for long, context in (("reject", 600), ("split", 260)):
        lab = Lab(_with_context(300), steps=_long(long), context_tokens={MODEL: context})
        text = "x" * 5_000 if long == "reject" else "word " * 280
        rejection = await _rejection(lab, text)
        assert (rejection.reason, str(rejection)) == (DeadLetterReason.TOO_LARGE, "context length")
        assert _read(lab)[0] == text


async def test_what_surely_does_not_fit_is_not_asked_about() -> None:
    """No text has more than sixteen bytes a token."""
    lab = Lab(steps=_long("reject"), context_tokens={MODEL: 600})
    assert f"{MODEL} has a context of 600" in str(await _rejection(lab, "x" * 10_000))
    assert lab.client.requests == []


async def test_a_bound_on_answers_as_large_as_the_context_cuts_nothing() -> None:
    """It is a bound: the answers themselves are small."""
    task = {**SUMMARY, "max_output_tokens": 400}
    lab = Lab(_with_context(400), steps=_long("split", task), context_tokens={MODEL: 400})
    assert await lab.analyze("A short text.")
    assert _read(lab) == ["A short text."]


async def test_a_minutes_limit_is_a_size_too() -> None:
    """A text larger than a whole minute's tokens is cut to what a call may have."""
    limits = Limits(max_concurrency=10, input_tokens_per_minute=400)
    lab = Lab(_with_context(10**6), steps=_long("split"), limits=limits)
    assert (await lab.analyze(TEXT))["summary"]
    assert len(_read(lab)) > 2


async def test_a_part_that_fails_rejects_the_document_and_the_others_are_kept() -> None:
    """A redrive pays for that part alone."""
    store = MemoryStore(max_bytes=10**6, max_age_seconds=10**6)
    context = _with_context(400)

    def reply(request: ChatRequest) -> Reply:
        is_it = "Paragraph 11" in request.messages[-1].content and is_bad
        return say("", refusal="no") if is_it else context(request)

    is_bad = True
    lab = Lab(reply, steps=_long("split"), context_tokens={MODEL: 400}, store=store)
    assert (await _rejection(lab)).reason is DeadLetterReason.REFUSED
    is_bad, first = False, len(lab.client.requests)
    document_usage = DocumentUsage()
    await lab.analyze(TEXT, document_usage)
    assert (
        len(lab.client.requests) == first + 4
    )  # that part, and what was said of the first, the last and those between
    assert document_usage.saved_usd > 0


async def test_the_same_document_is_cut_in_the_same_places() -> None:
    """However much was learned about tokens meanwhile: another way to cut it would be paid for again."""
    lab = Lab(_with_context(400), steps=_long("split"), context_tokens={MODEL: 400})
    await lab.analyze(TEXT)
    first = set(_read(lab))
    lab.client.requests.clear()
    await lab.analyze(TEXT)
    assert set(_read(lab)) == first


async def test_too_many_parts_are_too_large() -> None:
    """Somebody pays for each of them."""
    lab = Lab(_with_context(320), steps=_long("split"), context_tokens={MODEL: 320})
    assert "more than 64 parts" in str(await _rejection(lab, TEXT * 10))
    assert lab.client.requests == []


async def test_parts_that_would_cost_too_much_are_not_asked_about() -> None:
    """The bound on a document's cost is on all of its parts together."""
    lab = Lab(
        _with_context(400), steps=_long("split"), context_tokens={MODEL: 400}, max_cost_usd=Decimal("0.000000001")
    )
    assert "DOCSLUICE_MAX_COST_USD_PER_DOCUMENT" in str(await _rejection(lab))
    assert lab.client.requests == []


async def test_the_bound_on_cost_is_on_all_steps_together() -> None:
    """Each of them alone would fit."""
    tasks = [{**SUMMARY, "name": f"summary{n}"} for n in range(4)]
    parts = Lab(_with_context(400), steps=_long("split", *tasks[:1]), context_tokens={MODEL: 400})
    await parts.analyze(TEXT, one := DocumentUsage())
    for most, fits in ((one.cost_usd * 5, True), (one.cost_usd * 2, False)):
        lab = Lab(_with_context(400), steps=_long("split", *tasks), context_tokens={MODEL: 400}, max_cost_usd=most)
        await lab.analyze(TEXT[:1])  # what an answer costs is known from now on
        document_usage = DocumentUsage()
        with contextlib.nullcontext() if fits else pytest.raises(RecordRejected, match="MAX_COST_USD_PER_DOCUMENT"):
            await lab.analyze(TEXT, document_usage)
        assert document_usage.cost_usd <= most


async def test_parts_that_are_paid_for_cost_nothing() -> None:
    """A document that comes again is not turned away for what it had cost before."""
    store = MemoryStore(max_bytes=10**6, max_age_seconds=10**6)
    long = _long("split", CATEGORY)
    first = Lab(_with_context(400), steps=long, context_tokens={MODEL: 400}, store=store)
    await first.analyze(TEXT)
    text, most = TEXT + ".", _cost_of(TEXT) * Decimal("1.2")
    again = Lab(_with_context(400), steps=long, context_tokens={MODEL: 400}, store=store, max_cost_usd=most)
    await again.analyze(TEXT[:1])  # what an answer costs is known from now on
    assert await again.analyze(text)
    assert 1 < len(again.client.requests) < len(first.client.requests)


async def test_the_head_alone_counts_towards_the_bound_on_cost() -> None:
    """Of a document of which no more is asked about."""
    lab = Lab(_with_context(700), steps=_long("head"), context_tokens={MODEL: 700}, max_cost_usd=_cost_of(TEXT[:2_500]))
    assert await lab.analyze(TEXT)


async def test_the_head_of_what_begins_with_blanks() -> None:
    """Nothing could be said of those."""
    lab = Lab(_with_context(400), steps=_long("head"), context_tokens={MODEL: 400})
    await lab.analyze("\n \n" * 2_000 + TEXT)
    assert _read(lab)[0].startswith("Paragraph 0")


async def test_a_model_that_only_repeats_is_not_asked_for_ever() -> None:
    """What was said of the parts must be shorter than they are."""

    def echo(request: ChatRequest) -> Reply:
        fits = request.input_bytes / TOKENS_A_BYTE <= 400
        answer = say(json.dumps({"summary": request.messages[-1].content}))
        return answer if fits else RecordRejected(DeadLetterReason.TOO_LARGE, "context", model=request.model)

    lab = Lab(echo, steps=_long("split", ANY_LENGTH), context_tokens={MODEL: 400})
    assert "no shorter" in str(await _rejection(lab))


def _cost_of(text: str) -> Decimal:
    """What asking about a text costs, its answer aside."""
    return Decimal(len(text) // TOKENS_A_BYTE) / 10**6


async def _rejection(lab: Lab, text: str = TEXT) -> RecordRejected:
    with pytest.raises(RecordRejected) as caught:
        await lab.analyze(text)
    return caught.value


async def test_only_the_beginning_is_asked_about() -> None:
    """Of this task. The others read all of it, and documents that begin alike share its answer."""
    lab = Lab(
        _with_context(4000),
        steps=steps({**CATEGORY, "first_characters": 100}, SUMMARY),
        store=MemoryStore(max_bytes=10**6, max_age_seconds=10**6),
    )
    await lab.analyze(TEXT)
    assert sorted(map(len, _read(lab)))[1] == len(TEXT)
    (beginning,) = (text for text in _read(lab) if len(text) < len(TEXT))
    assert TEXT.startswith(beginning)
    assert 75 <= len(beginning) <= 100
    await lab.analyze(f"{TEXT} And more.")
    assert len(_read(lab)) == 3


def test_examples_are_cut_alike() -> None:
    """They show the model what its documents look like. A short text stays as it is."""
    example = {"document": TEXT, "answers": {"category": "tech"}}
    (step,) = steps({**CATEGORY, "first_characters": 100}, examples=[example])
    assert len(step.preamble[1].content) <= 100
    assert Question.about(step, "Short.").text == "Short."


def test_tasks_that_read_differently_cannot_share_a_call() -> None:
    """One document is sent in a call."""
    with pytest.raises(ConfigurationError, match="they differ in first_characters"):
        steps({**CATEGORY, "first_characters": 100}, SUMMARY, mode="fused")

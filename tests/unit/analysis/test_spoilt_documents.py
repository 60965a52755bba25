"""One document that fails for good, and those that come with it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    ProviderUnavailable,
    RateLimited,
    RecordRejected,
)
from docsluice_consumer.llm.chat import ChatRequest
from tests.examples import examples
from tests.fakes.chat import Replies, Reply, right
from tests.fakes.samples import SECRET_TEXT
from tests.fakes.timer import ManualTimer
from tests.fakes.town import Town


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


@pytest.mark.long
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


@pytest.mark.long
async def test_a_stream_of_which_a_third_fails_for_good_goes_on() -> None:
    """Those are given up one by one: as many open records as there may be are never all of that kind."""
    town = Town(_spoilt(ProviderUnavailable("500")), limits=Limits(max_concurrency=16))
    texts = (f"{SECRET_TEXT if number % 3 == 0 else 'text'} {number}" for number in itertools.count())
    for _ in range(60):
        are_open = len(town.tasks) - len(town.ended())
        await town.come(*itertools.islice(texts, 128 - are_open))
        await town.lab.timer.run(1)
    good = {text for text in town.ended() if text.startswith("text")}
    assert len(good) >= 200
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

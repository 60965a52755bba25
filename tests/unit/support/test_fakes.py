"""The fakes keep the contracts that the real ones keep, so that a test with a fake proves something."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import jsonschema
import pytest

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.admission import Timer
from docsluice_consumer.errors import CallRefused, ProviderUnavailable, QuotaExhausted, RateLimited, RecordRejected
from docsluice_consumer.kafka.records import OutgoingRecord, Sink
from docsluice_consumer.llm.chat import ChatClient, ChatRequest
from tests.fakes.chat import FakeChatClient, Reply, example_of, say
from tests.fakes.contracts import TEXT, USED, Behaviour, ChatClientContract, SinkContract
from tests.fakes.samples import steps
from tests.fakes.sink import FakeSink
from tests.fakes.timer import ManualTimer, settled


def _reply(behaviour: Behaviour, request: ChatRequest) -> Reply:
    replies: dict[Behaviour, Reply] = {
        Behaviour.ANSWER: say(TEXT, usage=USED),
        Behaviour.REFUSE: say("", usage=USED, refusal="I cannot."),
        Behaviour.CUT: say("{", usage=USED, finish_reason="length"),
        Behaviour.RATE_LIMIT: RateLimited("slow down", retry_after_seconds=7),
        Behaviour.NO_QUOTA: QuotaExhausted("empty"),
        Behaviour.BREAK: ProviderUnavailable("500"),
        Behaviour.REJECT: RecordRejected(DeadLetterReason.TOO_LARGE, "400", step=request.step),
        Behaviour.DENY: CallRefused("401", kind="credentials", remedy="The key."),
    }
    return replies[behaviour]


class TestFakeChatClient(ChatClientContract):
    """The scripted model."""

    _fake: FakeChatClient

    @contextlib.asynccontextmanager
    async def client(self, behaviour: Behaviour) -> AsyncIterator[ChatClient]:
        self._fake = FakeChatClient(lambda request: _reply(behaviour, request))
        yield self._fake
        await self._fake.close()

    def calls(self) -> int:
        return len(self._fake.requests)


class TestFakeOutbox(SinkContract):
    """The topic in memory."""

    topic = "documents.results"
    small_topic = "small"
    _fake: FakeSink

    @contextlib.asynccontextmanager
    async def sink(self) -> AsyncIterator[Sink]:
        self._fake = FakeSink(max_bytes={self.small_topic: 10_000})
        yield self._fake

    async def read(self, topic: str, count: int) -> Sequence[OutgoingRecord]:
        return self._fake.to(topic)[:count]


@pytest.mark.parametrize("is_real", [True, False])
async def test_an_alarm_rings_in_its_time(*, is_real: bool) -> None:
    """On the loop's clock as on the manual one: not within `call_later`, not early, and not when it was cancelled."""
    manual, rung = ManualTimer(), list[str]()
    timer: Timer = asyncio.get_running_loop() if is_real else manual
    before = timer.time()
    timer.call_later(0.0, lambda: rung.append("now"))
    later = timer.call_later(3600.0, lambda: rung.append("in an hour"))
    timer.call_later(0.0, lambda: rung.append("cancelled")).cancel()
    assert rung == []
    manual.advance(0)
    await settled()
    later.cancel()
    assert rung == ["now"]
    assert timer.time() >= before


async def test_manual_time_stands_still() -> None:
    """It moves by what it is told, alarms ring at their own instants, and one that rings may set the next."""
    timer, rung = ManualTimer(now=0.0), list[float]()

    def ring() -> None:
        rung.append(timer.time())
        timer.call_later(2.0, ring)

    timer.call_later(1.0, ring)
    timer.advance(0.9)
    assert rung == []
    timer.advance(4.6)
    assert rung == [1.0, 3.0, 5.0]
    assert timer.time() == 5.5


async def test_an_alarm_that_never_lets_time_pass_fails() -> None:
    """A busy loop in the code under test ends the test."""
    timer = ManualTimer()

    def ring() -> None:
        timer.call_later(0.0, ring)

    timer.call_later(1.0, ring)
    with pytest.raises(AssertionError, match="again and again"):
        timer.advance(2.0)


def test_made_up_answers_meet_their_schema() -> None:
    """The fake model's right answers are right."""
    for step in steps({"name": "k", "prompt": "P", "output": {"type": "list", "items": 3}}):
        answer = example_of(step.schema)
        jsonschema.validate(answer, step.schema)
        assert len(answer["k"]) == 3

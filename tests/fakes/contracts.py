"""What a fake and the real thing must both do: the same tests run against either.

A subclass in a test module says how to make the thing. Pytest collects it there and not here.
"""

from __future__ import annotations

import asyncio
import enum
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager

import pytest

from docsluice.messages import DeadLetterReason, Stage, Usage
from docsluice_consumer.errors import CallRefused, ProviderUnavailable, QuotaExhausted, RateLimited, RecordRejected
from docsluice_consumer.kafka.records import OutgoingRecord, Record, Sink
from docsluice_consumer.llm.chat import Answer, ChatClient
from tests.fakes.samples import chat_request, record


class Behaviour(enum.Enum):
    """What the provider behind a client does with every call."""

    ANSWER = "answers `TEXT`, having used `USED`"
    REFUSE = "refuses"
    CUT = "stops in the middle of the answer"
    RATE_LIMIT = "says to come back in 7 seconds"
    NO_QUOTA = "says that the account is empty"
    BREAK = "fails"
    REJECT = "says that the request is too large"
    DENY = "does not take the key"


TEXT = '{"summary": "Tiếng Việt."}'
USED = Usage(input_tokens=100, output_tokens=10, cached_tokens=40)


class ChatClientContract(ABC):
    """See `ChatClient`."""

    @abstractmethod
    def client(self, behaviour: Behaviour) -> AbstractAsyncContextManager[ChatClient]:
        """A client of such a provider."""

    @abstractmethod
    def calls(self) -> int:
        """How many calls have reached the provider."""

    async def test_an_answer_comes_with_its_usage(self) -> None:
        """Text, finish reason and tokens, as the provider gave them."""
        async with self.client(Behaviour.ANSWER) as client:
            answer = await client.ask(chat_request())
        assert answer == Answer(text=TEXT, finish_reason="stop", refusal=None, usage=USED)

    async def test_a_refusal_is_an_answer(self) -> None:
        """It is paid for, so it is no exception."""
        async with self.client(Behaviour.REFUSE) as client:
            answer = await client.ask(chat_request())
        assert answer.refusal
        assert answer.usage == USED

    async def test_a_cut_answer_is_an_answer(self) -> None:
        """Its finish reason tells."""
        async with self.client(Behaviour.CUT) as client:
            answer = await client.ask(chat_request())
        assert (answer.finish_reason, answer.usage) == ("length", USED)

    @pytest.mark.parametrize(
        ("behaviour", "fault"),
        [
            (Behaviour.RATE_LIMIT, RateLimited),
            (Behaviour.NO_QUOTA, QuotaExhausted),
            (Behaviour.BREAK, ProviderUnavailable),
            (Behaviour.REJECT, RecordRejected),
            (Behaviour.DENY, CallRefused),
        ],
    )
    async def test_nothing_is_tried_again(self, behaviour: Behaviour, fault: type[Exception]) -> None:
        """One call, one fault of ours: retries are decided elsewhere, where they are paid for."""
        async with self.client(behaviour) as client:
            before = self.calls()
            with pytest.raises(fault):
                await client.ask(chat_request())
            assert self.calls() == before + 1

    async def test_a_rate_limit_says_when(self) -> None:
        """The provider's own word is passed on."""
        async with self.client(Behaviour.RATE_LIMIT) as client:
            with pytest.raises(RateLimited) as caught:
                await client.ask(chat_request())
        assert caught.value.retry_after_seconds == 7

    async def test_a_rejection_names_its_step(self) -> None:
        """The dead letter names the task."""
        async with self.client(Behaviour.REJECT) as client:
            with pytest.raises(RecordRejected) as caught:
                await client.ask(chat_request(step="keywords"))
        assert (caught.value.step, caught.value.reason) == ("keywords", DeadLetterReason.TOO_LARGE)

    async def test_calls_do_not_wait_for_one_another(self) -> None:
        """Many may be under way at once, and each gets an answer."""
        async with self.client(Behaviour.ANSWER) as client:
            answers = await asyncio.gather(*(client.ask(chat_request()) for _ in range(20)))
        assert [answer.text for answer in answers] == [TEXT] * 20


class SinkContract(ABC):
    """See `Sink`. The topic `small` takes no batch of more than 10,000 bytes."""

    topic: str
    small_topic: str

    @abstractmethod
    def sink(self) -> AbstractAsyncContextManager[Sink]:
        """A sink that is connected."""

    @abstractmethod
    async def read(self, topic: str, count: int) -> Sequence[OutgoingRecord]:
        """The first records of a topic, as a reader sees them."""

    def ending(self) -> Record:
        """A record that ends with what is published."""
        return record(b"{}")

    async def test_what_is_published_can_be_read(self) -> None:
        """Byte for byte, headers in order and repeated ones too, no key as no key."""
        sent = [
            OutgoingRecord(
                topic=self.topic,
                key=b"\x00k",
                value=b"\xff\x00v",
                headers=[("a", b"1"), ("a", b"\xff"), ("b", b""), ("n", None)],
            ),
            OutgoingRecord(topic=self.topic, key=b"\x00k", value=b"", headers=[]),
            OutgoingRecord(topic=self.topic, key=None, value=b"no key", headers=[("traceparent", b"00-1-2-01")]),
        ]
        async with self.sink() as sink:
            for outgoing in sent:
                await sink.publish(outgoing, ending=self.ending())
            read = await self.read(self.topic, len(sent))
        key = repr
        assert sorted(read, key=key) == sorted(sent, key=key)

    async def test_what_is_too_large_is_rejected(self) -> None:
        """It is the record's fault, at the stage of publishing, and others still go through before and after it."""
        large = self._small_topics(random.Random(1).randbytes(1_000_000))
        small = [self._small_topics(b"%d" % number) for number in range(3)]
        async with self.sink() as sink:
            await sink.publish(small[0], ending=self.ending())
            with pytest.raises(RecordRejected) as caught:
                await sink.publish(large, ending=self.ending())
            await sink.publish(small[1], ending=self.ending())
            with pytest.raises(RecordRejected):
                await sink.publish(large, ending=self.ending())
            await sink.publish(small[2], ending=self.ending())
            assert list(await self.read(self.small_topic, 3)) == small
        assert (caught.value.reason, caught.value.stage) == (DeadLetterReason.TOO_LARGE, Stage.PUBLISH)

    async def test_only_what_is_too_large_itself_is_rejected(self) -> None:
        """Many go out together, and one that is too large takes none of the others with it."""
        # Each fits the topic by itself. Together, as a client may well send them, they do not.
        payloads = [random.Random(number).randbytes(4_000) for number in range(20)]
        payloads.insert(7, random.Random(7).randbytes(13_000))
        outgoing = [self._small_topics(payload) for payload in payloads]
        async with self.sink() as sink:
            ends = await asyncio.gather(
                *(sink.publish(one, ending=self.ending()) for one in outgoing), return_exceptions=True
            )
            assert [isinstance(end, RecordRejected) for end in ends] == [size > 10_000 for size in map(len, payloads)]
            read = await self.read(self.small_topic, 20)
        key = repr
        assert sorted(read, key=key) == sorted((one for one in outgoing if len(one.value or b"") < 10_000), key=key)

    def _small_topics(self, value: bytes) -> OutgoingRecord:
        return OutgoingRecord(topic=self.small_topic, key=b"k", value=value, headers=[])

"""Topics in memory do what a broker's do."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import docsluice
from docsluice.errors import ConfigurationError, InvalidDocument
from docsluice.kafka.transactions import ProducerRecord
from docsluice.testing.pipeline import MemorySink
from docsluice.testing.topics import MemoryTopics
from docsluice_consumer.kafka.records import OutgoingRecord, Sink
from tests.fakes.contracts import SinkContract
from tests.fakes.outcomes import result
from tests.fakes.topic_contracts import Place, TopicsContract


class TestTopicsInMemory(TopicsContract):
    """See `TopicsContract`."""

    @pytest.fixture
    async def place(self) -> Place:
        """Topics with the names of the settings' defaults."""
        names = {"input": "documents", "result": "documents.results", "dead_letter": "documents.dlq"}
        return Place(connection={"topics": MemoryTopics(most_bytes=20_000)}, topics=names, idle_seconds=0.05)


class TestSinkInMemory(SinkContract):
    """See `SinkContract`."""

    topic = "documents.results"
    small_topic = "documents.dlq"

    @pytest.fixture(autouse=True)
    def _topics(self) -> None:
        self.topics = MemoryTopics(most_bytes=10_000)

    def sink(self) -> AbstractAsyncContextManager[Sink]:
        return self._sink()

    @contextlib.asynccontextmanager
    async def _sink(self) -> AsyncIterator[Sink]:
        yield MemorySink(self.topics)

    async def read(self, topic: str, count: int) -> Sequence[OutgoingRecord]:
        return [
            OutgoingRecord(topic=one.topic, key=one.key, value=one.value, headers=list(one.headers))
            for one in self.topics.records(topic)[:count]
        ]


def _publish(topics: MemoryTopics, *numbers: int) -> None:
    for number in numbers:
        value = result(number).model_dump_json().encode()
        topics.append(ProducerRecord(topic="documents.results", key=b"k%d" % number, value=value, headers=()))


def _results(topics: MemoryTopics) -> docsluice.Subscription[docsluice.ReceivedResult]:
    return docsluice.results(topics=topics, from_="earliest", group_id="g", idle_seconds=0)


async def test_two_members_of_a_group_share_the_partitions() -> None:
    """Each record goes to one of them. The one that stays has all once the other has left."""
    topics = MemoryTopics(partitions=2)
    _publish(topics, *range(20))
    by_partition = {
        one.record.position.partition
        async for one in docsluice.results(topics=topics, from_="earliest", idle_seconds=0)
    }
    assert by_partition == {0, 1}
    async with _results(topics) as one:
        async with _results(topics) as two:
            first = [found.result_id async for found in one]
            second = [found.result_id async for found in two]
        assert sorted(first + second) == sorted(f"r{n}" for n in range(20))
        assert (bool(first), bool(second)) == (True, True)
        _publish(topics, *range(20, 40))
        rest = [found.result_id async for found in one]
    assert sorted(rest) == sorted(f"r{n}" for n in range(20, 40))


async def test_a_second_loop_goes_on_where_the_first_was_left() -> None:
    """What was fetched together with the last one is not lost, with a group and without one."""
    topics = MemoryTopics()
    _publish(topics, *range(5))
    for group_id in (None, "g"):
        async with docsluice.results(topics=topics, from_="earliest", group_id=group_id, idle_seconds=0) as found:
            async for one in found:
                assert one.result_id == "r0"
                break
            assert [one.result_id async for one in found] == ["r1", "r2", "r3", "r4"]


@pytest.mark.parametrize(
    "given",
    [
        {"key": "\ud800"},
        {"headers": {"a": "\ud800"}},
        {"headers": {"\ud800": "x"}},
        {"headers": [("a", 5)]},
        {"headers": 5},
    ],
)
async def test_a_key_or_header_that_is_no_text_is_an_invalid_document(given: dict[str, Any]) -> None:
    """As every other mistake in a document. Nothing is sent."""
    topics = MemoryTopics()
    async with docsluice.DocumentProducer(topics=topics) as producer:
        with pytest.raises(InvalidDocument, match="its key and its headers"):
            await producer.send(document_id="d", text="t", **given)
        with pytest.raises(InvalidDocument, match="a int is no document"):
            await producer.send_many([5])  # type: ignore[list-item]
        with pytest.raises(ConfigurationError, match="in_flight"):
            await producer.send_many([], in_flight=0)
    assert topics.records("documents") == []


async def test_a_subscription_is_read_once() -> None:
    """The second loop would be of another place in the topic."""
    subscription = _results(MemoryTopics())
    assert [one async for one in subscription] == []
    with pytest.raises(ConfigurationError, match="read once"):
        assert [one async for one in subscription] == []

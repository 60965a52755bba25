"""What topics in memory and those of a broker must both do: the same tests run against either.

A subclass in a test module says where the topics are. Pytest collects it there and not here.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import docsluice
from docsluice.client.connection import Connection, topics_of
from docsluice.errors import BrokerRefused, ConfigurationError, DocumentTooLarge, InvalidDocument
from docsluice.kafka.topic_access import TopicWriter
from docsluice.kafka.transactions import ProducerRecord
from docsluice.messages import ERROR_HEADER_PREFIX, DocumentEvent, SourcePosition, result_headers
from tests.fakes.outcomes import result


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the topics are. The input topic takes no more than `most_bytes`."""

    connection: Connection
    topics: Mapping[str, str]
    most_bytes: int = 20_000
    idle_seconds: float = 1.0
    """Long enough for whatever is there to come. Nothing is asserted about it."""

    @property
    def too_large(self) -> str:
        """A text that the input topic does not take, compressed or not. Others fit into a batch with it."""
        return random.Random(1).randbytes(self.most_bytes).hex()


class TopicsContract(ABC):
    """What a producer writes, and what a subscriber reads of it."""

    @pytest.fixture
    @abstractmethod
    async def place(self) -> Place:
        """Three empty topics of one partition, each with a name that no other test uses."""

    async def test_a_document_is_where_it_is_said_to_be(self, place: Place) -> None:
        """Fields, an event or a mapping, with the id as its key, or another."""
        async with docsluice.DocumentProducer(topic=place.topics["input"], **place.connection) as producer:
            first = await producer.send(document_id="a", text="One.", metadata={"n": 1})
            await producer.send(DocumentEvent(document_id="b", text="Two."), key="k", headers={"traceparent": "00"})
            last = await producer.send({"document_id": "c", "text": "Three."}, key=b"\xff")
        assert (first.topic, first.partition, first.offset) == (place.topics["input"], 0, 0)
        records = await _records(place, "input")
        assert [json.loads(one.value)["document_id"] for one in records] == ["a", "b", "c"]
        assert [one.key for one in records] == [b"a", b"k", b"\xff"]
        assert list(records[1].headers) == [("traceparent", b"00"), ("content-type", b"application/json")]
        assert last.offset == records[-1].offset

    async def test_many_are_sent_side_by_side(self, place: Place) -> None:
        """From any iterable, each once and in order within its key."""

        async def endless() -> AsyncIterator[dict[str, Any]]:
            for number in range(50):
                yield {"document_id": f"d{number}", "text": "T"}

        async with docsluice.DocumentProducer(topic=place.topics["input"], **place.connection) as producer:
            assert await producer.send_many(endless(), in_flight=7) == 50
            assert await producer.send_many([DocumentEvent(document_id="x", text="T")]) == 1
        ids = [json.loads(one.value)["document_id"] for one in await _records(place, "input")]
        assert ids == [*(f"d{number}" for number in range(50)), "x"]

    async def test_what_is_no_document_is_told_and_not_sent(self, place: Place) -> None:
        """Its id is told, and never its text."""
        async with docsluice.DocumentProducer(topic=place.topics["input"], **place.connection) as producer:
            with pytest.raises(InvalidDocument, match=r"'d1'.*text: must not be blank") as caught:
                await producer.send(document_id="d1", text=" ")
            assert caught.value.document_id == "d1"
            with pytest.raises(InvalidDocument, match=r"metadata.a"):
                await producer.send(document_id="d1", text="secret", metadata={"a": [1]})
            with pytest.raises(InvalidDocument, match=r"'txet'.*there are document_id, text, metadata"):
                await producer.send(document_id="d1", txet="secret")
            with pytest.raises(InvalidDocument):
                await producer.send_many([{"document_id": "d2", "text": "T"}, {"document_id": "d3"}])
        assert [one.key for one in await _records(place, "input")] == [b"d2"]

    async def test_the_first_failure_ends_the_sending(self, place: Place) -> None:
        """An endless source is not read on."""
        taken: list[int] = []

        def endless() -> Iterable[dict[str, Any]]:
            for number in itertools.count():
                taken.append(number)
                yield {"document_id": f"d{number}", "text": " " if number == 3 else "T"}

        async with docsluice.DocumentProducer(topic=place.topics["input"], **place.connection) as producer:
            with pytest.raises(InvalidDocument, match=r"'d3'"):
                await producer.send_many(endless(), in_flight=2)
        assert len(taken) <= 3 + 1 + 2
        sent = [one.key for one in await _records(place, "input")]
        assert sent[:3] == [b"d0", b"d1", b"d2"]

    async def test_what_is_too_large_is_named_and_the_others_go_on(self, place: Place) -> None:
        """The others that are under way at the same time, too."""
        async with docsluice.DocumentProducer(topic=place.topics["input"], **place.connection) as producer:
            large = place.too_large
            ends = await asyncio.gather(
                *(producer.send(document_id=f"d{n}", text=large if n == 3 else "T") for n in range(8)),
                return_exceptions=True,
            )
            after = await producer.send(document_id="after", text="T")
        (refusal,) = [end for end in ends if isinstance(end, BaseException)]
        assert isinstance(refusal, DocumentTooLarge)
        assert (refusal.document_id, refusal.size_bytes > place.most_bytes) == ("d3", True)
        assert "document d3" in str(refusal)
        assert isinstance(after, SourcePosition)
        keys = [one.key for one in await _records(place, "input")]
        assert sorted(keys) == sorted([*(b"d%d" % n for n in range(8) if n != 3), b"after"])

    async def test_an_aborted_transaction_is_not_seen(self, place: Place) -> None:
        """Nor is one that is too large. What was committed is."""
        named: dict[str, Any] = {"topic": place.topics["input"], "transactional_id": f"{place.topics['input']}.tx"}
        async with docsluice.DocumentProducer(**named, **place.connection) as producer:
            with pytest.raises(ZeroDivisionError):
                await _send_in_transaction(producer, "aborted", error=ZeroDivisionError())
            async with producer.transaction():
                await producer.send_many({"document_id": f"d{n}", "text": "T"} for n in range(3))
                assert await _records(place, "input") == [], "not before it is committed"
            with pytest.raises(DocumentTooLarge):
                await _send_in_transaction(producer, "beside", place.too_large)
            await _send_in_transaction(producer, "last")
            with pytest.raises(ConfigurationError, match=r"within"):
                await producer.send(document_id="outside", text="T")
        assert [one.key for one in await _records(place, "input")] == [b"d0", b"d1", b"d2", b"last"]

    async def test_a_transaction_needs_an_id(self, place: Place) -> None:
        """The message names the argument."""
        async with docsluice.DocumentProducer(topic=place.topics["input"], **place.connection) as producer:
            with pytest.raises(ConfigurationError, match=r"transactional_id"):
                async with producer.transaction():
                    pass

    async def test_an_earlier_producer_of_the_same_id_writes_no_more(self, place: Place) -> None:
        """What it has begun is undone, it does not take its place back, and the later one goes on."""
        named: dict[str, Any] = {"topic": place.topics["input"], "transactional_id": f"{place.topics['input']}.tx"}

        async def overtaken(earlier: docsluice.DocumentProducer) -> None:
            async with earlier.transaction():
                await earlier.send(document_id="earlier", text="T")
                await later.__aenter__()
                await _send_in_transaction(later, "later")
                await earlier.send(document_id="too late", text="T")

        later = docsluice.DocumentProducer(**named, **place.connection)
        async with docsluice.DocumentProducer(**named, **place.connection) as earlier:
            with pytest.raises(BrokerRefused, match=r"another producer"):
                await overtaken(earlier)
            with pytest.raises(BrokerRefused, match=r"another producer"):
                await _send_in_transaction(earlier, "again")
            await _send_in_transaction(later, "last")
            await later.__aexit__(None, None, None)
        assert [one.key for one in await _records(place, "input")] == [b"later", b"last"]

    async def test_a_missing_topic_is_told(self, place: Place) -> None:
        """By its name, before anything is sent."""
        with pytest.raises(BrokerRefused, match=r"there is no topic nowhere"):
            async with docsluice.DocumentProducer(topic="nowhere", **place.connection):
                pass

    async def test_a_repeat_is_dropped_and_an_aborted_result_is_not_seen(self, place: Place) -> None:
        """By the result id, whichever record it comes in."""
        await self._publish(place, [_value(1), _value(1), _value(2), _value(1)])
        with pytest.raises(ZeroDivisionError):
            await self._publish_and_abort(place, _value(8))
        await self._publish(place, [_value(3)])
        for group_id in (None, place.topics["result"]):
            async with self._results(place, group_id=group_id) as results:
                found = [one.result_id async for one in results]
            assert (found, results.repeats, results.skipped) == (["r1", "r2", "r3"], 2, 0), group_id

    async def test_a_transaction_is_not_seen_before_its_end(self, place: Place) -> None:
        """Nor is anything behind it. Then all of it comes."""
        writing = self._writer(place, transactional_id=f"{place.topics['result']}.tx")
        async with writing as writer, writer.transaction():
            await self._write(writer, place, _value(1))
            await self._publish(place, [_value(2)])
            async with self._results(place) as results:
                assert [one.result_id async for one in results] == []
        async with self._results(place) as results:
            assert [one.result_id async for one in results] == ["r1", "r2"]

    async def test_memory_for_repeats_is_bounded(self, place: Place) -> None:
        """The oldest id is forgotten first. Each result has two names."""
        await self._publish(place, [_value(1), _value(2), _value(2), _value(1)])
        async with self._results(place, remembered=2) as results:
            found = [one.result_id async for one in results]
        assert found == ["r1", "r2", "r1"]

    async def test_a_result_is_typed_and_knows_its_record(self, place: Place) -> None:
        """Key, headers and position, beside all that it says."""
        await self._publish(place, [_value(1)])
        async with self._results(place) as results:
            (found,) = [one async for one in results]
        assert found.outputs == {"summary": "Short.", "keywords": ["a", "b"]}
        assert found.model_dump() == result(1).model_dump()
        position = found.record.position
        assert (position.topic, position.partition, position.offset) == (place.topics["result"], 0, 0)
        assert (found.record.key, found.record.header("ce_id")) == (b"k", "r1")
        assert found.record.timestamp <= datetime.now(UTC) + timedelta(minutes=5)

    async def test_what_cannot_be_read_is_skipped_and_counted(
        self, place: Place, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Fields of a later release do no harm. Junk, a tombstone and another version do not end the loop."""
        news = json.dumps(json.loads(_value(1)) | {"news": [1]}).encode()
        later = json.dumps(json.loads(_value(2)) | {"schema_version": 2}).encode()
        await self._publish(place, [news, b"\xff junk", None, later, _value(3)])
        with caplog.at_level(logging.WARNING, "docsluice"):
            async with self._results(place) as results:
                found = [one.result_id async for one in results]
        assert (found, results.skipped, results.repeats) == (["r1", "r3"], 3, 0)
        assert f"skipped {place.topics['result']}/0@1: not a result" in caplog.text

    async def test_a_group_goes_on_after_a_break(self, place: Place) -> None:
        """Exactly the result in hand at the break comes again: none before it, and none is left out."""
        await self._publish(place, [_value(number) for number in range(1, 6)])
        first = []
        async with self._results(place, group_id=place.topics["result"]) as results:
            async for one in results:
                first.append(one.result_id)
                if len(first) == 3:
                    break
        async with self._results(place, group_id=place.topics["result"]) as results:
            second = [one.result_id async for one in results]
        async with self._results(place, group_id=place.topics["result"]) as results:
            third = [one.result_id async for one in results]
        assert (first, second, third) == (["r1", "r2", "r3"], ["r3", "r4", "r5"], [])

    async def test_a_commit_before_a_break_finishes_the_one_in_hand(self, place: Place) -> None:
        """Then it does not come again."""
        await self._publish(place, [_value(1), b"junk", _value(2)])
        async with self._results(place, group_id=place.topics["result"]) as results:
            async for _ in results:
                await results.commit()
                break
        async with self._results(place, group_id=place.topics["result"]) as results:
            assert [one.result_id async for one in results] == ["r2"]

    async def test_a_group_misses_nothing_that_comes_while_it_is_away(self, place: Place) -> None:
        """Though it began with the latest, and had finished none when it left."""
        async with self._results(place, from_="latest", group_id=place.topics["result"]) as results:
            assert [one.result_id async for one in results] == []
        await self._publish(place, [_value(1)])
        async with self._results(place, from_="latest", group_id=place.topics["result"]) as results:
            assert [one.result_id async for one in results] == ["r1"]

    async def test_where_it_begins(self, place: Place) -> None:
        """With the oldest, at a time, or with what comes from now on."""
        await self._publish(place, [_value(1)])
        for from_, expected in (
            ("earliest", ["r1"]),
            (datetime.now(UTC) - timedelta(hours=1), ["r1"]),
            (datetime.now(UTC) + timedelta(hours=1), []),
        ):
            async with self._results(place, from_=from_) as results:
                assert [one.result_id async for one in results] == expected, from_
        async with self._results(place, from_="latest") as results:
            await self._publish(place, [_value(2)])
            assert [one.result_id async for one in results] == ["r2"]

    async def test_a_dead_letter_is_typed(self, place: Place) -> None:
        """Its reason, where it came from, and the document."""
        said = {"topic": "in", "partition": "0", "offset": "7", "reason": "refused", "cost_usd": "0.5", "step": "s"}
        headers = [(ERROR_HEADER_PREFIX + name, text.encode()) for name, text in said.items()]
        async with self._writer(place, "dead_letter") as writer:
            for _ in range(2):
                record = ProducerRecord(
                    topic=place.topics["dead_letter"],
                    key=b"d7",
                    value=b'{"document_id": "d7", "text": "T", "metadata": {"lang": "vi"}}',
                    headers=headers,
                )
                await writer.write(record, document_id="d7")
        letters = docsluice.dead_letters(
            topic=place.topics["dead_letter"], from_="earliest", idle_seconds=place.idle_seconds, **place.connection
        )
        (letter,) = [one async for one in letters]
        assert (letter.document_id, letter.reason, letter.step, letter.metadata) == (
            "d7",
            "refused",
            "s",
            {"lang": "vi"},
        )
        assert letter.source == SourcePosition(topic="in", partition=0, offset=7)
        assert (letter.errors["offset"], letter.record.key, letters.repeats) == ("7", b"d7", 1)

    def _results(self, place: Place, **how: Any) -> docsluice.Subscription[docsluice.ReceivedResult]:
        told: dict[str, Any] = {"from_": "earliest", "idle_seconds": place.idle_seconds, **how}
        return docsluice.results(topic=place.topics["result"], **told, **place.connection)

    def _writer(self, place: Place, role: str = "result", *, transactional_id: str | None = None) -> Any:
        topics, _ = topics_of(place.connection)
        return topics.writing(place.topics[role], transactional_id=transactional_id)

    async def _publish(self, place: Place, values: Iterable[bytes | None]) -> None:
        async with self._writer(place) as writer:
            for value in values:
                await self._write(writer, place, value)

    async def _publish_and_abort(self, place: Place, value: bytes) -> None:
        writing = self._writer(place, transactional_id=f"{place.topics['result']}.tx")
        async with writing as writer, writer.transaction():
            await self._write(writer, place, value)
            raise ZeroDivisionError

    async def _write(self, writer: TopicWriter, place: Place, value: bytes | None) -> None:
        headers = result_headers(result(1), group_id="g")
        record = ProducerRecord(topic=place.topics["result"], key=b"k", value=value, headers=headers)
        await writer.write(record, document_id="")


async def _send_in_transaction(
    producer: docsluice.DocumentProducer, document_id: str, large: str = "", *, error: Exception | None = None
) -> None:
    async with producer.transaction():
        await producer.send(document_id=document_id, text="T")
        if large:
            await producer.send(document_id="large", text=large)
        if error is not None:
            raise error


async def _records(place: Place, role: str) -> list[Any]:
    topics, _ = topics_of(place.connection)
    return [one async for records in topics.present(place.topics[role], since=None) for one in records]


def _value(number: int) -> bytes:
    return result(number).model_dump_json().encode()

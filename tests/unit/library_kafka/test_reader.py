"""What an onlooker makes of a broker that goes, comes back, or is slow to answer."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from docsluice.kafka import reader as reader_room
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.client_log import ClientLog
from docsluice.kafka.reader import Reader, Start


class Client:
    """A consumer that never has anything to read."""

    def __init__(self) -> None:
        self.stopped = False

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[object]]:
        return {}

    def pause(self, *partitions: TopicPartition) -> None: ...

    def resume(self, *partitions: TopicPartition) -> None: ...

    async def stop(self) -> None:
        self.stopped = True


class Onlooker:
    """A reader on that client, with the topics that a broker would list."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reader_room, "_REST_SECONDS", 0)
        monkeypatch.setattr(reader_room, "_LOOK_SECONDS", 0)
        monkeypatch.setattr(reader_room, "partitions_of_topics", self._listed)
        self.said: list[str] = []
        self.log = ClientLog()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.refusal: Exception | None = None
        self.looks = 0
        self.now = 100.0
        self.client = Client()
        session = BrokerSession(
            broker=Broker(bootstrap_servers="b:1"), wait_seconds=30, client_log=self.log, say=self.said.append
        )
        self.reader = Reader(session=session, topics=["t"], start=Start())
        self.reader._consumer = self.client
        monkeypatch.setattr(self.reader, "_loop", self)
        self.reader._positions[TopicPartition("t", 0)] = 0

    def time(self) -> float:
        """The loop's clock."""
        return self.now

    async def _listed(self, _broker: Broker) -> dict[str, list[int]]:
        self.looks += 1
        await self.may_answer.wait()
        if self.refusal is not None:
            raise self.refusal
        return {"t": [0]}

    async def fetch(self) -> None:
        """One round, with all that it sets off."""
        assert await self.reader.fetch(timeout_ms=0) == []
        if self.reader._look is not None and self.may_answer.is_set():
            await asyncio.wait([self.reader._look])


async def test_a_broker_that_is_slow_to_list_its_topics_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading goes on beside a look that hangs. There is one look at a time, and closing ends it."""
    read_only_consumer = Onlooker(monkeypatch)
    read_only_consumer.may_answer.clear()
    for _ in range(5):
        await read_only_consumer.fetch()
    assert read_only_consumer.looks == 1
    look = read_only_consumer.reader._look
    assert look is not None
    await read_only_consumer.reader.close()
    assert look.cancelled()
    assert read_only_consumer.client.stopped


async def test_a_look_is_taken_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partitions may come at any time."""
    read_only_consumer = Onlooker(monkeypatch)
    for _ in range(5):
        await read_only_consumer.fetch()
    assert read_only_consumer.looks == 5


async def test_a_broken_look_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug in the looking is a bug, not a broker that is away."""
    read_only_consumer = Onlooker(monkeypatch)
    monkeypatch.setattr(reader_room, "partitions_of_topics", None)
    await read_only_consumer.fetch()
    with pytest.raises(TypeError):
        await read_only_consumer.fetch()


async def test_a_broker_is_lost_once_and_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line for each, however often the client fails, and it is not back while the client still fails."""
    read_only_consumer = Onlooker(monkeypatch)
    monkeypatch.setattr(reader_room, "_LOOK_SECONDS", 30.0)
    lost, back = "lost the broker at b:1 (connection refused): waiting for it", "the broker at b:1 is back"
    for now, fails, said in (
        (0, True, [lost]),
        (2, True, [lost]),
        (3, False, [lost]),
        (4, False, [lost, back]),
        (6, False, [lost, back]),
        (8, True, [lost, back, lost]),
        (10, False, [lost, back, lost, back]),
    ):
        read_only_consumer.now = now
        if fails:
            read_only_consumer.log.last = ConnectionRefusedError("refused")
        await read_only_consumer.fetch()
        assert read_only_consumer.said == said, now


async def test_a_broker_that_lists_nothing_is_not_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The looking fails as the reading does: nobody is told of that again."""
    read_only_consumer = Onlooker(monkeypatch)
    read_only_consumer.log.last = ConnectionRefusedError("refused")
    await read_only_consumer.fetch()
    for error in (KafkaConnectionError("away"), TimeoutError(), KafkaConnectionError("away")):
        read_only_consumer.refusal = error
        read_only_consumer.now += 10
        await read_only_consumer.fetch()
    assert len(read_only_consumer.said) == 1

"""Where the reading of a topic to its end ends, whatever lies before it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError

from producer.faults import BrokerAway, BrokerRefused
from producer.scanning import Scan

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
Round = dict[TopicPartition, tuple[list[int], int]]
"""What one look brings, by partition: the offsets of its records, and the position behind them."""


@dataclass
class Record:
    offset: int


class Client:
    """A consumer that brings these rounds and then nothing, from a broker that goes on answering, or does not.

    Each look takes a second.
    """

    def __init__(self, *rounds: Round, falls_silent: bool = False) -> None:
        self.now = 0.0
        self.empty_answers = 0
        self.paused: list[TopicPartition] = []
        self.error: Exception | None = None
        self._rounds = deque(rounds)
        self._falls_silent = falls_silent
        self._positions: Counter[TopicPartition] = Counter()
        self._answers: Counter[TopicPartition] = Counter()

    def time(self) -> float:
        """The loop's clock."""
        return self.now

    async def getmany(self, *, timeout_ms: int) -> dict[TopicPartition, list[Record]]:
        await asyncio.sleep(0)
        self.now += 1
        if self.error is not None:
            raise self.error
        if not self._rounds:
            if not self._falls_silent:
                self.empty_answers += 1
                self._answers.update((P0, P1))
            return {}
        found = self._rounds.popleft()
        self._answers.update((P0, P1))
        self._positions.update({partition: at - self._positions[partition] for partition, (_, at) in found.items()})
        return {partition: [Record(one) for one in offsets] for partition, (offsets, _) in found.items() if offsets}

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return self._answers[partition] or None

    def pause(self, partition: TopicPartition) -> None:
        self.paused.append(partition)


class Reading:
    """A scan of that client."""

    def __init__(
        self, client: Client, ends: dict[TopicPartition, int], monkeypatch: pytest.MonkeyPatch, patience: float = 30.0
    ) -> None:
        self.said: list[str] = []
        self.scan = Scan(
            consumer=client,
            first=dict.fromkeys(ends, 0),
            ends=ends,
            where="t on b:1",
            patience_seconds=patience,
            say=self.said.append,
        )
        monkeypatch.setattr(self.scan, "_loop", client)
        self.scan._heard_at = client.now

    async def offsets(self) -> list[int]:
        async with asyncio.timeout(30):
            return [record.offset async for record in self.scan]


async def test_it_ends_where_the_topic_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for more, and without what has come since."""
    client = Client({P0: ([0, 1], 2)}, {P0: ([2, 3, 4], 5), P1: ([0], 1)})
    reading = Reading(client, {P0: 4, P1: 1}, monkeypatch)
    assert await reading.offsets() == [0, 1, 2, 3, 0]
    assert client.empty_answers == 0
    assert (reading.scan.done, reading.scan.total) == (5, 5)


async def test_marks_of_transactions_count_as_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The position moves over them, though no record comes."""
    client = Client({P0: ([0], 1)}, {P0: ([], 3)})
    assert await Reading(client, {P0: 3}, monkeypatch).offsets() == [0]
    assert client.empty_answers == 0


async def test_what_never_comes_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that answers again and again with nothing has nothing before that end."""
    client = Client({P0: ([0], 1)})
    assert await Reading(client, {P0: 9, P1: 3}, monkeypatch).offsets() == [0]
    assert sorted(client.paused) == [P0, P1]


async def test_a_partition_is_not_given_up_while_another_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn may come last, for an answer has room for so much."""
    rounds: list[Round] = [one for offset in range(20) for one in ({P0: ([offset], offset + 1)}, {}, {})]
    client = Client(*rounds, {P1: ([0], 1)})
    assert await Reading(client, {P0: 21, P1: 1}, monkeypatch).offsets() == [*range(20), 0]


async def test_nothing_in_a_topic_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is not even asked, whether the topic is empty or is not there."""
    client = Client()
    assert await Reading(client, {P0: 0}, monkeypatch).offsets() == []
    assert await Reading(client, {}, monkeypatch).offsets() == []
    assert client.now == 0
    assert Reading(client, {P0: 0}, monkeypatch).scan.is_there
    assert not Reading(client, {}, monkeypatch).scan.is_there


async def test_a_broker_that_says_nothing_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, which is told once, and given up: what was not read must not count as not there."""
    reading = Reading(Client({P0: ([0], 1)}, falls_silent=True), {P0: 2}, monkeypatch, patience=10)
    with pytest.raises(BrokerAway, match="t on b:1: no answer for 10 s"):
        await reading.offsets()
    assert len(reading.said) == 1
    assert reading.said[0].startswith("t on b:1: no answer for ")


async def test_a_refusal_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What we may not read is told with the topic."""
    client = Client()
    client.error = TopicAuthorizationFailedError("t")
    with pytest.raises(BrokerRefused, match="t on b:1 cannot be read"):
        await Reading(client, {P0: 1}, monkeypatch).offsets()

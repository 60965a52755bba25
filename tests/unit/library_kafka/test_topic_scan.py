"""Where the reading of a topic to its end ends, whatever lies before it."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from dataclasses import dataclass
from datetime import timedelta

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import TopicAuthorizationFailedError
from aiokafka.structs import OffsetAndTimestamp

from docsluice.kafka import topic_reading, topic_scan
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.client_log import ClientLog
from docsluice.kafka.topic_reading import OffsetRange
from docsluice.kafka.topic_scan import Scan
from docsluice_producer.errors import BrokerAway, BrokerRefused

P0, P1 = TopicPartition("t", 0), TopicPartition("t", 1)
Round = dict[TopicPartition, tuple[list[int], int]]
"""What one look brings, by partition: the offsets of its records, and the position behind them."""


@dataclass
class Record:
    topic: str
    partition: int
    offset: int
    key: bytes | None = None
    value: bytes | None = None

    @property
    def timestamp(self) -> int:
        return 10 * self.offset + self.partition


class Client:
    """A consumer that brings these rounds and then nothing, from a broker that goes on answering, or does not.

    Each look takes a second. A round that is None is one without an answer.
    """

    def __init__(self, *rounds: Round | None, falls_silent: bool = False) -> None:
        self.now = 0.0
        self.empty_answers = 0
        self.assigned: list[TopicPartition] = []
        self.paused: list[TopicPartition] = []
        self.error: Exception | None = None
        self.stable_to: int | None = 1_000
        self.lost: TopicPartition | None = None
        self._rounds = deque(rounds)
        self._falls_silent = falls_silent
        self._brought: list[Record] = []
        self._positions: Counter[TopicPartition] = Counter()
        self._answers: Counter[TopicPartition] = Counter()

    def time(self) -> float:
        """The clock."""
        return self.now

    async def start(self) -> None:
        await asyncio.sleep(0)

    async def stop(self) -> None:
        await asyncio.sleep(0)

    def assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = partitions

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[Record]]:
        """One record after another. A look that does not wait ends with its round."""
        assert max_records == 1
        await asyncio.sleep(0)
        if not self._brought and timeout_ms:
            self._brought = await self._look()
        if not self._brought:
            return {}
        record = self._brought.pop(0)
        return {TopicPartition(record.topic, record.partition): [record]}

    async def _look(self) -> list[Record]:
        self.now += 1
        if self.error is not None:
            raise self.error
        if not self._rounds:
            if not self._falls_silent:
                self.empty_answers += 1
                self._answers.update((P0, P1))
            return []
        found = self._rounds.popleft()
        if found is None:
            return []
        self._answers.update((P0, P1))
        self._positions.update({partition: at - self._positions[partition] for partition, (_, at) in found.items()})
        return [Record(one.topic, one.partition, offset) for one, (offsets, _) in found.items() for offset in offsets]

    async def position(self, partition: TopicPartition) -> int:
        if partition == self.lost:
            await asyncio.Event().wait()
        return self._positions[partition]

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return self._answers[partition] or None

    def last_stable_offset(self, partition: TopicPartition) -> int | None:
        return self.stable_to

    def pause(self, partition: TopicPartition) -> None:
        self.paused.append(partition)

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 2)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 9)

    async def offsets_for_times(
        self, timestamps: dict[TopicPartition, int]
    ) -> dict[TopicPartition, OffsetAndTimestamp | None]:
        return {one: OffsetAndTimestamp(5, 0) if one == P0 else None for one in timestamps}


class Reading:
    """A scan of that client, from the beginning to these ends."""

    def __init__(
        self, client: Client, ends: dict[TopicPartition, int], monkeypatch: pytest.MonkeyPatch, wait: float = 30.0
    ) -> None:
        monkeypatch.setattr(topic_scan, "range_consumer", lambda _: client)
        monkeypatch.setattr(topic_scan, "read_only_consumer", lambda *_, **__: client)
        monkeypatch.setattr(topic_scan, "monotonic", client.time)
        self.said: list[str] = []
        self.log = ClientLog()
        session = BrokerSession(
            broker=Broker(bootstrap_servers="b:1"), wait_seconds=wait, client_log=self.log, say=self.said.append
        )
        self.offset_range = OffsetRange(first=dict.fromkeys(ends, 0), end=ends)
        self.scan = Scan(session=session, topic="t", partitions=[0, 1])

    async def offsets(self, offset_range: OffsetRange | None = None) -> list[int]:
        async with asyncio.timeout(30), self.scan:
            return [one.offset async for piece in self.scan.pieces(offset_range or self.offset_range) for one in piece]


async def test_it_ends_where_the_topic_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without waiting for more, and without what has come since."""
    client = Client({P0: ([0, 1], 2)}, {P0: ([2, 3, 4], 5), P1: ([0], 1)})
    reading = Reading(client, {P0: 4, P1: 1}, monkeypatch)
    assert sorted(await reading.offsets()) == [0, 0, 1, 2, 3]
    assert client.empty_answers == 0
    assert (reading.scan.passed, reading.offset_range.offsets) == (5, 5)


async def test_the_oldest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what one look brings, over all partitions."""
    client = Client({P1: ([0, 2], 3), P0: ([0, 1, 3], 4)})
    assert await Reading(client, {P0: 4, P1: 3}, monkeypatch).offsets() == [0, 0, 1, 2, 3]


async def test_marks_of_transactions_count_as_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The position moves over them, though no record comes."""
    client = Client({P0: ([0], 1)}, {P0: ([], 3)})
    assert await Reading(client, {P0: 3}, monkeypatch).offsets() == [0]
    assert client.empty_answers == 0


@pytest.mark.parametrize("stable_to", [9, 1_000, None])
async def test_what_never_comes_is_not_waited_for(stable_to: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broker that answers again and again with nothing has nothing before that end."""
    client = Client({P0: ([0], 1)})
    client.stable_to = stable_to
    reading = Reading(client, {P0: 9, P1: 3}, monkeypatch)
    assert await reading.offsets() == [0]
    assert sorted(client.paused) == [P0, P1]
    assert reading.scan.passed == 12
    assert reading.said == []


async def test_a_partition_is_not_given_up_while_another_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn may come last, for an answer has room for so much."""
    rounds: list[Round] = [one for offset in range(20) for one in ({P0: ([offset], offset + 1)}, {}, {})]
    client = Client(*rounds, {P1: ([0], 1)})
    assert await Reading(client, {P0: 21, P1: 1}, monkeypatch).offsets() == [*range(20), 0]


async def test_a_partition_is_not_given_up_before_all_of_it_is_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica that has just begun to lead may not know for a moment that it is, and has nothing until it does."""
    client = Client({P0: ([0], 1)}, *[{}] * 8, {P0: ([1], 2)})
    client.stable_to = 1
    assert await Reading(client, {P0: 2}, monkeypatch).offsets() == [0, 1]
    client = Client({P0: ([0], 1)})
    client.stable_to = 1
    with pytest.raises(BrokerAway):
        await Reading(client, {P0: 2}, monkeypatch).offsets()


async def test_nothing_in_a_topic_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker is not even asked."""
    client = Client()
    assert await Reading(client, {P0: 0}, monkeypatch).offsets() == []
    assert await Reading(client, {}, monkeypatch).offsets() == []
    assert (client.now, client.assigned) == (0, [])


async def test_a_range_is_all_or_what_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the end that there is. A partition with nothing so young has nothing in it."""
    async with Reading(Client(), {}, monkeypatch).scan as scan:
        everything = await scan.offset_range()
        young = await scan.offset_range(since=timedelta(hours=1))
    assert everything == OffsetRange(first={P0: 2, P1: 2}, end={P0: 9, P1: 9})
    assert (young.first, young.end, young.offsets) == ({P0: 5, P1: 9}, {P0: 9, P1: 9}, 4)


async def test_a_single_place_is_read_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a place that is not in the range is nothing to read."""
    client = Client({P0: ([3, 4], 5)})
    reading = Reading(client, {P0: 9, P1: 9}, monkeypatch)
    assert await reading.offsets(reading.offset_range.at(P0, 3)) == [3]
    assert client.assigned == [P0]
    assert {reading.offset_range.at(*one).offsets for one in ((P0, 9), (TopicPartition("t", 7), 0))} == {0}


async def test_who_asks_to_stop_is_not_kept_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether records come or not."""
    client = Client({P0: ([0], 1)}, {P0: ([1], 2)}, falls_silent=True)
    reading = Reading(client, {P0: 9}, monkeypatch)
    async with reading.scan:
        pieces = reading.scan.pieces(reading.offset_range, stopped=lambda: client.now == 2)
        assert [one.offset async for piece in pieces for one in piece] == [0, 1]


@pytest.mark.parametrize("why", [None, OSError("gone")])
async def test_a_broker_that_says_nothing_is_no_end(why: OSError | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, told once with the reason, and given up: what was not read must not count as not there."""
    reading = Reading(Client({P0: ([0], 1)}, falls_silent=True), {P0: 2}, monkeypatch, wait=10)
    monkeypatch.setattr(reading.log, "forget", lambda: None)
    reading.log.last = why
    known = " (gone)" if why else ""
    with pytest.raises(BrokerAway) as caught:
        await reading.offsets()
    assert str(caught.value) == f"no answer from b:1 about t for 10 s{known}"
    assert reading.said == [f"no answer from b:1 about t{known}: waiting for up to 10 s"]


async def test_time_that_the_records_take_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long one works on a piece, the broker gets its time after it."""
    client = Client({P0: ([0], 1)}, None, None, {P0: ([1], 2)})
    reading = Reading(client, {P0: 2}, monkeypatch, wait=5)
    async with reading.scan:
        async for _ in reading.scan.pieces(reading.offset_range):
            client.now += 1_000
    assert reading.said == []


async def test_a_place_that_retention_took_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is asked what is first there now, the records of another partition are counted as read."""
    monkeypatch.setattr(topic_reading, "_POSITION_SECONDS", 0.0)
    client = Client({P1: ([0], 1)}, {P1: ([1], 2)}, falls_silent=True)
    client.lost = P0
    reading = Reading(client, {P0: 3, P1: 2}, monkeypatch)
    with pytest.raises(BrokerAway):
        await reading.offsets()
    assert (reading.scan.passed, client.paused) == (2, [P1])


async def test_a_refusal_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """What we may not read is told with the topic."""
    client = Client()
    client.error = TopicAuthorizationFailedError("t")
    with pytest.raises(BrokerRefused, match="t on b:1 cannot be read"):
        await Reading(client, {P0: 1}, monkeypatch).offsets()

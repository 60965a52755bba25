"""Whether the broker answers, what its silence is said to come from, and how far its logs reach."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError
from aiokafka.producer.sender import log as sender_log
from structlog.testing import capture_logs

from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import BrokerFault, ConfigurationError
from docsluice_consumer.kafka.broker_refusals import REFUSED_SECONDS
from docsluice_consumer.kafka.offsets import CommitPoint
from docsluice_consumer.kafka.partitions import Partitions
from docsluice_consumer.kafka.probe import Trouble
from docsluice_consumer.kafka.refused_batches import RefusedBatches
from docsluice_consumer.kafka.watch import SILENT_SECONDS, BrokerWatch

P0, P1 = TopicPartition("documents", 0), TopicPartition("documents", 1)
REFUSED = Trouble("connection refused")
WRONG_PASSWORD = Trouble("the broker does not accept the password", is_final=True)


class FakeConsumer:
    """As much of aiokafka's as the watch asks. `errors` are by partition. None of them is about the cluster."""

    def __init__(self, ends: dict[TopicPartition, int]) -> None:
        self.ends = ends
        self.errors: dict[TopicPartition | None, KafkaError] = {}
        self.fetched: dict[TopicPartition, tuple[int, int]] = {}
        self.questions = 0

    def assignment(self) -> set[TopicPartition]:
        return set(self.ends)

    async def topics(self) -> set[str]:
        self.questions += 1
        self._raise([None])
        return {"documents"}

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self._raise(partitions)
        return dict.fromkeys(partitions, 2)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        self.questions += 1
        self._raise(partitions)
        return {partition: self.ends[partition] for partition in partitions}

    def last_poll_timestamp(self, _partition: TopicPartition) -> int | None:
        return None

    def last_stable_offset(self, partition: TopicPartition) -> int | None:
        return self.fetched.get(partition, (None, None))[0]

    def highwater(self, partition: TopicPartition) -> int | None:
        return self.fetched.get(partition, (None, None))[1]

    def _raise(self, partitions: Sequence[TopicPartition | None]) -> None:
        for partition in partitions:
            if partition in self.errors:
                raise self.errors[partition]


class Bench:
    """A watch over partitions 0 and 1, whose clock stands still until a test moves it."""

    def __init__(self, *, partitions: Sequence[TopicPartition] = (P0, P1)) -> None:
        self.now = 1000.0
        self.trouble: Trouble | Exception | None = REFUSED
        self.partitions = Partitions()
        self.consumer = FakeConsumer(dict.fromkeys(partitions, 10))
        for partition in partitions:
            self.partitions.begin(partition, committed=CommitPoint(4)).answered_at = self.now
        self.watch = BrokerWatch(
            broker=Broker(bootstrap_servers="kafka:9092"),
            topic="documents",
            partitions=self.partitions,
            diagnose=self._diagnose,
            clock=lambda: self.now,
        )
        self.watch._consumer = self.consumer

    async def _diagnose(self) -> Trouble | None:
        if isinstance(self.trouble, Exception):
            raise self.trouble
        return self.trouble

    def cut(self) -> None:
        self.consumer.errors = dict.fromkeys((P0, P1, None), KafkaConnectionError("gone"))

    async def live(self, seconds: float) -> list[dict[str, object]]:
        """Let time pass, and return what was said."""
        with capture_logs() as logs:
            for _ in range(round(seconds)):
                self.now += 1
                await self.watch.inquire()
                self.watch.judge()
        return [dict(line) for line in logs]


async def test_a_broker_that_answers_is_never_spoken_of() -> None:
    """It is asked every few seconds, and the figure stays small."""
    bench = Bench()
    assert await bench.live(120) == []
    assert bench.watch.why_not_ready() is None
    assert bench.watch.silent_seconds() < 10
    assert 20 <= bench.consumer.questions <= 30


async def test_the_lag_is_known_though_nothing_is_ever_read() -> None:
    """A partition that is paused from the start has its ends asked for all the same."""
    bench = Bench()
    state = bench.partitions.find(P0)
    assert state is not None
    assert state.lag() is None
    await bench.live(1)
    assert state.lag() == 6
    bench.consumer.ends[P0] = 30
    await bench.live(6)
    assert state.lag() == 26


async def test_a_short_absence_is_one_line_and_one_when_it_is_over() -> None:
    """Else nobody could tell later why nothing was done for ten seconds. The service stays ready."""
    bench = Bench()
    await bench.live(6)
    bench.cut()
    (away,) = await bench.live(10)
    assert (away["event"], away["broker"], away["error"]) == ("broker.away", "kafka:9092", "KafkaConnectionError: gone")
    assert "nothing is lost" in str(away["remedy"])
    assert bench.watch.why_not_ready() is None
    bench.consumer.errors.clear()
    (back,) = await bench.live(10)
    assert (back["event"], back["broker"], back["log_level"]) == ("broker.back", "kafka:9092", "warning")
    assert 10 <= float(str(back["seconds"])) <= 20
    assert await bench.live(30) == []


async def test_a_question_without_an_answer_is_an_absence(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says how long it was waited for."""
    bench = Bench()

    async def never(_partitions: object) -> dict[TopicPartition, int]:
        raise TimeoutError

    monkeypatch.setattr(bench.consumer, "end_offsets", never)
    (away,) = await bench.live(6)
    assert away["error"] == "no answer within 5 seconds"


async def test_a_member_without_partitions_says_an_absence_too() -> None:
    """It would take over when another dies."""
    bench = Bench(partitions=())
    bench.consumer.errors[None] = KafkaError("Unable to get cluster metadata over all known brokers")  # it has no kind
    (away,) = await bench.live(6)
    assert away["event"] == "broker.away"


async def test_a_silence_is_one_line_with_its_cause_and_one_when_it_is_over() -> None:
    """With what waits meanwhile, and the address that is to be looked at."""
    bench = Bench()
    await bench.live(5)
    bench.cut()
    (line,) = await bench.live(SILENT_SECONDS - 6)
    assert line["event"] == "broker.away"
    assert bench.watch.why_not_ready() is None
    (line,) = await bench.live(60)
    assert (line["event"], line["broker"], line["cause"]) == ("broker.silent", "kafka:9092", "connection refused")
    assert (line["partitions"], line["backlog"]) == ([0, 1], 12)
    assert "kafka:9092 has not answered for" in (bench.watch.why_not_ready() or "")
    assert "connection refused" in (bench.watch.why_not_ready() or "")
    bench.consumer.errors.clear()
    (line,) = await bench.live(20)
    assert line["event"] == "broker.answers"
    assert bench.watch.why_not_ready() is None


async def test_a_member_without_partitions_watches_the_cluster() -> None:
    """It would take over when another dies, so it must know of a silence, too."""
    bench = Bench(partitions=())
    assert await bench.live(60) == []
    bench.cut()
    _, line = await bench.live(60)
    assert (line["event"], line["partitions"]) == ("broker.silent", [])


async def test_one_partition_without_a_leader_is_named_and_the_other_goes_on() -> None:
    """The broker answers, so the cause is not the broker. The other partition's end stays up to date."""
    bench = Bench()
    bench.trouble = None
    bench.consumer.errors[P1] = KafkaConnectionError("no leader")
    (line,) = await bench.live(60)
    assert line["partitions"] == [1]
    assert line["cause"] == "it answers, but not for partition 1 of documents; has it a leader?"
    bench.consumer.ends[P0] = 44
    await bench.live(6)
    state = bench.partitions.find(P0)
    assert state is not None
    assert state.lag() == 40


async def test_a_broker_that_refuses_us_for_long_ends_the_service() -> None:
    """Not at once: a new password reaches the broker and its clients at different moments."""
    bench = Bench()
    bench.cut()
    bench.trouble = WRONG_PASSWORD
    await bench.live(REFUSED_SECONDS - 5)
    with pytest.raises(BrokerFault, match=r"kafka:9092 refuses us: the broker does not accept the password"):
        await bench.live(30)


async def test_a_broker_that_is_away_is_waited_for_without_an_end() -> None:
    """And refusals in between do not add up."""
    bench = Bench()
    bench.cut()
    for _ in range(4):
        bench.trouble = WRONG_PASSWORD
        await bench.live(REFUSED_SECONDS / 2)
        bench.trouble = REFUSED
        await bench.live(REFUSED_SECONDS / 2)


async def test_a_right_that_was_taken_away_is_no_silence_of_the_broker() -> None:
    """It answers everybody else. What it says to us is the cause, and it does not pass by waiting."""
    bench = Bench()
    bench.trouble = None
    bench.consumer.errors = dict.fromkeys((P0, P1), TopicAuthorizationFailedError("documents"))
    (line,) = await bench.live(60)
    assert "grant READ on the input" in str(line["cause"])
    with pytest.raises(BrokerFault, match="grant READ on the input"):
        await bench.live(REFUSED_SECONDS)


async def test_a_certificate_file_that_is_gone_is_a_cause() -> None:
    """The file may be on its way to be replaced, so it is not the end at once."""
    bench = Bench()
    bench.cut()
    bench.trouble = ConfigurationError(["DOCSLUICE_KAFKA_SSL_CAFILE cannot be used"])
    _, line = await bench.live(60)
    assert line["cause"] == "DOCSLUICE_KAFKA_SSL_CAFILE cannot be used"


async def test_an_open_transaction_is_named_now_and_then() -> None:
    """Only when the same one stands there for long, and again when it still does much later."""
    bench = Bench()
    bench.consumer.fetched[P0] = (7, 20)
    assert await bench.live(50) == []
    bench.consumer.fetched[P0] = (8, 20)
    assert await bench.live(50) == []
    (line,) = await bench.live(40)
    assert (line["event"], line["partition"], line["offset"]) == ("transaction.open", 0, 8)
    assert line["records_behind_it"] == 12
    assert len(await bench.live(700)) == 1
    bench.consumer.fetched[P0] = (20, 20)
    assert await bench.live(700) == []


async def test_refused_batches_are_listened_for_as_long_as_it_runs() -> None:
    """The client's sender tells nobody else."""
    bench = Bench()
    running = asyncio.create_task(bench.watch.run(bench.consumer))
    await asyncio.sleep(0)
    assert any(isinstance(listener, RefusedBatches) for listener in sender_log.filters)
    running.cancel()
    await asyncio.wait([running])
    assert not sender_log.filters

"""What one round of transactions takes, and what becomes of a transaction of which the end is not known."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError

from docsluice.kafka import transactions
from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import BrokerFault, RecordRejected
from docsluice_consumer.kafka import exactly_once
from docsluice_consumer.kafka.exactly_once import ExactlyOnceSink
from docsluice_consumer.kafka.offsets import CommitPoint, Run, encode
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.timer import settled
from tests.fakes.transactions import PARTITION, Cluster, Member, Owner

LARGE = random.Random(1).randbytes(500)


@pytest.fixture
async def owner(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Owner]:
    cluster = Cluster()
    monkeypatch.setattr(transactions, "AIOKafkaProducer", cluster.producer)
    monkeypatch.setattr(exactly_once, "committed_points", cluster.committed_points)
    monkeypatch.setattr(exactly_once, "most_bytes_of", cluster.most_bytes_of)
    monkeypatch.setattr(exactly_once, "_PAUSE_SECONDS", 0)
    sink = ExactlyOnceSink(broker=Broker(bootstrap_servers="nowhere:1"), group_id="g", metrics=Metrics())
    await sink.acquire(PARTITION, epoch=1)
    owner = Owner(sink, cluster)
    yield owner
    await sink.close()
    await asyncio.gather(*owner.tasks, return_exceptions=True)


async def test_a_transaction_that_fails_leaves_nothing_for_asyncio_to_complain_of(owner: Owner) -> None:
    """Its failure has come by another way: a stack trace in the log would tell nothing new."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    owner.cluster.too_large = frozenset({b"large"})
    task = owner.ends(b"large")
    await owner.commits()
    with pytest.raises(RecordRejected):
        await task
    del task
    await owner.commits()  # with a new producer
    gc.collect()
    assert complaints == []


async def test_a_round_takes_what_had_finished_when_it_began(owner: Owner) -> None:
    """What finishes meanwhile is the next round's: else one round goes on for as long as there is work."""
    owner.cluster.meanwhile = lambda: owner.ends(b"later")
    first, second = owner.ends(b"first"), owner.ends(b"second")
    assert await owner.commits() == []
    assert owner.cluster.transactions == [[b"first", b"second"]]
    assert first.done()
    assert second.done()
    owner.ends(b"third")
    await owner.commits()
    assert owner.cluster.transactions[1:] == [[b"later", b"third"]]


async def test_a_round_of_records_without_outcomes_is_one_transaction(owner: Owner) -> None:
    """Tombstones and what is skipped end without one, and the offset moves on during each transaction too."""

    def tombstone() -> None:
        owner.state.ended(owner.reads().offset)

    tombstone()
    owner.cluster.meanwhile = tombstone
    await owner.commits()
    assert owner.cluster.transactions == [[]]
    assert owner.cluster.stored == CommitPoint(1)


async def test_a_round_tries_again_with_what_it_has(owner: Owner) -> None:
    """A transaction that failed is made up for at once, and what has finished meanwhile waits for its own round."""
    owner.cluster.loses = "request"
    owner.cluster.meanwhile = lambda: owner.ends(b"later")
    owner.ends(b"first")
    await owner.commits()
    assert owner.cluster.transactions == [[b"first"]]


async def test_the_records_of_a_refused_batch_are_tried_one_by_one(owner: Owner) -> None:
    """Those that came with the one that is too large, and no others: they go together again."""
    owner.cluster.too_large = frozenset({LARGE})
    owner.cluster.meanwhile = lambda: owner.ends(b"later")
    owner.ends(b"first")
    large = owner.reads()
    rejected = owner.ends(LARGE, ending=large)
    owner.ends(b"last")
    await owner.commits()
    assert owner.cluster.transactions == [[b"first"], [b"last"]]
    assert isinstance(rejected.exception(), RecordRejected)
    assert owner.state.committed == CommitPoint(1, encode(1, [Run(2, 3)]))
    owner.ends(b"dead letter", ending=large)
    await owner.commits()
    assert owner.cluster.transactions[2:] == [[b"later", b"later", b"dead letter"]]


async def test_what_is_alone_shares_its_transaction_with_nobody(owner: Owner) -> None:
    """It has its own compression, and it may be refused. The others go together before it and behind it."""
    for value in (b"a", b"b"):
        owner.ends(value)
    await settled()
    owner.ends(b"alone", alone=True)
    await settled()
    for value in (b"c", b"d"):
        owner.ends(value)
    await owner.commits()
    assert owner.cluster.transactions == [[b"a", b"b"], [b"alone"], [b"c", b"d"]]
    assert owner.cluster.codecs == ["gzip", "zstd", "gzip"]


async def test_a_refused_codec_is_not_asked_for_again(owner: Owner) -> None:
    """Some brokers know gzip only."""
    owner.cluster.refused_codecs = frozenset({"zstd"})
    owner.ends(b"alone", alone=True)
    await owner.commits()
    owner.ends(b"alone too", alone=True)
    await owner.commits()
    assert owner.cluster.transactions == [[b"alone"], [b"alone too"]]
    assert owner.cluster.codecs == ["gzip", "gzip"]


async def test_no_producer_is_replaced_while_it_is_not_known_whose_the_partition_is(owner: Owner) -> None:
    """A new one would shut out the rightful owner."""
    owner.ends(b"alone", alone=True)
    assert await owner.commits(Member(rebalancing=True)) == []
    assert owner.cluster.transactions == []
    await owner.commits()
    assert owner.cluster.transactions == [[b"alone"]]


async def test_what_is_known_not_to_fit_fails_no_transaction(owner: Owner) -> None:
    """Once refused, the like of it is refused before it is sent."""
    owner.cluster.too_large = frozenset({LARGE})
    large = owner.reads()
    rejected = owner.ends(LARGE, ending=large)
    await owner.commits()
    again = owner.ends(LARGE + LARGE, ending=large)
    owner.ends(b"other")
    await owner.commits()
    assert isinstance(rejected.exception(), RecordRejected)
    assert isinstance(again.exception(), RecordRejected)
    assert owner.cluster.published == [b"other"]
    assert owner.cluster.transactions[-1] == [b"other"]


async def test_a_rejected_record_alone_is_no_endless_round(owner: Owner) -> None:
    """Its dead letter finishes while the round goes on, and is the next one's."""
    owner.cluster.too_large = frozenset({LARGE})
    large = owner.reads()
    rejected = owner.ends(LARGE, ending=large)
    await owner.commits()
    assert isinstance(rejected.exception(), RecordRejected)
    assert owner.cluster.published == []
    owner.ends(b"dead letter", ending=large)
    await owner.commits()
    assert owner.cluster.published == [b"dead letter"]
    assert owner.cluster.stored == CommitPoint(1)


@pytest.mark.parametrize("loses", ["request", "answer"])
async def test_a_partition_that_came_back_after_a_lost_answer_is_kept(owner: Owner, loses: str) -> None:
    """A rebalance begins amid a transaction of unknown end: the work goes on, and each outcome is there once."""
    owner.ends(b"before")
    await owner.commits()
    owner.cluster.loses = loses
    owner.ends(b"cut")
    in_flight = owner.reads()
    assert await owner.commits(Member(rebalancing=True)) == []
    assert owner.cluster.published == [b"before", b"cut"][: 1 if loses == "request" else 2]
    assert owner.state.is_at(owner.cluster.stored), "nobody else has touched it"
    owner.ends(b"in flight", ending=in_flight)
    assert await owner.commits() == []
    assert owner.cluster.published == [b"before", b"cut", b"in flight"]
    assert owner.cluster.stored == owner.state.committed == CommitPoint(3)
    assert all(task.done() and not task.cancelled() for task in owner.tasks)
    assert await owner.commits() == []
    assert owner.cluster.published == [b"before", b"cut", b"in flight"]


async def test_an_answer_that_is_lost_twice_repeats_nothing(owner: Owner) -> None:
    """Nor does a second rebalance before the end of the transaction was asked for."""
    owner.ends(b"a")
    owner.cluster.loses = "answer"
    await owner.commits(Member(rebalancing=True))
    for _ in range(2):
        assert owner.state.is_at(owner.cluster.stored)
        assert await owner.commits(Member(rebalancing=True)) == []
    owner.ends(b"b")
    owner.cluster.loses = "answer"
    assert await owner.commits() == []
    assert owner.cluster.published == [b"a", b"b"]
    assert owner.state.committed == owner.cluster.stored == CommitPoint(2)


@pytest.mark.parametrize("loses", ["request", "answer"])
async def test_a_partition_that_another_has_committed_meanwhile_is_not_kept(owner: Owner, loses: str) -> None:
    """Neither what was committed nor what was tried: whatever waits here is somebody else's."""
    owner.cluster.loses = loses
    late = owner.ends(b"cut")
    await owner.commits(Member(rebalancing=True))
    owner.cluster.stored = CommitPoint(5)
    assert not owner.state.is_at(owner.cluster.stored)
    assert await owner.commits() == [owner.state]
    assert not late.done()


async def test_a_rejected_record_is_not_taken_for_ended(owner: Owner) -> None:
    """The point of its transaction counted it as ended. If that is stored, another owner has ended it."""
    owner.cluster.too_large = frozenset({LARGE})
    owner.ends(LARGE)
    await owner.commits(Member(rebalancing=True))
    owner.cluster.stored = CommitPoint(1)
    assert not owner.state.is_at(owner.cluster.stored)
    assert await owner.commits() == [owner.state]


async def test_a_map_that_is_full_tells_nothing_and_loses_nothing(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the point is the same before and after, outcomes of unknown end are sent again."""
    owner.reads()
    owner.ends(b"a")
    await owner.commits()
    assert owner.state.committed is not None
    monkeypatch.setattr(owner.state.offsets, "committable", lambda **_: owner.state.committed)
    owner.cluster.loses = "request"
    owner.ends(b"b")
    await owner.commits(Member(rebalancing=True))
    assert owner.state.is_at(owner.cluster.stored)
    await owner.commits()
    assert owner.cluster.published == [b"a", b"b"]


async def test_a_producer_that_the_broker_has_forgotten_is_replaced(owner: Owner) -> None:
    """Its client only says that something unexpected happened: it may have been idle for a week."""
    owner.cluster.error = KafkaError("Unexpected error during batch delivery")
    for value in (b"a", b"b"):
        owner.ends(value)
        owner.cluster.loses = "request"
        assert await owner.commits() == []
    assert owner.cluster.published == [b"a", b"b"]


async def test_a_connection_that_breaks_twice_stops_nothing(owner: Owner) -> None:
    """Its client copies what its sender died of for each record, and a copy has no cause."""
    cuts = iter([True, False])

    def once_more() -> None:
        owner.cluster.loses = "request" if next(cuts, False) else ""

    owner.cluster.loses, owner.cluster.meanwhile = "request", once_more
    owner.cluster.error = KafkaError("Unexpected error during batch delivery")
    owner.cluster.sender_error = KafkaError("Unexpected error during batch delivery")
    owner.cluster.sender_error.__cause__ = KafkaConnectionError("closed")
    owner.ends(b"a")
    assert await owner.commits() == []
    assert owner.cluster.published == [b"a"]


async def test_a_producer_that_fails_anew_stops_the_service(owner: Owner) -> None:
    """What is unexpected twice, with a new producer, is for a person to see."""

    def again() -> None:
        owner.cluster.loses = "request"

    again()
    owner.cluster.error, owner.cluster.meanwhile = KafkaError("Unexpected error during batch delivery"), again
    owner.ends(b"a")
    with pytest.raises(BrokerFault, match="Unexpected"):
        await owner.commits()

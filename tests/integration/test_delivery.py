"""What is promised of the end of records: none lost, none twice, order where it is asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from docsluice.outcomes.outcome import Outcome
from docsluice_consumer.kafka.offsets import Run, encode
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.integration.wire import Record, Wire, document, serving, until

DELIVERIES = pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])


def _places(outcomes: Sequence[Outcome]) -> list[tuple[int, int]]:
    """Where each outcome's record was read."""
    places = []
    for outcome in outcomes:
        source = outcome.fields["source"]
        assert isinstance(source, dict)
        places.append((int(source["partition"]), int(source["offset"])))
    return places


@DELIVERIES
async def test_every_record_ends_once(wire: Wire, provider: RehearsalProvider, delivery: str) -> None:
    """Results, dead letters and tombstones: each record has its one outcome, and all offsets are committed."""
    await wire.create_topics(partitions=3)
    records = [document(f"d{n}", f"Text {n}.") for n in range(30)]
    records += [Record(key=b"bad%d" % n, value=b"no JSON") for n in range(5)] + [Record(key=b"gone", value=None)]
    await wire.produce(records)
    async with serving(wire.settings(provider.base_url, mode="fused", delivery=delivery)):
        found = await wire.outcomes(35)

        async def all_committed() -> bool:
            return await wire.committed() == 36

        await until(all_committed, what="every offset is committed")
    assert len(set(_places(found))) == 35
    assert sum(outcome.is_dead_letter for outcome in found) == 5
    assert len(provider.calls) == 30
    assert all(point.metadata == "" for point in (await wire.committed_points()).values())


@DELIVERIES
async def test_what_passed_a_slow_document_is_not_repeated(
    wire: Wire, provider: RehearsalProvider, delivery: str
) -> None:
    """One document hangs while fifty pass it. After a stop only that one needs a new call."""
    await wire.create_topics()
    hanging = document("slow", "Slow. [[rehearse:hangx1]]")
    await wire.produce([hanging, *(document(f"d{n}", f"Text {n}.") for n in range(50))])
    settings = wire.settings(provider.base_url, mode="fused", delivery=delivery, drain_seconds=0)
    async with serving(settings):
        await wire.outcomes(50)
    (point,) = (await wire.committed_points()).values()
    assert (point.offset, point.metadata) == (0, encode(0, [Run(1, 51)]))
    async with serving(settings):
        found = await wire.outcomes(51)

        async def all_committed() -> bool:
            return await wire.committed() == 51

        await until(all_committed, what="the map is no longer needed")
    assert len(set(_places(found))) == 51
    assert len(provider.calls) == 52


async def test_a_damaged_map_costs_work_and_loses_nothing(wire: Wire, provider: RehearsalProvider) -> None:
    """Metadata that is not ours is ignored with a warning: what it would have told is worked on again."""
    await wire.create_topics()
    await wire.produce(
        [document("slow", "Slow. [[rehearse:hangx1]]"), *(document(f"d{n}", f"Text {n}.") for n in range(5))]
    )
    settings = wire.settings(provider.base_url, mode="fused", drain_seconds=0)
    async with serving(settings):
        await wire.outcomes(5)
    partition = TopicPartition(wire.topics["input"], 0)
    async with AIOKafkaConsumer(
        bootstrap_servers=wire.bootstrap_servers, group_id=settings.group_id, enable_auto_commit=False
    ) as vandal:
        vandal.assign([partition])
        await vandal.commit({partition: (0, encode(0, [Run(1, 6)]).replace("1+5", "1+6"))})
    async with serving(settings):
        found = await wire.outcomes(11)
    assert len(set(_places(found))) == 6
    assert len(provider.calls) == 12


@pytest.mark.parametrize("ordering", ["key", "partition"])
@DELIVERIES
async def test_order_is_kept_where_it_is_asked_for(wire: Wire, ordering: str, delivery: str) -> None:
    """Records of a queue end one after the other, as they were sent, though their calls take very different times."""
    await wire.create_topics(partitions=2)
    await wire.produce(Record(key=b"key-%d" % (n % 4), value=document(f"d{n}").value) for n in range(40))
    async with rehearsal_provider(RehearsalSettings(median_seconds=0.02, sigma=1.0)) as provider:
        settings = wire.settings(provider.base_url, mode="fused", ordering=ordering, delivery=delivery)
        async with serving(settings):
            found = await wire.outcomes(40)
        assert provider.calls.most_in_flight > 1, "other queues are not held up"
    key_queues: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    for outcome, (partition, offset) in zip(found, _places(found), strict=True):
        queue_key = int(outcome.document_id[1:]) % 4 if ordering == "key" else partition
        key_queues[queue_key].append((offset, str(outcome.fields["started_at"]), str(outcome.fields["finished_at"])))
    assert len(key_queues) == (4 if ordering == "key" else 2)
    for ends in key_queues.values():
        for (_, _, ended), (_, began, _) in pairwise(sorted(ends)):
            assert ended <= began


def _keyed(number: int, text: str = "") -> Record:
    """A document of one of four keys."""
    return Record(key=b"key-%d" % (number % 4), value=document(f"d{number}", f"Text {number}. {text}").value)


def _assert_keys_are_in_order(found: Sequence[Outcome]) -> None:
    """Each key's outcomes arrived in the order of its records, and none of their calls began before the last ended."""
    keys: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in found:
        keys[int(outcome.document_id[1:]) % 4].append(outcome)
    for outcomes in keys.values():
        places = [offset for _, offset in _places(outcomes)]
        assert places == sorted(set(places))
        for before, after in pairwise(outcomes):
            assert str(before.fields["finished_at"]) <= str(after.fields["started_at"])


@DELIVERIES
async def test_a_restart_keeps_the_order_of_a_key(wire: Wire, provider: RehearsalProvider, delivery: str) -> None:
    """A call of each key is cut, twice: the next process goes on with it, and then with what follows in its key."""
    await wire.create_topics(partitions=2)
    hanging = [*range(8, 12), *range(20, 24)]
    await wire.produce(_keyed(n, "[[rehearse:hangx1]]" if n in hanging else "") for n in range(40))
    settings = wire.settings(provider.base_url, mode="fused", ordering="key", delivery=delivery, drain_seconds=0)
    for ended, asked in ((8, 12), (20, 28)):
        async with serving(settings):

            async def stand_still(asked: int = asked) -> bool:
                return len(provider.calls) == asked

            await wire.outcomes(ended)
            await until(stand_still, what="a call of each key hangs")
    async with serving(settings):
        found = await wire.outcomes(40)
    assert len(provider.calls) == 48
    assert await wire.count("result") == 40
    _assert_keys_are_in_order(found)


@pytest.mark.kafka
async def test_a_rebalance_keeps_the_order_of_a_key(kafka_wire: Wire) -> None:
    """A second member takes partitions over amid the work of their keys, and gives them back."""
    wire = kafka_wire
    await wire.create_topics(partitions=4)
    await wire.produce(map(_keyed, range(60)))
    async with rehearsal_provider(RehearsalSettings(median_seconds=0.15, sigma=0.5)) as provider:
        settings = wire.settings(provider.base_url, mode="fused", ordering="key", delivery="exactly_once")
        async with serving(settings):
            await wire.outcomes(10)
            async with serving(settings):
                await wire.produce(map(_keyed, range(60, 100)))
                await wire.outcomes(70)
            found = await wire.outcomes(100)
    assert await wire.count("result") == 100
    _assert_keys_are_in_order(found)


async def test_a_queue_survives_a_failing_record(wire: Wire) -> None:
    """What is rejected ends too, in its turn, and the next of its key goes on."""
    await wire.create_topics()
    values = [document("d0", "[[rehearse:503x2]]").value, b"no JSON", document("d2", "[[rehearse:refusal]]").value]
    await wire.produce(Record(key=b"k", value=value) for value in [*values, document("d3").value])
    async with (
        rehearsal_provider() as provider,
        serving(wire.settings(provider.base_url, mode="fused", ordering="key")),
    ):
        found = await wire.outcomes(4)
    assert sorted(_places(found)) == [(0, 0), (0, 1), (0, 2), (0, 3)]
    began = sorted(found, key=lambda outcome: outcome.finished_at)
    assert [place for _, place in _places(began)] == [0, 1, 2, 3]


@pytest.mark.kafka
@DELIVERIES
async def test_members_share_the_work_and_lose_nothing(kafka_wire: Wire, delivery: str) -> None:
    """A second member joins and the first leaves amid the work: every record ends, exactly once where that is asked."""
    wire = kafka_wire
    await wire.create_topics(partitions=4)
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(200))
    async with rehearsal_provider(RehearsalSettings(median_seconds=0.15, sigma=0.5)) as provider:
        settings = wire.settings(provider.base_url, mode="fused", max_concurrency=4, delivery=delivery)
        async with serving(settings):

            async def begun() -> bool:
                return len(provider.calls) > 20

            await until(begun, what="the work is under way")
            second = serving(settings)
            await second.__aenter__()
        try:

            async def all_committed() -> bool:
                return await wire.committed() == 200

            await until(all_committed, what="every offset is committed")
        finally:
            await second.__aexit__(None, None, None)
    seen = await _visible(wire)
    assert len(set(_places(await wire.outcomes(seen)))) == 200
    assert await wire.count("dead_letter") == 0
    if delivery == "exactly_once":
        assert seen == 200


async def _visible(wire: Wire) -> int:
    """How many results a reader with read_committed sees before the topic's stable end."""
    async with AIOKafkaConsumer(
        bootstrap_servers=wire.bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest"
    ) as reader:
        reader.subscribe([wire.topics["result"]])
        seen = 0
        while batches := await reader.getmany(timeout_ms=1500):
            seen += sum(map(len, batches.values()))
    return seen


@pytest.mark.kafka
async def test_transaction_markers_and_aborted_records_are_no_holes(
    kafka_wire: Wire, provider: RehearsalProvider
) -> None:
    """Offsets that hold markers or aborted records are passed to the end: only committed records are worked on."""
    wire = kafka_wire
    await wire.create_topics()
    async with AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers, transactional_id=f"{wire.name}.tx") as sender:
        for number in range(10):
            await sender.begin_transaction()
            event = document(f"d{number}")
            await sender.send_and_wait(wire.topics["input"], value=event.value, key=event.key)
            await (sender.abort_transaction() if number % 3 == 0 else sender.commit_transaction())
    async with serving(wire.settings(provider.base_url, mode="fused")):
        found = await wire.outcomes(6)

        async def all_committed() -> bool:
            return await wire.committed() == 20

        await until(all_committed, what="the markers at the end are passed, too")
    assert {outcome.document_id for outcome in found} == {f"d{n}" for n in range(10) if n % 3}
    assert len(provider.calls) == 6


@pytest.mark.kafka
@DELIVERIES
async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    kafka_wire: Wire, provider: RehearsalProvider, delivery: str
) -> None:
    """Offsets that come again are other records, and none of them is taken for one that has ended."""
    wire = kafka_wire
    await wire.create_topics()
    await wire.produce(document(f"old{n}", f"Old {n}.") for n in range(20))
    settings = wire.settings(provider.base_url, mode="fused", delivery=delivery)
    async with serving(settings):
        await wire.outcomes(20)
    await wire.make_anew("input")
    await wire.produce(document(f"new{n}", f"New {n}.") for n in range(30))
    async with serving(settings):
        found = await wire.outcomes(50)

        async def all_committed() -> bool:
            return await wire.committed() == 30

        await until(all_committed, what="the new log is committed")
    assert {outcome.document_id for outcome in found[20:]} == {f"new{n}" for n in range(30)}

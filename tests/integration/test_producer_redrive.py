"""`docsluice dead-letters redrive` against real brokers: what is sent, once, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from docsluice.kafka import transactions
from docsluice.kafka.broker import Broker as Address
from docsluice.kafka.broker_session import broker_session
from docsluice.kafka.transactions import ProducerRecord
from docsluice.messages import ERROR_HEADER_PREFIX
from docsluice_local.broker import Broker
from docsluice_local.rehearsal.provider import RehearsalProvider
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.dead_letters import journal as journal_room
from docsluice_producer.dead_letters.journal import Entry, Journal
from docsluice_producer.dead_letters.marks import Mark, Place, State
from tests.fakes.dead_letters import event
from tests.integration.dead_letter_topic import fill, listed, on, ran, redriven, replays
from tests.integration.producer_process import producer, run, said
from tests.integration.wire import Record, Wire, serving


async def test_records_go_back_as_they_were(wire: Wire) -> None:
    """Key, value and own headers, the origin and one replay more. A second time there is nothing left to send."""
    await wire.create_topics(partitions=3)
    await fill(wire, range(250), partition="2")
    code, out, _ = await ran(wire, "redrive", "--per-second", "100000")
    assert (code, out) == (Exit.DONE, f"redriven 250 dead letters to {wire.topics['input']}\n")
    records = await redriven(wire)
    assert sorted(one.key for one in records) == sorted(b"d%d" % number for number in range(250))
    assert {one.partition for one in records} == {2}
    for one in records:
        assert one.value == event(one.key.decode())
        names = [name.removeprefix(ERROR_HEADER_PREFIX) for name, _ in one.headers]
        assert names[0] == "own"
        assert sorted(names[1:]) == [
            "cost_usd",
            "first_failed_at",
            "offset",
            "partition",
            "replay_count",
            "timestamp",
            "topic",
        ]
        assert replays(one) == b"1"
    assert {line["state"] for line in await listed(wire, "--all")} == {"redriven"}
    code, out, _ = await ran(wire, "redrive")
    assert out.splitlines() == [
        f"redriven 0 dead letters to {wire.topics['input']}",
        "250 handled already (redriven or dropped; list --all shows them)",
    ]
    assert await wire.count("input") == 250


async def test_what_fails_again_is_another_dead_letter(wire: Wire, provider: RehearsalProvider) -> None:
    """The service writes it with its first origin and the count. Subscribers and `list` take it for no repeat."""
    await wire.create_topics()
    async with serving(wire.settings(provider.base_url)):
        await wire.produce([Record(value=b"junk", key=b"k")])
        first = (await wire.outcomes(1))[0]
        assert (await ran(wire, "redrive"))[0] == Exit.DONE
        again = (await wire.outcomes(2))[1]
    assert (first.reason, again.reason) == ("undecodable", "undecodable")
    assert first.fields["source"] == again.fields["source"]
    assert (first.fields["replay_count"], again.fields["replay_count"]) == (0, 1)
    assert not set(first.identities) & set(again.identities)
    assert [(line["state"], line["replay_count"]) for line in await listed(wire, "--all")] == [
        ("redriven", 0),
        ("open", 1),
    ]


async def test_what_fails_again_unchanged_is_sent_again(wire: Wire) -> None:
    """Dead letters are dropped or redriven, their offsets reset, and they fail as before. Repeats go with the first."""
    await wire.create_topics()
    for count, (command, state) in enumerate(
        ((["drop", "--everything", "--yes"], "dropped"), (["redrive"], "redriven"))
    ):
        for _ in range(2):
            await fill(wire, range(3), transactional=False)
        assert [line["document_id"] for line in await listed(wire)] == ["d0", "d1", "d2"]
        assert (await ran(wire, *command))[0] == Exit.DONE
        assert await listed(wire) == []
        assert [line["state"] for line in await listed(wire, "--all")].count(state) == 3
        assert await wire.count("input") == 3 * count


async def test_a_dry_run_writes_nothing(wire: Wire) -> None:
    """It counts by reason and step, and guesses the cost."""
    await wire.create_topics()
    await fill(wire, range(3))
    await fill(wire, [3], replay_count="3")
    await fill(wire, [4], topic="mails")
    code, out, err = await ran(wire, "redrive", "--dry-run")
    assert (code, err) == (Exit.DONE, "")
    lines = out.splitlines()
    assert lines[0] == f"dry run: 3 dead letters would be sent to {wire.topics['input']}"
    assert "may cost about $1.5, " in out
    assert "1 dead letter passed over: sent again 3 times or more already (--force" in out
    assert "1 dead letter passed over: first read in mails (--topic mails sends them there)" in out
    assert await wire.count("input") == 0
    assert len(await listed(wire)) == 5


async def test_a_dry_run_wants_the_topics_of_the_real_one(wire: Wire) -> None:
    """A topic that is not there to be sent to is the same error."""
    await wire.create_topics()
    await fill(wire, [1])
    ended = [await run(*on(wire, "redrive", *flags), "--topic", "nowhere") for flags in (["--dry-run"], [])]
    assert ended[0] == ended[1]
    code, out, err = ended[0]
    assert (code, out) == (Exit.FAULT, "")
    assert err.startswith("docsluice-producer: there is no topic nowhere on ")


async def test_the_guard_against_loops(wire: Wire) -> None:
    """What was sent again three times is skipped, unless it is forced."""
    await wire.create_topics()
    await fill(wire, [1], replay_count="2")
    await fill(wire, [2], replay_count="3")
    code, out, _ = await ran(wire, "redrive")
    assert code == Exit.DONE
    assert out.splitlines()[1].startswith("1 dead letter passed over: sent again 3 times or more already")
    assert [(one.key, replays(one)) for one in await redriven(wire)] == [(b"d1", b"3")]
    assert [line["document_id"] for line in await listed(wire)] == ["d2"]
    await ran(wire, "redrive", "--max-replays", "3")
    assert await wire.count("input") == 1
    await ran(wire, "redrive", "--force")
    assert [(one.key, replays(one)) for one in await redriven(wire)] == [(b"d1", b"3"), (b"d2", b"4")]


async def test_filters_and_limit(wire: Wire) -> None:
    """A limit counts what is sent, not what is skipped."""
    await wire.create_topics()
    await fill(wire, [1], topic="mails")
    await fill(wire, range(2, 6))
    await fill(wire, [6], reason="refused")
    await ran(wire, "redrive", "--limit", "2")
    assert [one.key for one in await redriven(wire)] == [b"d2", b"d3"]
    await ran(wire, "redrive", "--reason", "refused")
    assert [one.key for one in await redriven(wire)] == [b"d2", b"d3", b"d6"]
    assert [line["document_id"] for line in await listed(wire)] == ["d1", "d4", "d5"]


async def test_a_redrive_killed_in_the_middle_sends_nothing_twice(wire: Wire) -> None:
    """Killed again and again at any moment: in the end a reader of committed records sees each record once."""
    await wire.create_topics(partitions=2)
    await fill(wire, range(3_000))
    for goal in (300, 900, 1_500):
        async with producer(*on(wire, "redrive", "--per-second", "1000")) as process:
            await until_sent(wire, goal)
            process.kill()
            assert await process.wait() == -signal.SIGKILL
    code, out, _ = await ran(wire, "redrive", "--per-second", "100000")
    assert code == Exit.DONE
    keys = [one.key for one in await redriven(wire)]
    assert len(keys) == 3_000
    assert set(keys) == {b"d%d" % number for number in range(3_000)}
    assert out.splitlines()[1].endswith(" handled already (redriven or dropped; list --all shows them)")
    assert await listed(wire) == []


async def until_sent(wire: Wire, count: int) -> None:
    async for _ in wire.read(wire.topics["input"], count=count):
        pass


async def test_a_signal_ends_it_in_order(wire: Wire) -> None:
    """What the summary counts is what is in the topic, and the next redrive sends the rest."""
    await wire.create_topics()
    await fill(wire, range(2_000))
    async with producer(*on(wire, "redrive", "--per-second", "500")) as process:
        await until_sent(wire, 100)
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
        assert process.returncode == Exit.TERMINATED
    count = int(out.split()[1].replace(b",", b""))
    assert 100 <= count < 2_000
    assert err == b""
    assert await wire.count("input") == count
    await ran(wire, "redrive", "--per-second", "100000")
    assert sorted(one.key for one in await redriven(wire)) == sorted(b"d%d" % number for number in range(2_000))


async def test_a_second_redrive_takes_over(wire: Wire) -> None:
    """The first one ends with one line that says so, and between them every record is sent once."""
    await wire.create_topics()
    await fill(wire, range(2_000))
    async with producer(*on(wire, "redrive", "--per-second", "200")) as first:
        await until_sent(wire, 100)
        code, out, _ = await ran(wire, "redrive", "--per-second", "100000")
        assert code == Exit.DONE
        first_out, err = await first.communicate()
        assert first.returncode == Exit.FAULT
    (line,) = err.decode().splitlines()
    assert line == (
        f"stopped: another redrive or drop of {wire.topics['dead_letter']} has begun, so this one ends: what it has"
        " done is marked, and what neither has done stays open"
    )
    counts = [int(text.split()[1].replace(",", "")) for text in (first_out.decode(), out)]
    assert sum(counts) == 2_000
    keys = [one.key for one in await redriven(wire)]
    assert len(keys) == len(set(keys)) == 2_000


async def test_what_the_topic_does_not_take_is_left(kafka_wire: Wire) -> None:
    """It is named, and every other record is sent."""
    wire = kafka_wire
    await wire.create_topics(max_message_bytes={"dead_letter": 4_000_000})
    await fill(wire, range(40))
    large = random.Random(7).randbytes(2_000_000)
    await fill(wire, [40], value=large)
    await fill(wire, range(41, 60))
    code, out, err = await ran(wire, "redrive", "--per-second", "100000")
    assert code == Exit.FAULT
    assert out.splitlines()[0].startswith("redriven 59 dead letters")
    assert f": {len(large):,} bytes, more than the broker takes for {wire.topics['input']}" in err
    assert sorted(one.key for one in await redriven(wire)) == sorted(b"d%d" % n for n in range(60) if n != 40)
    assert [line["document_id"] for line in await listed(wire)] == ["d40"]


async def test_a_broker_that_comes_back_gets_everything_once(own_broker: Broker) -> None:
    """The broker stops in the middle and starts again: we say that we wait, and each record is there once."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    await fill(wire, range(600))
    async with producer(*on(wire, "redrive", "--per-second", "200", "--wait-seconds", "60")) as process:
        await until_sent(wire, 100)
        await asyncio.to_thread(own_broker.stop)
        await said(process, "waiting for up to 60 s")
        await asyncio.to_thread(own_broker.start)
        out, _ = await process.communicate()
        assert process.returncode == Exit.DONE
    assert out.startswith(b"redriven 600 dead letters")
    assert sorted(one.key for one in await redriven(wire)) == sorted(b"d%d" % number for number in range(600))
    assert await listed(wire) == []


@pytest.mark.parametrize("own_broker", ["embedded"], indirect=True)
async def test_a_broker_that_stays_away_ends_it(own_broker: Broker) -> None:
    """After the time that we were told to wait we stop with exit code 1 and say how many are sent."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    await fill(wire, range(600))
    async with producer(*on(wire, "redrive", "--per-second", "100", "--wait-seconds", "0")) as process:
        await until_sent(wire, 100)
        await asyncio.to_thread(own_broker.stop)
        await said(process, "stopped: no")
        out, _ = await process.communicate()
        assert process.returncode == Exit.FAULT
    assert out.startswith(b"redriven ")


class _AnswerLost(AIOKafkaProducer):  # type: ignore[misc]
    """Commits, or does not, and then says that something went wrong. Once."""

    commits = True
    lost = False

    async def commit_transaction(self) -> None:
        if type(self).lost:
            await super().commit_transaction()
            return
        type(self).lost = True
        if self.commits:
            await super().commit_transaction()
        raise KafkaError("the answer was lost")


@pytest.mark.parametrize("commits", [True, False])
async def test_a_commit_of_unknown_end_is_decided_by_the_marks(
    wire: Wire, *, commits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it went through or not: the records are in the topic once."""
    monkeypatch.setattr(_AnswerLost, "lost", False)
    monkeypatch.setattr(_AnswerLost, "commits", commits)
    monkeypatch.setattr(transactions, "AIOKafkaProducer", _AnswerLost)
    monkeypatch.setattr(journal_room, "_PAUSE_SECONDS", 0.0)
    await wire.create_topics()
    await writing(wire, [entry(wire, number) for number in range(5)])
    assert _AnswerLost.lost
    assert [one.key for one in await redriven(wire)] == [b"d%d" % number for number in range(5)]


def entry(wire: Wire, number: int) -> Entry:
    outgoing = ProducerRecord(topic=wire.topics["input"], partition=0, key=b"d%d" % number, value=b"v", headers=())
    return Entry(mark=Mark(Place(0, number), 0, State.REDRIVEN), outgoing=outgoing)


async def writing(wire: Wire, entries: list[Entry], *, said: Any = print) -> None:
    with broker_session(Address(bootstrap_servers=wire.bootstrap_servers), wait_seconds=30, say=said) as session:
        async with Journal(session=session, dead_letter_topic=wire.topics["dead_letter"]) as journal:
            assert await journal.write(entries) == []
            assert journal.written == len(entries)


async def test_the_topic_of_marks_is_compacted(kafka_wire: Wire) -> None:
    """Marks are for good: retention must not take them away before the dead letters."""
    await kafka_wire.create_topics()
    await writing(kafka_wire, [entry(kafka_wire, 1)])
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_wire.bootstrap_servers)
    await admin.start()
    try:
        name = f"{kafka_wire.topics['dead_letter']}.handled"
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    finally:
        await admin.close()
    configs = {one[0]: one[1] for one in response.resources[0][4]}
    assert configs["cleanup.policy"] == "compact"

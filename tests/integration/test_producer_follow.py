"""`docsluice follow` against real brokers: which outcomes it shows, and when it ends."""

from __future__ import annotations

import asyncio
import csv
import json
import signal
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from docsluice.kafka.broker import Broker as Address
from docsluice.messages import ERROR_HEADER_PREFIX, DocumentResult, SourcePosition, Usage, result_headers
from docsluice_local.broker import Broker
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.following import reader as reader_room
from docsluice_producer.following.reader import Reader, Start
from docsluice_producer.kafka.broker_session import broker_session
from docsluice_producer.kafka.topics import create, partitions_of_topics
from tests.integration.producer_process import producer, run, said
from tests.integration.wire import WATCHDOG_SECONDS, Wire

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def following(wire: Wire) -> list[str]:
    topics = ["--result-topic", wire.topics["result"], "--dead-letter-topic", wire.topics["dead_letter"]]
    return ["follow", *topics, "--bootstrap-servers", wire.bootstrap_servers]


def result(number: int) -> DocumentResult:
    return DocumentResult(
        result_id=f"r{number}",
        document_id=f"d{number}",
        outputs={"summary": "Tóm tắt.", "keywords": ["a", "b"]},
        models={"summary": "m"},
        usage=Usage(input_tokens=100, output_tokens=20, cached_tokens=10),
        cost_usd=Decimal("0.0003"),
        attempts=1,
        started_at=NOON,
        finished_at=NOON,
        pipeline_version="p",
        mode="fused",
        source=SourcePosition(topic="in", partition=0, offset=number),
        excerpt="text",
        metadata={},
    )


class Outcomes:
    """Writes outcomes as the consumer does."""

    def __init__(self, wire: Wire, client: AIOKafkaProducer) -> None:
        self.wire = wire
        self.client = client

    async def result(self, number: int, *, days_ago: int = 0) -> None:
        one = result(number)
        written_ms = int((datetime.now(UTC) - timedelta(days=days_ago)).timestamp() * 1000)
        value = one.model_dump_json().encode()
        headers = result_headers(one, group_id="g")
        await self.client.send_and_wait(
            self.wire.topics["result"], value, key=b"k", headers=headers, timestamp_ms=written_ms
        )

    async def dead_letter(self, number: int, *, value: bytes = b"\xff") -> None:
        said = {"topic": "in", "partition": "0", "offset": str(number), "reason": "refused", "cost_usd": "0.1"}
        headers = [(ERROR_HEADER_PREFIX + name, text.encode()) for name, text in said.items()]
        await self.client.send_and_wait(self.wire.topics["dead_letter"], value, key=b"d%d" % number, headers=headers)

    async def junk(self) -> None:
        await self.client.send_and_wait(self.wire.topics["result"], b"junk")

    async def of_version_2(self) -> None:
        value = json.dumps(json.loads(result(9).model_dump_json()) | {"schema_version": 2, "news": []}).encode()
        await self.client.send_and_wait(self.wire.topics["result"], value)


class Writing:
    """The outcomes' producer for the length of a block."""

    def __init__(self, wire: Wire, *, transactional_id: str | None = None) -> None:
        self._client = AIOKafkaProducer(
            bootstrap_servers=wire.bootstrap_servers, transactional_id=transactional_id, max_request_size=2**24
        )
        self._wire = wire

    async def __aenter__(self) -> Outcomes:
        await self._client.start()
        return Outcomes(self._wire, self._client)

    async def __aexit__(self, *_: object) -> None:
        await self._client.stop()


async def test_outcomes_are_shown_counted_and_written(wire: Wire, tmp_path: Path) -> None:
    """Results and dead letters come once each as JSON lines and as CSV rows. What else there is is told beside them."""
    await wire.create_topics()
    path = tmp_path / "out.csv"
    async with (
        Writing(wire) as outcomes,
        producer(*following(wire), "--until", "3", "--json", "--to", str(path)) as process,
    ):
        await said(process, "from now on")
        await outcomes.result(1)
        await outcomes.result(1)
        await outcomes.junk()
        await outcomes.of_version_2()
        await outcomes.dead_letter(2)
        await outcomes.result(3)
        out, err = await process.communicate()
        assert process.returncode == 0
    lines = [json.loads(line) for line in out.splitlines()]
    assert {line["document_id"]: line["kind"] for line in lines} == {
        "d1": "result",
        "d2": "dead_letter",
        "d3": "result",
    }
    counts = "2 results, 1 dead letter (refused 1), 1 repeat dropped, 1 unreadable record, 1 of another schema version"
    assert counts in err.decode()
    assert "d1  seen before" in err.decode()
    assert f"{wire.topics['result']}/0@2: not a result" in err.decode()
    assert f"{wire.topics['result']}/0@3: of schema version 2" in err.decode()
    assert "cost: $0.1006" in err.decode()
    with path.open(encoding="utf-8", newline="") as file:
        written = {row["document_id"]: row for row in csv.DictReader(file)}
    assert written["d1"]["keywords"] == "a; b"
    assert written["d2"]["reason"] == "refused"
    assert len(written) == 3


async def test_from_now_on_passes_over_what_is_there(wire: Wire) -> None:
    """By default only what comes from now on is shown. --from-beginning and --since show what is there."""
    await wire.create_topics(partitions=3)
    async with Writing(wire) as outcomes:
        await outcomes.result(1)
        await outcomes.dead_letter(2)
        for flags, count in ((["--from-beginning"], 2), (["--since", "1h"], 2), ([], 1)):
            async with producer(*following(wire), *flags, "--until", str(count)) as process:
                await said(process, "following")
                await outcomes.result(10 + count)
                out, _ = await process.communicate()
                assert process.returncode == 0
            assert (b"d1 " in out) == bool(flags)


async def test_nothing_within_the_time_since(wire: Wire) -> None:
    """--since with nothing so young begins at the end."""
    await wire.create_topics()
    async with Writing(wire) as outcomes:
        await outcomes.result(1, days_ago=2)
    code, out, _ = await run(*following(wire), "--since", "1d", "--timeout-seconds", "2")
    assert code == Exit.DONE
    assert out.startswith("0 results, 0 dead letters\n")


@pytest.mark.parametrize(
    ("flags", "code", "came"),
    [(["--until", "3"], Exit.TIME_UP, "0 of 3 documents"), ([], Exit.DONE, "0 documents")],
)
async def test_time_that_is_up_is_told(wire: Wire, flags: list[str], code: Exit, came: str) -> None:
    """The time being up is the last line on standard error. It has an exit code of its own when more was expected."""
    await wire.create_topics()
    ended, _, err = await run(*following(wire), "--timeout-seconds", "1.5", *flags)
    assert ended == code
    assert err.splitlines()[-1] == f"the time of 1.5 s is up: {came} had ended"


async def test_time_that_was_not_needed_is_not_told(wire: Wire) -> None:
    """With enough documents in time, the time is no matter."""
    await wire.create_topics()
    async with Writing(wire) as outcomes:
        await outcomes.result(1)
        await outcomes.dead_letter(2)
    code, _, err = await run(*following(wire), "--from-beginning", "--until", "2", "--timeout-seconds", "600")
    assert code == Exit.DONE
    assert "is up" not in err


async def test_topics_that_come_later_are_read_from_their_beginning(wire: Wire) -> None:
    """Topics that are missing are waited for and never created by asking: they have their creator's partitions."""
    async with producer(*following(wire), "--until", "2") as process:
        await said(process, "not there yet")
        await wire.create_topics(partitions=3)
        async with Writing(wire) as outcomes:
            await outcomes.result(1)
            await outcomes.dead_letter(2)
        out, _ = await process.communicate()
        assert process.returncode == 0
    assert "1 result, 1 dead letter" in out.decode()
    assert "Tóm tắt." in out.decode()
    topics = await partitions_of_topics(Address(bootstrap_servers=wire.bootstrap_servers))
    assert topics[wire.topics["result"]] == [0, 1, 2]


async def test_a_topic_that_comes_later_repeats_nothing_of_the_other(wire: Wire) -> None:
    """Taking up a second topic goes on where we are in the first."""
    address = Address(bootstrap_servers=wire.bootstrap_servers)
    await create(address, wire.topics["result"], partitions=1)
    async with producer(*following(wire), "--from-beginning", "--until", "2") as process:
        assert process.stdout is not None
        await said(process, "not there yet")
        async with Writing(wire) as outcomes:
            await outcomes.result(1)
            assert (await process.stdout.readline()).startswith(b"d1 ")
            await create(address, wire.topics["dead_letter"], partitions=1)
            await outcomes.dead_letter(2)
        out, _ = await process.communicate()
        assert process.returncode == 0
    assert out.decode().splitlines()[-2] == "1 result, 1 dead letter (refused 1)"


async def test_a_partition_that_comes_later_is_read(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that gets more partitions while we follow it is read whole, and nothing of it twice."""
    monkeypatch.setattr(reader_room, "_LOOK_SECONDS", 0.0)
    await wire.create_topics()
    found: list[tuple[int, bytes]] = []
    said: list[str] = []
    async with Writing(wire) as outcomes:
        address = Address(bootstrap_servers=wire.bootstrap_servers)
        with broker_session(address, wait_seconds=30, say=said.append) as session:
            reader = Reader(session=session, topics=[wire.topics["result"]], start=Start())
            await reader.open()
            async with asyncio.timeout(WATCHDOG_SECONDS):
                await outcomes.client.send_and_wait(wire.topics["result"], b"old", partition=0)
                await wire.add_partitions("result", total=2)
                async with Writing(wire) as later:
                    await later.client.send_and_wait(wire.topics["result"], b"new", partition=1)
                while len(found) < 2:
                    found += [(one.partition, one.value) for one in await reader.fetch(timeout_ms=20)]
            await reader.close()
    assert sorted(found) == [(0, b"old"), (1, b"new")]


async def test_a_broker_that_comes_back_is_read_on(own_broker: Broker) -> None:
    """The broker stops and starts again: both are told, and what comes after is shown, and nothing twice."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    async with producer(*following(wire), "--from-beginning", "--until", "2") as process:
        assert process.stdout is not None
        async with Writing(wire) as outcomes:
            await outcomes.result(1)
        assert (await process.stdout.readline()).startswith(b"d1 ")
        await asyncio.to_thread(own_broker.stop)
        await said(process, f"lost the broker at {wire.bootstrap_servers}")
        await asyncio.to_thread(own_broker.start)
        await said(process, f"the broker at {wire.bootstrap_servers} is back")
        async with Writing(wire) as outcomes:
            await outcomes.dead_letter(2)
        out, err = await process.communicate()
        assert process.returncode == Exit.DONE
    assert out.decode().splitlines()[-2] == "1 result, 1 dead letter (refused 1)"
    assert b"lost" not in err


@pytest.mark.parametrize("own_broker", ["embedded"], indirect=True)
async def test_a_signal_ends_it_while_the_broker_is_away(own_broker: Broker) -> None:
    """The totals come last all the same, and the exit code is that of the signal."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    async with producer(*following(wire)) as process:
        await said(process, "following")
        await asyncio.to_thread(own_broker.stop)
        await said(process, f"lost the broker at {wire.bootstrap_servers}")
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
        assert process.returncode == Exit.TERMINATED
    assert out.startswith(b"0 results, 0 dead letters\n")
    assert err == b""


async def test_only_what_was_committed_is_shown(wire: Wire) -> None:
    """Outcomes of an aborted transaction are not shown, those of a committed one are."""
    await wire.create_topics()
    async with Writing(wire, transactional_id=wire.name) as outcomes:
        await outcomes.client.begin_transaction()
        await outcomes.result(1)
        await outcomes.client.abort_transaction()
        await outcomes.client.begin_transaction()
        await outcomes.result(2)
        await outcomes.client.commit_transaction()
    code, out, _ = await run(*following(wire), "--from-beginning", "--until", "1")
    assert code == 0
    assert out.startswith("d2 ")


async def test_large_dead_letters_are_read(wire: Wire) -> None:
    """A dead letter as large as the broker takes stops nothing."""
    await wire.create_topics()
    async with Writing(wire) as outcomes:
        for number in range(3):
            await outcomes.dead_letter(number, value=b"x" * 1_000_000)
    code, out, _ = await run(*following(wire), "--from-beginning", "--until", "3")
    assert code == 0
    assert "3 dead letters (refused 3)" in out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_it_with_totals(wire: Wire, number: signal.Signals, code: int) -> None:
    """Following without end is ended by a signal, in order: the totals come last."""
    await wire.create_topics()
    async with Writing(wire) as outcomes, producer(*following(wire)) as process:
        assert process.stdout is not None
        await said(process, "following")
        await outcomes.result(1)
        assert (await process.stdout.readline()).startswith(b"d1 ")
        process.send_signal(number)
        out, _ = await process.communicate()
        assert process.returncode == code
    assert b"1 result, 0 dead letters" in out

"""`docsluice send --resume` against real brokers: each document once, however earlier runs ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from docsluice.documents.entries import ReadOptions
from docsluice.documents.reading import read
from docsluice.documents.rows import Document
from docsluice.documents.sources import select
from docsluice.kafka import transactions
from docsluice.kafka.broker import Broker as Address
from docsluice.kafka.broker_session import broker_session
from docsluice_local.broker import Broker
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.sending import resumable_delivery
from docsluice_producer.sending.places import Files
from docsluice_producer.sending.resumable_delivery import ResumableDelivery
from tests.integration.producer_process import producer, run, said
from tests.integration.wire import Wire


def write(path: Path, count: int, *, text: str = "text") -> list[str]:
    ids = [f"{path.stem}-{number}" for number in range(count)]
    lines = (json.dumps({"document_id": one, "text": f"{text} {one}"}) + "\n" for one in ids)
    path.write_text("".join(lines), encoding="utf-8")
    return ids


async def sent_ids(wire: Wire, count: int) -> list[str]:
    """The keys of the committed records in the input topic, which has `count` of them and no more."""
    assert await wire.count("input") == count
    return [record.key.decode() async for record in wire.read(wire.topics["input"], count=count)]


def resume(wire: Wire, *paths: Path, flags: tuple[str, ...] = ()) -> list[str]:
    there = ["--topic", wire.topics["input"], "--bootstrap-servers", wire.bootstrap_servers]
    return ["send", *map(str, paths), *there, "--resume", *flags]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
async def test_an_interrupted_sending_goes_on(wire: Wire, tmp_path: Path, ending: signal.Signals) -> None:
    """Killed in the middle, and again: what a reader of committed records sees is each document once, in order."""
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 15_000) + write(tmp_path / "b.jsonl", 5_000)
    paths = (tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    for count in (1, 6_000):
        async with producer(*resume(wire, *paths)) as process:
            async for _ in wire.read(wire.topics["input"], count=count):
                pass
            process.send_signal(ending)
            await process.wait()
    code, out, err = await run(*resume(wire, *paths))
    assert code == Exit.DONE
    assert "sent by earlier runs: going on behind them" in err
    assert out.startswith("sent ")
    assert await sent_ids(wire, len(ids)) == ids
    code, out, _ = await run(*resume(wire, *paths))
    assert (code, out.partition(" to ")[0]) == (Exit.DONE, "sent 0 documents")
    assert await sent_ids(wire, len(ids)) == ids


async def test_files_that_come_behind_are_sent_and_those_before_are_told(wire: Wire, tmp_path: Path) -> None:
    """A new file at the end of a folder is what is new. A changed one makes it unknown what was sent."""
    await wire.create_topics()
    folder = tmp_path / "folder"
    folder.mkdir()
    first, last = write(folder / "b.jsonl", 3), [f"d-{number}" for number in range(2)]
    code, _, _ = await run(*resume(wire, folder))
    assert code == Exit.DONE
    write(folder / "d.jsonl", 2)
    code, out, _ = await run(*resume(wire, folder))
    assert (code, out.partition(" to ")[0]) == (Exit.DONE, "sent 2 documents")
    assert await sent_ids(wire, 5) == [*first, *last]
    write(folder / "a.jsonl", 1)
    code, _, err = await run(*resume(wire, folder))
    assert code == Exit.WRONG_USAGE
    assert "5 documents were sent with --resume, and the files that they were in have changed since" in err


async def test_a_sending_is_known_by_its_paths(wire: Wire, tmp_path: Path) -> None:
    """Another file to the same topic is another sending, and from another folder it is the same."""
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 3) + write(tmp_path / "b.jsonl", 2)
    for path in (tmp_path / "a.jsonl", tmp_path / "b.jsonl", Path(os.path.relpath(tmp_path / "a.jsonl"))):
        code, _, _ = await run(*resume(wire, path))
        assert code == Exit.DONE
    assert await sent_ids(wire, 5) == ids


async def test_a_limit_goes_on_where_the_last_one_ended(wire: Wire, tmp_path: Path) -> None:
    """So a large file can be sent in portions."""
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 10)
    for _ in range(4):
        code, _, _ = await run(*resume(wire, tmp_path / "a.jsonl", flags=("--limit", "3")))
        assert code == Exit.DONE
    assert await sent_ids(wire, 10) == ids


async def test_what_is_too_large_is_told_and_the_rest_is_there_once(wire: Wire, tmp_path: Path) -> None:
    """A batch is refused as a whole: it is halved until the document stands alone."""
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 1_500)
    path = tmp_path / "b.jsonl"
    write(path, 1, text="x" * 3_000_000)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"document_id": "vast", "text": "x" * 17_000_000}) + "\n")
    more = write(tmp_path / "c.jsonl", 5)
    code, out, err = await run(*resume(wire, *(tmp_path / f"{name}.jsonl" for name in "abc")))
    assert code == Exit.INCOMPLETE
    assert [line.partition(": ")[0] for line in err.splitlines()] == [f"{path}:1", f"{path}:2"]
    assert "2 bad rows or files not sent" in out
    assert await sent_ids(wire, 1_505) == [*ids, *more]


async def test_the_second_of_two_ends_the_first(wire: Wire, tmp_path: Path) -> None:
    """The same sending twice at a time: none of its documents is there twice."""
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 200)
    async with producer(*resume(wire, tmp_path / "a.jsonl", flags=("--rate", "20"))) as process:
        async for _ in wire.read(wire.topics["input"], count=1):
            pass
        code, _, _ = await run(*resume(wire, tmp_path / "a.jsonl"))
        assert code == Exit.DONE
        assert await process.wait() == Exit.FAULT
        assert b"another send --resume of the same files" in await process.stderr.read()
    assert await sent_ids(wire, 200) == ids


async def test_a_broker_that_goes_away_for_a_while(own_broker: Broker, tmp_path: Path) -> None:
    """Each document is there once, in order, when it is back."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 300)
    flags = ("--rate", "100", "--wait-seconds", "60")
    async with producer(*resume(wire, tmp_path / "a.jsonl", flags=flags)) as process:
        async for _ in wire.read(wire.topics["input"], count=1):
            pass
        await asyncio.to_thread(own_broker.stop)
        await asyncio.to_thread(own_broker.start)
        assert await process.wait() == Exit.DONE
    assert await sent_ids(wire, 300) == ids


@pytest.mark.parametrize("own_broker", ["embedded"], indirect=True)
async def test_a_broker_that_stays_away_ends_the_run(own_broker: Broker, tmp_path: Path) -> None:
    """It says how many are left to the next run, which sends exactly those."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 300)
    async with producer(*resume(wire, tmp_path / "a.jsonl", flags=("--rate", "100", "--wait-seconds", "0"))) as process:
        async for _ in wire.read(wire.topics["input"], count=1):
            pass
        await asyncio.to_thread(own_broker.stop)
        await said(process, "stopped: no ")
        out, _ = await process.communicate()
        assert process.returncode == Exit.FAULT
    assert out.decode().splitlines()[1].endswith("read and not acknowledged: --resume goes on there")
    await asyncio.to_thread(own_broker.start)
    code, _, _ = await run(*resume(wire, tmp_path / "a.jsonl"))
    assert code == Exit.DONE
    assert await sent_ids(wire, 300) == ids


class _AnswerLost(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka ships no types
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
async def test_a_commit_of_unknown_end_is_decided_by_the_place(
    wire: Wire, *, commits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it went through or not: the documents are in the topic once, and are counted once."""
    monkeypatch.setattr(_AnswerLost, "lost", False)
    monkeypatch.setattr(_AnswerLost, "commits", commits)
    monkeypatch.setattr(transactions, "AIOKafkaProducer", _AnswerLost)
    monkeypatch.setattr(resumable_delivery, "_PAUSE_SECONDS", 0.0)
    await wire.create_topics()
    ids = write(tmp_path / "a.jsonl", 5)
    selection = select([str(tmp_path / "a.jsonl")], other_format=None)
    with broker_session(Address(bootstrap_servers=wire.bootstrap_servers), wait_seconds=30, say=print) as session:
        delivery = ResumableDelivery(
            session=session, topic=wire.topics["input"], name="a", files=Files(selection.sources), refused=print
        )
        await delivery.start()
        for row in read(selection.sources[0], ReadOptions()):
            assert isinstance(row, Document)
            await delivery.send(row)
        await delivery.drain()
        await delivery.stop()
    assert _AnswerLost.lost
    assert (delivery.sent, delivery.place.sent) == (5, 5)
    assert await sent_ids(wire, 5) == ids


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["-", "--resume"], "standard input cannot be read again"), (["a.jsonl", "--resume", "--dry-run"], "--dry-run")],
)
async def test_what_cannot_be_resumed_is_wrong_usage(arguments: list[str], why: str) -> None:
    """Before anything is read."""
    code, _, err = await run("send", *arguments)
    assert code == Exit.WRONG_USAGE
    assert why in err

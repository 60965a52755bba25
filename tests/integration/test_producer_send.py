"""`docsluice send` against real brokers: what is in the topic afterwards, and what is said."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from docsluice.kafka.broker import Broker as Address
from docsluice.kafka.topics import partitions_of_topics
from docsluice.messages import DocumentEvent
from docsluice_local.broker import Broker
from docsluice_producer.command_line.exits import Exit
from tests.integration.producer_process import producer, run, said
from tests.integration.wire import Wire

FILES = Path(__file__).parents[1] / "fixtures" / "files"


def rows(*document_ids: str, text: str = "text") -> bytes:
    return b"".join(json.dumps({"document_id": one, "text": text}).encode() + b"\n" for one in document_ids)


async def sent_ids(wire: Wire, count: int) -> list[str]:
    """The keys in the input topic, which has `count` records and no more."""
    assert await wire.count("input") == count
    return [record.key.decode() async for record in wire.read(wire.topics["input"], count=count)]


def to(wire: Wire) -> list[str]:
    return ["--topic", wire.topics["input"], "--bootstrap-servers", wire.bootstrap_servers]


async def test_documents_arrive_as_events(wire: Wire, tmp_path: Path) -> None:
    """Texts, JSON lines and CSV rows are JSON events under their ids, and the topic is that of the environment."""
    await wire.create_topics()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.md").write_text("# Tiếng Việt", encoding="utf-8")
    (tmp_path / "b.jsonl").write_bytes(rows("b1", "b2"))
    (tmp_path / "c.csv").write_text("document_id,text,lang\nc1,hello,en\n", encoding="utf-8")
    settings = {"DOCSLUICE_INPUT_TOPIC": wire.topics["input"], "KAFKA_BOOTSTRAP_SERVERS": wire.bootstrap_servers}
    code, out, err = await run(
        "send", *(str(tmp_path / name) for name in ("notes", "b.jsonl", "c.csv")), environment=settings
    )
    assert (code, err) == (0, "")
    assert out.startswith(f"sent 4 documents to {wire.topics['input']} in ")
    records = [record async for record in wire.read(wire.topics["input"], count=4)]
    events = [DocumentEvent.model_validate_json(record.value) for record in records]
    changed = events[0].metadata["modified_at"]
    facts = {"path": "a.md", "modified_at": changed, "title": "Tiếng Việt"}
    assert events == [
        DocumentEvent(document_id="a", text="# Tiếng Việt", metadata=facts),
        DocumentEvent(document_id="b1", text="text"),
        DocumentEvent(document_id="b2", text="text"),
        DocumentEvent(document_id="c1", text="hello", metadata={"lang": "en"}),
    ]
    assert [record.key for record in records] == [b"a", b"b1", b"b2", b"c1"]
    assert {record.headers for record in records} == {(("content-type", b"application/json"),)}


async def test_a_folder_of_all_kinds_arrives(wire: Wire) -> None:
    """Of files that other programs have made, all documents but two PDFs without text, which are named."""
    await wire.create_topics()
    code, out, err = await run("send", str(FILES), *to(wire))
    assert code == Exit.INCOMPLETE
    named = [line.partition(": ")[0].rpartition("/")[2] for line in err.splitlines()]
    assert named == ["greeting.txt", "locked.pdf", "scan.pdf"]
    assert out.startswith("sent 27 documents to ")
    assert "2 bad rows or files not sent" in out
    ids = await sent_ids(wire, 27)
    assert {"deck", "e1", "k1", "k2", "letter.docx", "letter.pdf", "packed.md.zst", "page", "patch", "table"} < set(ids)


async def test_a_bad_row_stops_no_other(wire: Wire) -> None:
    """Bad rows are told by line and cause exit code 3. Every other row is in the topic."""
    await wire.create_topics()
    code, out, err = await run("send", "-", *to(wire), stdin=rows("a") + b"nope\n" + rows("b", " ", "c"))
    assert code == Exit.INCOMPLETE
    assert [line.partition(": ")[0] for line in err.splitlines()] == ["stdin:2", "stdin:4"]
    assert "2 bad rows or files not sent" in out
    assert await sent_ids(wire, 3) == ["a", "b", "c"]


async def test_repeated_ids_are_sent_and_told(wire: Wire) -> None:
    """Documents with the same id are all sent, in order, and the summary says that there are such."""
    await wire.create_topics()
    code, out, err = await run("send", "-", *to(wire), stdin=rows("a", "b", "a", "a"))
    assert (code, err) == (Exit.DONE, "")
    assert out.splitlines()[-1].startswith("2 documents have the id of an earlier one, for instance a: ")
    assert await sent_ids(wire, 4) == ["a", "b", "a", "a"]


async def test_too_large_rows_are_told_and_the_rest_arrives_in_order(wire: Wire) -> None:
    """A document over the broker's limit is that row's problem: nothing behind it is lost, doubled or out of order."""
    await wire.create_topics()
    ids = [f"d{number}" for number in range(2_000)]
    large = {"d3": 1_100_000, "d700": 3_000_000, "d701": 1_200_000, "d1500": 17_000_000}
    data = b"".join(rows(one, text="x" * large.get(one, 10)) for one in ids)
    code, out, err = await run("send", "-", *to(wire), stdin=data)
    assert code == Exit.INCOMPLETE
    assert sorted(line.partition(": ")[0] for line in err.splitlines()) == sorted(
        f"stdin:{ids.index(one) + 1}" for one in large
    )
    assert all("max.message.bytes" in line for line in err.splitlines())
    assert "sent 1,996 documents" in out
    assert await sent_ids(wire, 1_996) == [one for one in ids if one not in large]


async def test_a_topic_that_takes_less_than_a_batch(kafka_wire: Wire) -> None:
    """A topic's limit below our batches costs time, and perhaps the order, and loses nothing: batches get smaller."""
    await kafka_wire.create_topics(max_message_bytes={"input": 4_000})
    ids = [f"d{number}" for number in range(1_000)]
    data = b"".join(rows(one, text="x" * (5_000 if one == "d500" else 100)) for one in ids)
    code, _, err = await run("send", "-", *to(kafka_wire), stdin=data)
    assert (code, err.partition(": ")[0]) == (Exit.INCOMPLETE, "stdin:501")
    assert sorted(await sent_ids(kafka_wire, 999)) == sorted(set(ids) - {"d500"})


async def test_a_missing_topic_is_made_only_when_asked_for(wire: Wire) -> None:
    """Without --create-topic we say which topic is missing and make nothing. With it, we make it once."""
    topic = wire.topics["input"]
    address = Address(bootstrap_servers=wire.bootstrap_servers)
    code, out, err = await run("send", "-", *to(wire), stdin=rows("a"))
    assert (code, out) == (1, "")
    assert err.startswith(f"docsluice-producer: there is no topic {topic} ")
    assert "--create-topic" in err
    assert topic not in await partitions_of_topics(address)
    for _ in range(2):
        code, _, err = await run("send", "-", *to(wire), "--create-topic", "--partitions", "3", stdin=rows("a"))
        assert code == 0
    assert (await partitions_of_topics(address))[topic] == [0, 1, 2]
    assert err == ""
    assert await sent_ids(wire, 2) == ["a", "a"]


async def test_a_row_of_a_slow_pipe_is_sent_at_once(wire: Wire) -> None:
    """What comes through a pipe is in the topic while the pipe stays open, and Ctrl-C ends the waiting."""
    await wire.create_topics()
    async with producer("send", "-", *to(wire)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(rows("a", "b"))
        assert [record.key async for record in wire.read(wire.topics["input"], count=2)] == [b"a", b"b"]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
        assert (await process.stdout.read()).startswith(b"sent 2 documents")


async def test_a_signal_loses_nothing_that_was_counted(wire: Wire, tmp_path: Path) -> None:
    """SIGTERM in the middle of a file: the summary's count is what is in the topic, from the beginning, no hole."""
    await wire.create_topics()
    ids = [f"d{number}" for number in range(200_000)]
    path = tmp_path / "many.jsonl"
    path.write_bytes(rows(*ids))
    async with producer("send", str(path), *to(wire)) as process:
        assert process.stdout is not None
        async for _ in wire.read(wire.topics["input"], count=1):
            process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143
        count = int((await process.stdout.read()).split()[1].replace(b",", b""))
    assert await sent_ids(wire, count) == ids[:count]


async def test_a_broker_that_comes_back_gets_everything(own_broker: Broker) -> None:
    """The broker stops in the middle and starts again: we say that we wait, and every document is there, in order."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    async with producer("send", "-", *to(wire), "--wait-seconds", "60") as process:
        assert process.stdin is not None
        process.stdin.write(rows("a", "b"))
        await sent_by_now(wire, ["a", "b"])
        await asyncio.to_thread(own_broker.stop)
        process.stdin.write(rows("c", "d"))
        await said(process, "no acknowledgement")
        await asyncio.to_thread(own_broker.start)
        process.stdin.write(rows("e"))
        process.stdin.write_eof()
        assert await process.wait() == 0
    assert await sent_ids(wire, 5) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("own_broker", ["embedded"], indirect=True)
async def test_a_broker_that_stays_away_ends_the_sending(own_broker: Broker) -> None:
    """After the time that we were told to wait we stop with exit code 1 and say how many may be missing."""
    wire = Wire(bootstrap_servers=own_broker.bootstrap_servers)
    await wire.create_topics()
    async with producer("send", "-", *to(wire), "--wait-seconds", "0") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(rows("a"))
        await sent_by_now(wire, ["a"])
        await asyncio.to_thread(own_broker.stop)
        process.stdin.write(rows("b", "c"))
        await said(process, "stopped: no acknowledgement from")
        assert await process.wait() == 1
        summary = (await process.stdout.read()).decode().splitlines()
    assert summary[0].startswith("sent 1 document ")
    assert summary[1].startswith("2 documents read and not acknowledged")


async def sent_by_now(wire: Wire, ids: Sequence[str]) -> None:
    found = [record.key.decode() async for record in wire.read(wire.topics["input"], count=len(ids))]
    assert found == list(ids)

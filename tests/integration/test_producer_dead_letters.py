"""`docsluice dead-letters` against real brokers: what is listed, shown, exported and dropped."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from docsluice.kafka.broker import Broker as Address
from docsluice.kafka.topics import partitions_of_topics
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.dead_letters.query import DeadLetterQuery, letters_for_looking
from docsluice_producer.dead_letters.selection import Wanted
from tests.integration.dead_letter_topic import fill, listed, ran
from tests.integration.producer_process import run
from tests.integration.wire import Wire


async def test_dead_letters_are_listed_and_counted(wire: Wire) -> None:
    """A line for each, then the table. The end of the last transaction, which is no record, holds up nothing."""
    await wire.create_topics(partitions=3)
    await fill(wire, range(5))
    await fill(wire, [9], reason="undecodable", step=None, cost_usd="0")
    code, out, err = await ran(wire, "list")
    assert (code, err) == (Exit.DONE, "")
    lines = out.splitlines()
    assert lines[0].startswith("when (UTC)")
    assert sorted(line.split()[4] for line in lines[1:7]) == ["d0", "d1", "d2", "d3", "d4", "d9"]
    assert lines[-3].split()[:3] == ["invalid_answer", "summary", "5"]
    assert lines[-1] == "6 dead letters, $2.5 spent on them"


async def test_filters_and_json(wire: Wire) -> None:
    """Only what is asked for is written, as lines with the place and the state. The table goes to standard error."""
    await wire.create_topics()
    await fill(wire, [1, 2])
    await fill(wire, [3], reason="refused", step="keywords")
    (one,) = await listed(wire, "--reason", "refused", "--reason", "rejected", "--step", "keywords")
    assert (one["document_id"], one["reason"], one["state"], one["kind"]) == ("d3", "refused", "open", "dead_letter")
    assert one["source"] == {"topic": wire.topics["input"], "partition": 0, "offset": 3}
    assert [line["document_id"] for line in await listed(wire, "--id", "d2")] == ["d2"]
    assert [line["document_id"] for line in await listed(wire, "--limit", "2")] == ["d1", "d2"]
    assert len(await listed(wire, "--since", "1h")) == 3
    code, out, err = await ran(wire, "list", "--json", "--reason", "truncated")
    assert (code, out) == (Exit.DONE, "")
    assert err == "0 dead letters, $0 spent on them\n"


async def test_what_is_not_committed_is_not_read(wire: Wire) -> None:
    """An aborted transaction is skipped, and one that is open is not waited for."""
    await wire.create_topics()
    await fill(wire, [1])
    client = AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers, transactional_id=f"{wire.name}.open")
    await client.start()
    try:
        for ends in (True, False):
            await client.begin_transaction()
            await client.send_and_wait(wire.topics["dead_letter"], b"x", headers=[("__docsluice.errors.reason", b"x")])
            if ends:
                await client.abort_transaction()
        code, out, err = await ran(wire, "list", "--json", "--wait-seconds", "5")
        assert (code, json.loads(out)["document_id"]) == (Exit.DONE, "d1")
        assert f"a transaction before it has not ended: up to 1 record of {wire.topics['dead_letter']}" in err
    finally:
        await client.abort_transaction()
        await client.stop()


async def test_an_empty_topic_and_a_missing_one(wire: Wire) -> None:
    """Nothing in the topic is nothing to do. No topic is a mistake, and none is made by looking."""
    code, _, err = await ran(wire, "list")
    assert code == Exit.FAULT
    assert err.startswith(f"docsluice-producer: there is no topic {wire.topics['dead_letter']} on ")
    assert err.endswith(": the service makes it when it first runs; --dead-letter-topic names another\n")
    await wire.create_topics()
    for command in (["list"], ["redrive"], ["export", "--to", "-"], ["drop", "--everything", "--yes"]):
        code, _, _ = await ran(wire, *command)
        assert code == Exit.DONE
    topics = await partitions_of_topics(Address(bootstrap_servers=wire.bootstrap_servers))
    assert topics[f"{wire.topics['dead_letter']}.handled"] == [0]


async def test_looking_makes_no_topic(wire: Wire) -> None:
    """Where nothing was handled there is no topic of marks, and none is needed."""
    await wire.create_topics()
    await fill(wire, [1])
    for command in (["list"], ["show", "d1"], ["export", "--to", "-"], ["redrive", "--dry-run"]):
        code, _, _ = await ran(wire, *command)
        assert code == Exit.DONE
    topics = await partitions_of_topics(Address(bootstrap_servers=wire.bootstrap_servers))
    assert not [topic for topic in topics if topic.startswith(wire.name) and topic.endswith(".handled")]


async def test_one_is_shown_by_id_or_place(wire: Wire) -> None:
    """The newest one of a document, with the places of the others, or the very one at a place."""
    await wire.create_topics()
    await fill(wire, [1, 2], transactional=False)
    await fill(wire, [1], replay_count="1", transactional=False)
    code, out, err = await ran(wire, "show", "d1")
    assert (code, out.splitlines()[0]) == (Exit.DONE, f"d1  0@2 of {wire.topics['dead_letter']}, open")
    assert err == "earlier ones of this document: 0@0 (open)\n"
    assert "  The text." in out
    for place in ("0@1", f"{wire.topics['dead_letter']}/0@1", f"{wire.topics['dead_letter']}[0]@1"):
        code, out, err = await ran(wire, "show", place)
        assert (code, err) == (Exit.DONE, "")
        assert out.startswith("d2  0@1 of ")
    code, out, err = await ran(wire, "show", f"{wire.topics['input']}/0@1")
    assert (code, out.splitlines()[0]) == (Exit.DONE, f"d1  0@2 of {wire.topics['dead_letter']}, open")
    assert err == "earlier ones of this document: 0@0 (open)\n"
    for name in ("d3", "0@3", "7@0", f"{wire.topics['input']}/0@3", "documents/0@1"):
        code, out, err = await ran(wire, "show", name)
        assert (code, out) == (Exit.FAULT, "")
        assert err.startswith("there is no dead letter ")
        assert name in err


async def test_one_that_a_filter_leaves_out_is_named(wire: Wire) -> None:
    """A search under another reason or step says under which the letter is."""
    await wire.create_topics()
    await fill(wire, [1])
    for flag in (["--reason", "refused"], ["--step", "keywords"]):
        code, out, err = await ran(wire, "show", "d1", *flag)
        assert (code, out) == (Exit.FAULT, "")
        assert err.endswith("; there is one of reason invalid_answer, step summary: 0@0\n")
    code, out, _ = await ran(wire, "show", "d1", "--reason", "invalid_answer", "--step", "summary")
    assert (code, out.splitlines()[0]) == (Exit.DONE, f"d1  0@0 of {wire.topics['dead_letter']}, open")


async def test_an_export_is_sent_again(wire: Wire, tmp_path: Path) -> None:
    """The file of `export`, corrected or not, is a file for `send`. What is no document is named there."""
    await wire.create_topics()
    await fill(wire, [1, 2])
    await fill(wire, [3], value=b"\xff", reason="undecodable")
    path = tmp_path / "dead.jsonl"
    code, out, err = await ran(wire, "export", "--to", str(path))
    assert (code, err) == (Exit.DONE, "")
    assert out == "exported 3 dead letters, 2 documents among them\n"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert lines[2]["value_base64"] == "/w=="
    code, out, err = await run(
        "send", str(path), "--topic", wire.topics["input"], "--bootstrap-servers", wire.bootstrap_servers
    )
    assert code == Exit.INCOMPLETE
    assert err == f"{path}:3: no 'text'\n"
    sent = [json.loads(one.value) async for one in wire.read(wire.topics["input"], count=2)]
    assert [(one["document_id"], one["metadata"]) for one in sent] == [("d1", {"lang": "vi"}), ("d2", {"lang": "vi"})]
    code, out, err = await ran(wire, "export", "--to", "-", "--id", "d2")
    assert (code, json.loads(out)["text"]) == (Exit.DONE, "The text.")
    assert err.startswith("exported 1 dead letter, ")


async def test_what_is_dropped_is_seen_no_more(wire: Wire) -> None:
    """Only what was meant is marked. --all shows it still, and a redrive passes it over."""
    await wire.create_topics(partitions=2)
    await fill(wire, range(6))
    await fill(wire, [6, 7], reason="refused")
    code, out, _ = await ran(wire, "drop", "--reason", "refused", "--yes")
    assert code == Exit.DONE
    assert out.startswith(f"dropped 2 dead letters of {wire.topics['dead_letter']}: marked, ")
    assert sorted(line["document_id"] for line in await listed(wire)) == [f"d{number}" for number in range(6)]
    states = {line["document_id"]: line["state"] for line in await listed(wire, "--all")}
    assert [states["d6"], states["d7"], states["d0"]] == ["dropped", "dropped", "open"]
    code, out, _ = await ran(wire, "drop", "--reason", "refused", "--yes")
    assert (code, out) == (Exit.DONE, f"nothing to drop in {wire.topics['dead_letter']}\n")
    await ran(wire, "redrive")
    assert await wire.count("input") == 6


async def test_a_drop_of_many(wire: Wire) -> None:
    """More than go into one transaction."""
    await wire.create_topics()
    await fill(wire, range(2_500))
    code, out, _ = await ran(wire, "drop", "--everything", "--yes", "--limit", "2400")
    assert code == Exit.DONE
    assert out.startswith("dropped 2,400 dead letters")
    assert len(await listed(wire)) == 100


async def test_a_dead_letter_topic_made_anew_has_nothing_handled(wire: Wire) -> None:
    """Other dead letters in the places of earlier ones are open."""
    await wire.create_topics()
    await fill(wire, [1, 2])
    await ran(wire, "drop", "--everything", "--yes")
    assert await listed(wire) == []
    await wire.make_anew("dead_letter")
    await fill(wire, [3, 4])
    assert [(line["document_id"], line["state"]) for line in await listed(wire, "--all")] == [
        ("d3", "open"),
        ("d4", "open"),
    ]


@pytest.mark.parametrize("count", [125, 500])
async def test_memory_does_not_grow_with_the_topic(wire: Wire, count: int) -> None:
    """Whether 12 MB of dead letters are looked through or 50: what is held of them at a time is the same."""
    await wire.create_topics()
    await fill(wire, range(count), value=b'{"document_id": "d", "text": "' + b"x" * 100_000 + b'"}')
    query = DeadLetterQuery(
        broker=Address(bootstrap_servers=wire.bootstrap_servers),
        topic=wire.topics["dead_letter"],
        wait_seconds=30,
        wanted=Wanted(),
    )
    tracemalloc.start()
    try:
        async with letters_for_looking(query, lambda _: None) as letters:
            seen = [0 async for _ in letters.until(lambda: False)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(seen) == count
    assert peak < 40_000_000  # less than the larger topic holds

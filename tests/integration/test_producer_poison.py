"""What the producer's commands make of records that cannot be read, and of dead letters that lack their record."""

from __future__ import annotations

import random
from typing import Any

import pytest

from docsluice_local.rehearsal.provider import RehearsalProvider
from docsluice_producer.command_line.exits import Exit
from tests.fakes.batches import RawRecord, batch
from tests.fakes.dead_letters import error_headers, event
from tests.integration.dead_letter_topic import listed, ran, redriven
from tests.integration.producer_process import run
from tests.integration.raw_producer import bomb, far_repeats, in_zstd, produce_batches
from tests.integration.wire import Wire, serving, until

MEGABYTE = random.Random(7).randbytes(1_000_000)


async def _poisoned(wire: Wire, provider: RehearsalProvider, batches: list[bytes], **settings: Any) -> None:
    """Have the service make dead letters of these, and end."""
    await produce_batches(wire, batches)
    async with serving(wire.settings(provider.base_url, mode="fused", **settings)):

        async def all_ended() -> bool:
            return await wire.count("dead_letter") == len(batches)

        await until(all_ended, what="each is a dead letter")


@pytest.mark.kafka
async def test_a_stub_is_shown_as_what_it_is_and_its_original_is_sent_again(
    kafka_wire: Wire, provider: RehearsalProvider
) -> None:
    """Key, value and headers as they were. What is gone, or cannot be known again, is named and stays."""
    wire = kafka_wire
    await wire.create_topics(max_message_bytes={"dead_letter": 500_000})
    odd = batch([RawRecord(value=MEGABYTE, key=b"big", headers=[(b"h", b"1")])])
    await _poisoned(wire, provider, [odd, bomb("zstd", 2**26)])
    bomb_stub, stub = sorted(await listed(wire), key=lambda line: str(line["reason"]))
    assert (stub["reason"], stub["left_out"], stub["value_bytes"]) == ("undecodable", ["headers", "value"], 1_000_000)
    assert (bomb_stub["reason"], bomb_stub["value_bytes"]) == ("too_large", 2**26)
    code, out, _ = await ran(wire, "show", stub["place"])
    assert code == Exit.DONE
    assert f"value left out, 1,000,000 bytes, sha256 {stub['value_sha256']}, and its headers" in out
    assert f"original at {wire.topics['input']}/0@0" in out
    code, out, error = await ran(wire, "redrive")
    assert code == Exit.FAULT
    assert f"{bomb_stub['place']}: its original cannot be read: the record has 67,108,877 bytes" in error
    assert "1 dead letter without their record, which is gone: left as they are" in out
    *_, again = await redriven(wire)
    assert (again.key, again.value, again.headers[0]) == (b"big", MEGABYTE, ("h", b"1"))
    assert {line["reason"]: line["state"] for line in await listed(wire, "--all")} == {
        "undecodable": "redriven",
        "too_large": "open",
    }


@pytest.mark.kafka
async def test_what_fits_with_zstd_only_goes_back(kafka_wire: Wire, provider: RehearsalProvider) -> None:
    """As it had come."""
    wire = kafka_wire
    await wire.create_topics()
    await _poisoned(wire, provider, [in_zstd(far_repeats(), b"far")])
    assert (await ran(wire, "redrive"))[0] == Exit.DONE
    *_, again = await redriven(wire)
    assert (again.key, again.value) == (b"far", far_repeats())


@pytest.mark.kafka
async def test_records_that_cannot_be_read_are_passed_over_and_named(kafka_wire: Wire) -> None:
    """In the topic of dead letters itself: what is before them and behind them is listed, shown and followed."""
    wire = kafka_wire
    await wire.create_topics(max_message_bytes={"dead_letter": 4_000_000})
    sound = [
        batch(
            [
                RawRecord(
                    value=event(f"d{number}"),
                    key=b"d%d" % number,
                    headers=[(name.encode(), value) for name, value in error_headers(number)],
                )
            ]
        )
        for number in (1, 2)
    ]
    odd_name = batch([RawRecord(value=b"{}", headers=[(b"\xff\xfe", b"1")])])
    await produce_batches(wire, [sound[0], odd_name, bomb("gzip", 2**28), sound[1]], role="dead_letter")
    assert [line["document_id"] for line in await listed(wire)] == ["d1", "d2"]
    code, out, error = await ran(wire, "list")
    assert code == Exit.DONE
    assert "2 records are no dead letters" in out
    assert "0@1: no dead letter: the name of header 1 is not UTF-8" in error
    assert "0@2: no dead letter: the record has 268,435,4" in error
    topics = ["--result-topic", wire.topics["result"], "--dead-letter-topic", wire.topics["dead_letter"]]
    code, out, error = await run(
        "follow", "--json", "--from-beginning", "--until", "2", *topics, "--bootstrap-servers", wire.bootstrap_servers
    )
    assert code == Exit.DONE, error
    assert out.count('"document_id":"d') == 2

"""A single record costs at most itself: what would stop or fill the service ends as one dead letter."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from docsluice.messages import ERROR_HEADER_PREFIX, stub_parts
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.acceptance import programs
from tests.fakes.batches import RawRecord, batch
from tests.integration.raw_producer import bomb, far_repeats, in_zstd, odd_header_name, produce_batches
from tests.integration.wire import Record, Wire, document, serving, until

DELIVERIES = pytest.mark.parametrize("delivery", ["at_least_once", "exactly_once"])
FAR = far_repeats()
MEGABYTE = random.Random(7).randbytes(1_048_400)
MOST_PEAK_MIB = 400
GZIP_BYTES = 450 * 2**20
"""More than may be held at a time. `make hostile` sends twice as many."""

POISON: dict[str, Callable[[], bytes]] = {
    "24 MB in 400 kB": lambda: in_zstd(FAR, b"poison"),
    "1 MB that fits as it is": lambda: in_zstd(MEGABYTE, b"poison"),
    "header name": lambda: odd_header_name(document("in-batch-1"), document("in-batch-2")),
    "zstd bomb": lambda: bomb("zstd"),
    "gzip bomb": lambda: bomb("gzip", GZIP_BYTES),
}
IN_ITS_BATCH = {"header name": 2}


@pytest.mark.kafka
@DELIVERIES
@pytest.mark.parametrize("kind", POISON)
async def test_poison_costs_itself_only(
    kafka_wire: Wire, provider: RehearsalProvider, tmp_path: Path, delivery: str, kind: str
) -> None:
    """The documents before and behind it, and in its batch, end as results. All is committed. It drains with 0."""
    wire = kafka_wire
    await wire.create_topics()
    await wire.produce(document(f"a{n}") for n in range(25))
    await produce_batches(wire, [POISON[kind]()])
    await wire.produce(document(f"b{n}") for n in range(25))
    count = 51 + IN_ITS_BATCH.get(kind, 0)
    settings = programs.environment(wire, provider.base_url, DOCSLUICE_DELIVERY=delivery, DOCSLUICE_MODE="fused")
    child = programs.forked_consumer(settings, log_path=tmp_path / "log")
    try:
        await asyncio.to_thread(programs.start, child, settings)

        async def all_committed() -> bool:
            return await wire.committed() >= count

        await until(all_committed, what="every offset is committed")
        peak_mib = _peak_mib(child.pid)
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, timeout_seconds=60) == 0
    finally:
        await asyncio.to_thread(child.stop)
    assert await wire.count("result") == count - 1
    assert await wire.count("dead_letter") == 1
    (letter,) = [one async for one in wire.read(wire.topics["dead_letter"], count=1)]
    _assert_is_the_poison(kind, letter)
    print(f"{kind}, {delivery}: peak {peak_mib} MiB")  # noqa: T201 - docs/how-to/operations.md has the figures
    assert peak_mib < MOST_PEAK_MIB


def _peak_mib(pid: int | None) -> int:
    (line,) = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) // 1024


def _assert_is_the_poison(kind: str, letter: Any) -> None:
    errors = {name.removeprefix(ERROR_HEADER_PREFIX): (value or b"").decode() for name, value in letter.headers}
    place = (errors["partition"], errors["offset"])
    match kind:
        case "24 MB in 400 kB":
            assert (errors["reason"], errors["stage"], letter.key) == ("too_large", "decode", b"poison")
            assert letter.value == FAR
            assert stub_parts(letter.headers) == []
        case "1 MB that fits as it is":
            assert (errors["reason"], letter.key, letter.value) == ("undecodable", b"poison", b"")
            assert stub_parts(letter.headers) == ["headers", "value"]
            assert errors["value_sha256"] == hashlib.sha256(MEGABYTE).hexdigest()
        case "header name":
            assert (errors["reason"], letter.key) == ("undecodable", b"poison")
            assert letter.value == b'{"document_id": "odd", "text": "Odd."}'
            assert place == ("0", "26")
        case _:
            assert (errors["reason"], letter.key, letter.value) == ("too_large", b"bomb", b"")
            assert stub_parts(letter.headers) == ["headers", "value"]
            assert errors["value_bytes"] == str(2**30 if kind == "zstd bomb" else GZIP_BYTES)
    assert kind == "header name" or place == ("0", "25")


@pytest.mark.kafka
@DELIVERIES
async def test_many_that_do_not_fit_cost_themselves_only(
    kafka_wire: Wire, provider: RehearsalProvider, tmp_path: Path, delivery: str
) -> None:
    """Documents and poison in turn, and a dead-letter topic that takes little: each ends once, as what it is."""
    wire = kafka_wire
    await wire.create_topics(max_message_bytes={"dead_letter": 2_000, "result": 20_000})
    chance = random.Random(11)
    records = _mixed(chance)
    await produce_batches(wire, records)
    settings = programs.environment(wire, provider.base_url, DOCSLUICE_DELIVERY=delivery, DOCSLUICE_MODE="fused")
    child = programs.forked_consumer(settings, log_path=tmp_path / "log")
    try:
        await asyncio.to_thread(programs.start, child, settings)

        async def all_committed() -> bool:
            return await wire.committed() == len(records)

        await until(all_committed, what="every offset is committed")
        child.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(child.wait, timeout_seconds=60) == 0
    finally:
        await asyncio.to_thread(child.stop)
    found = await wire.outcomes(len(records))
    places = {outcome.fields["source"]["offset"] for outcome in found}
    assert places == set(range(len(records)))
    assert sum(not outcome.is_dead_letter for outcome in found) == 20
    assert await wire.count("dead_letter") == len(records) - 20


@pytest.mark.kafka
@DELIVERIES
async def test_a_record_without_a_key_fits_a_compacted_topic(
    kafka_wire: Wire, provider: RehearsalProvider, delivery: str
) -> None:
    """Such a topic takes nothing without one, so the record's place is its key. It was waited for without an end."""
    wire = kafka_wire
    await wire.create_topics(configs={"dead_letter": {"cleanup.policy": "compact"}})
    await wire.produce([document("before"), Record(value=b"no JSON"), document("after")])
    async with serving(wire.settings(provider.base_url, mode="fused", delivery=delivery)):
        found = await wire.outcomes(3)
    assert sorted(outcome.document_id for outcome in found if not outcome.is_dead_letter) == ["after", "before"]
    (letter,) = [one async for one in wire.read(wire.topics["dead_letter"], count=1)]
    assert (letter.key, letter.value) == (f"{wire.topics['input']}/0@1".encode(), b"no JSON")
    assert stub_parts(letter.headers) == ["key"]


def _mixed(chance: random.Random) -> Sequence[bytes]:
    """Twenty documents, and as many records of random keys, values, header names and sizes."""
    batches = []
    for number in range(20):
        sound = document(f"d{number}")
        batches.append(batch([RawRecord(value=sound.value, key=sound.key)]))
        size = chance.choice([10, 1_000, 1_900, 2_100, 50_000, 900_000])
        headers = [
            (chance.randbytes(chance.randrange(8)), chance.randbytes(chance.choice([0, 100, 3_000])))
            for _ in range(chance.randrange(3))
        ]
        key = chance.randbytes(chance.choice([0, 10, 3_000]))
        batches.append(
            batch(
                [RawRecord(value=b"{" + chance.randbytes(size), key=key or None, headers=headers)],
                codec=chance.choice(["none", "zstd", "gzip"]),
            )
        )
    return batches

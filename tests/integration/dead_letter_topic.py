"""A dead-letter topic with dead letters in it, as the service writes them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaProducer

from docsluice.messages import REPLAY_COUNT_HEADER
from tests.fakes.dead_letters import error_headers, event
from tests.integration.producer_process import run
from tests.integration.wire import Wire


async def fill(
    wire: Wire,
    numbers: Iterable[int],
    *,
    value: bytes | None = None,
    own: tuple[tuple[str, bytes], ...] = (("own", b"1"),),
    transactional: bool = True,
    compression: str | None = "gzip",
    **changed: str | None,
) -> None:
    """Dead letters of documents `d{number}` of the wire's input topic, in one transaction like the service's."""
    client = AIOKafkaProducer(
        bootstrap_servers=wire.bootstrap_servers,
        transactional_id=f"{wire.name}.fill" if transactional else None,
        max_request_size=2**26,
        compression_type=compression,
    )
    await client.start()
    try:
        if transactional:
            await client.begin_transaction()
        sent = []
        for number in numbers:
            headers = [*own, *error_headers(number, **{"topic": wire.topics["input"], **changed})]
            sent.append(
                await client.send(
                    wire.topics["dead_letter"],
                    event(f"d{number}") if value is None else value,
                    key=b"d%d" % number,
                    headers=headers,
                )
            )
        await asyncio.gather(*sent)
        if transactional:
            await client.commit_transaction()
    finally:
        await client.stop()


def on(wire: Wire, command: str, *arguments: str) -> list[str]:
    """A command about the wire's dead letters."""
    topics = ["--dead-letter-topic", wire.topics["dead_letter"]]
    topics += ["--topic", wire.topics["input"]] if command == "redrive" else []
    return ["dead-letters", command, *arguments, *topics, "--bootstrap-servers", wire.bootstrap_servers]


async def ran(wire: Wire, command: str, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of such a command."""
    return await run(*on(wire, command, *arguments))


async def listed(wire: Wire, *arguments: str) -> list[dict[str, Any]]:
    """What `list --json` writes."""
    code, out, _ = await ran(wire, "list", "--json", *arguments)
    assert code == 0
    return [json.loads(line) for line in out.splitlines()]


async def redriven(wire: Wire) -> list[Any]:
    """Every committed record of the input topic."""
    return [one async for one in wire.read(wire.topics["input"], count=await wire.count("input"))]


def replays(record: Any) -> bytes:
    """What a redriven record's header says."""
    count: bytes = dict(record.headers)[REPLAY_COUNT_HEADER]
    return count

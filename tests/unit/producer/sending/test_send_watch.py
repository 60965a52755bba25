"""What a person is told while the broker acknowledges nothing."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from aiokafka.errors import NotEnoughReplicasError

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.client_log import ClientLog
from docsluice_producer.sending import send
from docsluice_producer.sending.delivery import Delivery
from docsluice_producer.sending.report import Report


class Waiting:
    """A delivery with one document under way, and the report about it."""

    acknowledged = 0
    waits_for_broker = True

    def __init__(self, *, progressed_at: float) -> None:
        self.progressed_at = progressed_at
        self.said: list[str] = []

    def advance(self, text: str) -> None:
        """The bar."""

    def say(self, line: str) -> None:
        self.said.append(line)


async def told(refused: NotEnoughReplicasError | None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(send, "_WATCH_SECONDS", 0.0)
    loop = asyncio.get_running_loop()
    waiting = Waiting(progressed_at=loop.time() - 1_000)
    session = BrokerSession(broker=Broker(bootstrap_servers="b:1"), wait_seconds=60, client_log=ClientLog(), say=print)
    session.client_log.refused = refused
    async with asyncio.timeout(None) as timeout:
        await send._watch(cast("Delivery", waiting), timeout, cast("Report", waiting), session)
        timeout.reschedule(None)
    return waiting.said


async def test_a_silent_broker_is_told_without_a_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is known of it."""
    assert await told(None, monkeypatch) == ["no acknowledgement for 1000 s: waiting for up to 60 s"]


async def test_a_broker_that_refuses_is_told_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client sends the batch again by itself, and its error reaches nobody else."""
    (line,) = await told(NotEnoughReplicasError(), monkeypatch)
    assert line.startswith("no acknowledgement for 1000 s (")
    assert "min.insync.replicas" in line
    assert line.endswith("): waiting for up to 60 s")

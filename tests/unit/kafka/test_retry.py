"""Waiting for a broker that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, TopicAuthorizationFailedError
from structlog.testing import capture_logs

from docsluice_consumer.errors import BrokerFault
from docsluice_consumer.kafka import retry
from docsluice_consumer.kafka.retry import with_retries


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_FIRST_PAUSE_SECONDS", 0.0)


class Away:
    """A broker that is away until told otherwise, and counts what it is asked."""

    def __init__(self) -> None:
        self.is_back = False
        self.asked = 0

    async def answer(self) -> str:
        self.asked += 1
        if not self.is_back:
            raise KafkaConnectionError("nobody there")
        return "there"


async def _until_asked(broker: Away, times: int) -> None:
    while broker.asked < times:
        await asyncio.sleep(0)


def _events(logs: list[Any]) -> list[tuple[str, str]]:
    return [(line["event"], line["doing"]) for line in logs]


async def _ridden_out(broker: Away, *waits: Callable[[], Coroutine[Any, Any, str]]) -> list[str]:
    tasks = [asyncio.create_task(wait()) for wait in waits]
    await _until_asked(broker, broker.asked + 3 * len(tasks))
    broker.is_back = True
    return await asyncio.gather(*tasks)


async def test_an_outage_is_two_lines_however_many_wait() -> None:
    """Each kind of work says once that it waits and once that it goes on, and says it again in the next outage."""
    broker = Away()
    publish, read = (lambda doing=doing: with_retries(broker.answer, doing=doing) for doing in ("publish", "read"))
    with capture_logs() as logs:
        assert await _ridden_out(broker, publish, publish, read, publish) == ["there"] * 4
        assert sorted(_events(logs)) == [
            ("broker.back", "publish"),
            ("broker.back", "read"),
            ("broker.waiting", "publish"),
            ("broker.waiting", "read"),
        ]
        logs.clear()
        broker.is_back = False
        await _ridden_out(broker, publish)
        assert _events(logs) == [("broker.waiting", "publish"), ("broker.back", "publish")]


async def test_a_wait_that_is_given_up_and_begun_again_is_one_outage() -> None:
    """A commit is cut off and retried, for as long as a broker is away."""
    broker = Away()
    with capture_logs() as logs:
        for _ in range(3):
            waiting = asyncio.create_task(with_retries(broker.answer, doing="publish"))
            await _until_asked(broker, broker.asked + 2)
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        await _ridden_out(broker, lambda: with_retries(broker.answer, doing="publish"))
        broker.is_back = False
        await _ridden_out(broker, lambda: with_retries(broker.answer, doing="publish"))
    assert _events(logs) == [("broker.waiting", "publish"), ("broker.back", "publish")] * 2


async def test_what_waiting_will_not_mend_is_raised_at_once() -> None:
    """A broker that forbids it is asked once."""
    asked = []

    async def refuse() -> None:
        asked.append(1)
        raise TopicAuthorizationFailedError("no")

    with capture_logs() as logs, pytest.raises(BrokerFault, match="cannot publish"):
        await with_retries(refuse, doing="publish")
    assert (asked, logs) == ([1], [])

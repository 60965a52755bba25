"""A reader of a broker that answers at once with nothing, where Apache Kafka waits for records."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.consumer import consumer, fetcher

from docsluice.kafka.batch_reading import pause_between_empty_fetches
from tests.fakes.timer import settled

A_MINUTE_MS = 60_000


def _fetch(monkeypatch: pytest.MonkeyPatch, *, has_records: bool, max_wait_ms: float) -> asyncio.Task[bool]:
    """What a consumer does for one request to a broker that answers at once."""

    async def answered(*request: Any) -> bool:
        return has_records

    monkeypatch.setattr(consumer, "Fetcher", fetcher.Fetcher)
    monkeypatch.setattr(fetcher.Fetcher, "_proc_fetch_request", answered)
    pause_between_empty_fetches()
    fetching = object.__new__(consumer.Fetcher)
    fetching._fetch_max_wait_ms = max_wait_ms
    return asyncio.create_task(fetching._proc_fetch_request("assignment", 0, "request"))


async def test_a_pause_follows_an_empty_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a reader at the end of its topic would ask a thousand times a second. It ends early if the consumer stops."""
    fetch = _fetch(monkeypatch, has_records=False, max_wait_ms=A_MINUTE_MS)
    await settled()
    assert not fetch.done()
    fetch.cancel()
    assert await fetch is False


async def test_no_pause_follows_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be more."""
    fetch = _fetch(monkeypatch, has_records=True, max_wait_ms=A_MINUTE_MS)
    await settled()
    assert fetch.done()
    assert fetch.result() is True


async def test_no_pause_follows_a_broker_that_has_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Apache Kafka does. The wait was long enough."""
    fetch = _fetch(monkeypatch, has_records=False, max_wait_ms=0)
    await settled()
    assert fetch.done()
    assert fetch.result() is False

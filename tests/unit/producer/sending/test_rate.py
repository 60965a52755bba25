"""How fast documents are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import pytest

from docsluice.documents.entries import ReadOptions
from docsluice.documents.rows import BadRow, Document, Place, Row
from docsluice.documents.sources import Selection
from docsluice_producer.sending import send
from docsluice_producer.sending.delivery import Delivery
from docsluice_producer.sending.feed import Feed
from docsluice_producer.sending.report import Report


class Kept:
    """A delivery that keeps what it is given."""

    def __init__(self) -> None:
        self.ids: list[str] = []

    async def send(self, document: Document) -> None:
        self.ids.append(document.document_id)

    async def drain(self) -> None:
        """Nothing is in flight."""


async def rows(*ids: str | None) -> AsyncIterator[Row]:
    for one in ids:
        place = Place("file")
        yield BadRow(place=place, problem="bad") if one is None else Document(place=place, document_id=one, value=b"{}")


@pytest.mark.parametrize(("per_second", "waits"), [(None, []), (4, [0.25, 0.5])])
async def test_each_document_waits_for_its_turn(
    per_second: int | None, waits: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that stands still. A bad row takes no turn."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: 1_000.0)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    sending = send.Sending(selection=Selection(), options=ReadOptions(), topic="t", per_second=per_second)
    delivery = Kept()
    feed = cast("Feed", rows("a", None, "b", "c"))
    await send._send_all(feed, cast("Delivery", delivery), Report(total_bytes=None), sending)
    assert (delivery.ids, waited) == (["a", "b", "c"], waits)

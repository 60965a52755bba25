"""Rows from the reading thread to the event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from docsluice.documents.rows import Document, Place, Row
from docsluice_producer.sending import feed as feed_room
from docsluice_producer.sending.feed import Feed


def documents(count: int, *, size: int = 1) -> Iterator[Row]:
    for number in range(count):
        yield Document(place=Place("file", number), document_id=str(number), value=b"x" * size)


class Counting:
    """Rows that count how many of them were read."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self.rows = rows
        self.read = 0
        self.ended = threading.Event()

    def __iter__(self) -> Iterator[Row]:
        try:
            for row in self.rows:
                self.read += 1
                yield row
        finally:
            self.ended.set()


async def full(feed: Feed) -> None:
    """Wait until no more is read ahead."""
    async with asyncio.timeout(60):
        while feed._has_room():
            await asyncio.sleep(0)


async def test_rows_come_in_order() -> None:
    """Every row comes once and in order, many times what is read ahead."""
    found = [row async for row in Feed(rows=documents(10_000))]
    assert found == list(documents(10_000))


async def test_a_row_does_not_wait_for_the_next() -> None:
    """A row that a slow pipe gave is passed on while the reading waits for more."""
    more = threading.Event()

    def slow() -> Iterator[Row]:
        yield from documents(1)
        more.wait()
        yield from documents(1)

    feed = Feed(rows=slow())
    assert isinstance(await anext(feed), Document)
    more.set()
    assert len([row async for row in feed]) == 1


@pytest.mark.parametrize(("size", "most"), [(1, feed_room._ROWS), (4_000_000, feed_room._BYTES // 4_000_000 + 1)])
async def test_little_is_read_ahead(size: int, most: int) -> None:
    """Nobody takes rows: reading stops at the bound, in rows and in bytes, whatever the file's size."""
    rows = Counting(documents(100_000, size=size))
    feed = Feed(rows=iter(rows))
    await full(feed)
    feed.close()
    feed._thread.join()
    assert rows.read <= most + 1  # the one that was waiting for room


async def test_closing_ends_the_iteration_and_the_reading() -> None:
    """After `close` no row comes, however many were read ahead, and the file is released."""
    rows = Counting(documents(100_000))
    feed = Feed(rows=iter(rows))
    await full(feed)
    feed.close()
    assert [row async for row in feed] == []
    feed._thread.join()
    del feed
    assert rows.ended.is_set()


async def test_what_reading_raises_is_raised_here() -> None:
    """A bug in the reading ends the sending with its own exception, after the rows before it."""

    def broken() -> Iterator[Row]:
        yield from documents(2)
        raise ZeroDivisionError

    feed = Feed(rows=broken())
    assert [await anext(feed), await anext(feed)] == list(documents(2))
    with pytest.raises(ZeroDivisionError):
        await anext(feed)

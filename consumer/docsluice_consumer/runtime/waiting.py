"""Waiting for a part, a stop or a fault, whichever comes first."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

Done = TypeVar("Done")


class Stopped(Exception):
    """A stop was asked for before the service was up."""


async def until(stop: asyncio.Event, fault: asyncio.Future[None]) -> None:
    """Return when a stop is asked for. Raise the fault if that comes first."""
    stopping = asyncio.create_task(stop.wait(), name="service.stop")
    fault.add_done_callback(lambda _: stopping.cancel())
    try:
        await stopping
    except asyncio.CancelledError:
        if not fault.done():
            raise  # we ourselves are being cancelled
    if fault.done():
        fault.result()


async def unless(stop: asyncio.Event, starting: Awaitable[Done]) -> Done:
    """Await a part's start, which waits for the broker for as long as it takes, or raise Stopped."""
    start = asyncio.ensure_future(starting)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([start, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            raise Stopped
        return start.result()
    finally:
        stopping.cancel()
        start.cancel()
        await asyncio.gather(start, stopping, return_exceptions=True)

"""A log line for a start that takes long although the broker answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from docsluice.kafka.broker import Broker
from docsluice_consumer.kafka.probe import why_silent
from docsluice_consumer.runtime.supervision import end

_PROBE_SECONDS = 5.0
_PAUSE_SECONDS = 2.0
_ANSWERS = 2
"""A broker that has just come back gets time."""


@contextlib.asynccontextmanager
async def slow_start(broker: Broker, *, after_seconds: float, say: Callable[[], None]) -> AsyncIterator[None]:
    """Call `say` once if the block takes long. A broker that is away was logged already."""
    watching = asyncio.create_task(_say_when_it_answers(broker, after_seconds, say), name="slow-start")
    try:
        yield
    finally:
        await end(watching)


async def _say_when_it_answers(broker: Broker, after_seconds: float, say: Callable[[], None]) -> None:
    await asyncio.sleep(after_seconds)
    answers = 0
    while answers < _ANSWERS:
        answers = answers + 1 if await why_silent(broker, seconds=_PROBE_SECONDS) is None else 0
        await asyncio.sleep(_PAUSE_SECONDS)
    say()

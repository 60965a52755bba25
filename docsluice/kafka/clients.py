"""Starts and ends aiokafka clients, whatever their broker does.

Their own stop may wait for ever, or look like a cancellation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

_STOP_SECONDS = 5.0


async def connected(client: Any) -> Any:
    """Start a client, and return it. One that fails to start keeps no connection."""
    try:
        await client.start()
    except BaseException:
        await _ended(client)
        raise
    return client


async def _ended(client: Any) -> None:
    """End a client of any kind. Its end may wait for the very answer that its start has waited for."""
    if isinstance(client, AIOKafkaAdminClient):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await client.close()
    elif isinstance(client, AIOKafkaProducer):
        await stopped(client)
    else:
        await left(client, seconds=_STOP_SECONDS)


async def stopped(producer: Any) -> None:
    """Stop a producer. Its own stop waits for all deliveries, and for ever if the broker is away."""
    if not await _has_ended(producer.stop(), seconds=_STOP_SECONDS):
        await _end_tasks_of(producer)
    await _has_ended(producer.client.close(), seconds=_STOP_SECONDS)


async def _has_ended(ending: Coroutine[Any, Any, None], *, seconds: float) -> bool:
    """Wait up to `seconds` for a client to end. Returns whether it has.

    It has a task of its own: while a broker is away, it may end with the cancellation of another task of the client's,
    as if it were ours, and whoever awaited it would be gone without a word.
    """
    task = asyncio.create_task(ending)
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        is_done = task.done()
        task.cancel()
    if is_done and not task.cancelled():
        task.result()
        return True
    return False


async def _end_tasks_of(producer: Any) -> None:
    """End what a stop that was cut off leaves behind, which would ask for its broker for ever. It has no list of it."""
    parts = (producer._sender, producer._message_accumulator)  # noqa: SLF001 - it has no other way to be ended
    frames = {task: getattr(task.get_coro(), "cr_frame", None) for task in asyncio.all_tasks()}
    owners = {task: frame.f_locals.get("self") for task, frame in frames.items() if frame is not None}
    tasks = [task for task, owner in owners.items() if any(owner is part for part in parts)]
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=_STOP_SECONDS)


async def left(consumer: Any, *, seconds: float = _STOP_SECONDS) -> bool:
    """Stop a consumer, and return whether it could leave the group. Its connections are closed in any case."""
    if await _has_ended(consumer.stop(), seconds=seconds):
        return True
    # What its stop does last, and did not come to.
    await _has_ended(consumer._client.close(), seconds=_STOP_SECONDS)  # noqa: SLF001 - there is no other way
    return False

"""Side tasks that end only when told to. If one dies, the service must stop. Otherwise it would wait for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


def supervised(
    work: Coroutine[Any, Any, None], *, name: str, stop_because: Callable[[BaseException], None]
) -> asyncio.Task[None]:
    """Start a task. `stop_because` hears of its end, whatever its reason, unless it was cancelled.

    Something that it awaits may be cancelled without the task itself being cancelled. That is reported, too.
    """

    def ended(task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            stop_because(task.exception() or RuntimeError(f"{name} ended by itself"))
        elif not task.cancelling():
            stop_because(RuntimeError(f"{name} was cancelled by what it called"))

    task = asyncio.create_task(work, name=name)
    task.add_done_callback(ended)
    return task


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a side task and wait for its end. If it had failed, `stop_because` was told already."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

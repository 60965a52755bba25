"""Large answers are read beside the event loop.

A thread does not make Python faster, and one call of its JSON parser holds everybody up until it is done. But between
such calls the loop has its turn every few milliseconds, so timers, polls and probes go on while two megabytes are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_LARGE_BYTES = 64 * 1024
"""Less is read in a hundredth of a second, and in the loop itself."""
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-answer")
"""One for all: with more of them the loop would wait for several threads before each of its turns."""


async def in_worker_thread(size_bytes: int, work: Callable[[], T]) -> T:
    """Do some work, beside the loop where it is about so many bytes. What it raises is raised."""
    if size_bytes <= _LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_reader, work)

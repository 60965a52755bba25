"""Large answers are read beside the event loop.

A thread does not make Python faster, and one call of its JSON parser blocks everything until it is done. But between
such calls the loop has its turn every few milliseconds. So timers, polls and probes go on while two megabytes are read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_LARGE_BYTES = 64 * 1024
"""Less is read in the loop itself, in a hundredth of a second."""
_reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="large-answer")
"""One thread for all. With more, the loop would wait for several threads before each of its turns."""


async def in_worker_thread(size_bytes: int, work: Callable[[], T]) -> T:
    """Run `work`, in the thread if `size_bytes` is large. Its exceptions are raised."""
    if size_bytes <= _LARGE_BYTES:
        return work()
    return await asyncio.get_running_loop().run_in_executor(_reader, work)

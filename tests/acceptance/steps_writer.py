"""A process that puts steps into a file, many at once, and writes down each of them as soon as it was told it is kept.

`python -m tests.acceptance.steps_writer FILE ACKNOWLEDGED FIRST COUNT`
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_consumer.store.step_store import PaidStep
from tests.fakes.step_contracts import DAY, fingerprint, paid

MOST_BYTES = 1024 * 1024 * 1024
_SIDE_BY_SIDE = 64


def step_of(number: int) -> PaidStep:
    """Of some hundred bytes to some thousand."""
    return paid(f"answer {number} " + "x" * (number * 7919 % 4000))


async def write(path: Path, acknowledged: Path, numbers: range) -> None:
    """Put them, and again for each line of standard input. Until that ends, or this process is killed."""
    store = SqliteStore(path=path, max_bytes=MOST_BYTES, max_age_seconds=DAY)
    handle = os.open(acknowledged, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)

    async def put_some(waiting: Iterator[int]) -> None:
        for number in waiting:
            await store.put(fingerprint(number), step_of(number))
            os.write(handle, b"%d\n" % number)  # at once with the system, as what a kill leaves behind

    is_wanted = True
    while is_wanted:
        waiting = iter(numbers)
        await asyncio.gather(*(put_some(waiting) for _ in range(_SIDE_BY_SIDE)))
        sys.stdout.write("all put\n")
        sys.stdout.flush()
        is_wanted = bool(await asyncio.to_thread(sys.stdin.readline))
    await store.close()
    os.close(handle)


if __name__ == "__main__":
    file, log, first, count = sys.argv[1:]
    asyncio.run(write(Path(file), Path(log), range(int(first), int(first) + int(count))))

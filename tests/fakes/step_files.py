"""Files of steps, and a look into them."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TypeVar

from docsluice_consumer.store.sqlite_store import SqliteStore
from tests.fakes.step_contracts import DAY, PLENTY, fingerprint, paid

_Found = TypeVar("_Found")


@contextlib.contextmanager
def looked_into(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, as a person with SQLite's own shell has it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        yield connection


async def in_its_thread(store: SqliteStore, work: Callable[[sqlite3.Connection], _Found]) -> _Found:
    """Do something with the store's own connection."""
    connection = store._file._file._connection
    assert connection is not None
    return await store._thread.run(lambda: work(connection))


@contextlib.asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteStore]:
    """A store for the length of the block."""
    store = SqliteStore(path=path, max_bytes=PLENTY, max_age_seconds=DAY)
    try:
        yield store
    finally:
        await store.close()


async def fill(path: Path) -> None:
    """With some hundred entries, all of them in the file itself."""
    async with opened(path) as store:
        await asyncio.gather(*(store.put(fingerprint(n), paid(f"answer {n}")) for n in range(500)))

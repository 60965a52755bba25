"""Steps kept in one SQLite file by all processes of a machine."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from docsluice_consumer.store.batching import Asked, Batches, Served
from docsluice_consumer.store.deadline import ANSWER_SECONDS
from docsluice_consumer.store.disk_thread import DiskThread
from docsluice_consumer.store.step_store import PaidStep, StoreAway
from docsluice_consumer.store.step_table import StepTable


class SqliteStore:
    """A `StepStore` in the file at `path`, which is created when first used, with its folder.

    One thread does all work, because SQLite blocks. A batch is one hop to the thread, and its puts are one transaction.
    Under load both cost next to nothing for each step.

    A damaged file is set aside as `.damaged`, and the log says so once. What it held counts as unknown.
    """

    def __init__(
        self,
        *,
        path: Path,
        max_bytes: int,
        max_age_seconds: float,
        clock: Callable[[], float] = time.time,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._file = StepTable(path=path, max_bytes=max_bytes, max_age_seconds=max_age_seconds, clock=clock)
        self._thread = DiskThread(name="steps")
        self._batches = Batches(serve=self._serve, answer_seconds=answer_seconds)
        self._is_closed = False

    async def get(self, fingerprint: str) -> PaidStep | None:
        """See `StepStore`."""
        return await self._batches.get(fingerprint)

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """See `StepStore`. A step of more than `max_bytes` is not kept."""
        await self._batches.put(fingerprint, step)

    async def close(self) -> None:
        """Write what has been put, and close the file if the disk answers in time."""
        await self._batches.close()
        if self._is_closed:
            return
        self._is_closed = True
        with contextlib.suppress(StoreAway):
            await self._batches.within_deadline(lambda: self._thread.run(self._file.close))
        self._thread.end()

    def _serve(self, batch: Sequence[Asked]) -> asyncio.Future[Served]:
        return self._thread.run(partial(self._served, batch))

    def _served(self, batch: Sequence[Asked]) -> Served:
        """Serve a batch in the thread. Puts come first, so gets of the same batch find them."""
        put = self._put([(asked.fingerprint, asked.written) for asked in batch if asked.written is not None])
        got = self._got([asked.fingerprint for asked in batch if asked.written is None])
        is_away = put is not None or isinstance(got, StoreAway)
        return Served(
            answers=[
                put if asked.written is not None else got if isinstance(got, StoreAway) else got.get(asked.fingerprint)
                for asked in batch
            ],
            is_more=not is_away and self._trim(),
        )

    def _put(self, entries: Sequence[tuple[str, bytes]]) -> StoreAway | None:
        try:
            if entries:
                self._file.put(entries)
        except StoreAway as away:
            return away
        return None

    def _got(self, fingerprints: Sequence[str]) -> Mapping[str, bytes] | StoreAway:
        try:
            return self._file.get(fingerprints) if fingerprints else {}
        except StoreAway as away:
            return away

    def _trim(self) -> bool:
        try:
            return self._file.trim()
        except StoreAway:
            return False  # it is retried with the next batch, whose callers hear of it

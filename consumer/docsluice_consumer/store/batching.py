"""Batches what many tasks ask of a store in one moment: one call of the store serves all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from docsluice_consumer.store.deadline import ANSWER_SECONDS, Deadline
from docsluice_consumer.store.step_store import PaidStep, StoreAway
from docsluice_consumer.store.stored_values import MOST_STEP_BYTES, step_of

_MOST = 256
_MOST_BYTES = 1024 * 1024
"""The most that goes into one batch. A larger one would keep other users of the store waiting."""

Entry: TypeAlias = bytes | None
"""The answer to a get: the entry, or None. To a put: None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request: a put if `written` is set, else a get."""

    fingerprint: str
    written: bytes | None
    answer: asyncio.Future[Entry]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One answer for each request, and whether more work is left that nobody has to request."""

    answers: Sequence[Entry | StoreAway]
    is_more: bool = False


class Batches:
    """Gives `serve` one batch at a time: everything that was requested while it was busy with the last one.

    A put is served even if its caller is cancelled. A batch that is not served within `answer_seconds` fails. So do all
    requests until that batch has ended after all.
    """

    def __init__(
        self, *, serve: Callable[[Sequence[Asked]], asyncio.Future[Served]], answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._serve = serve
        self._deadline = Deadline(seconds=answer_seconds)
        self._waiting: list[Asked] = []
        self._job: asyncio.Future[Served] | None = None
        """Kept here, because a loop alone does not keep its tasks."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_closed = False

    async def get(self, fingerprint: str) -> PaidStep | None:
        """See `StepStore.get`."""
        written = await self.ask(fingerprint)
        return None if written is None else step_of(written)

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        """See `StepStore.put`. A step of more than `MOST_STEP_BYTES` is not kept."""
        written = step.written()
        if len(written) <= MOST_STEP_BYTES:
            await self.ask(fingerprint, written)

    def ask(self, fingerprint: str, written: bytes | None = None) -> asyncio.Future[Entry]:
        """Put `written`, or get the entry.

        Raises:
            StoreAway: from the future, as `serve` says. At once after closing.
        """
        if self._is_closed:
            raise StoreAway("it is closed")
        loop = asyncio.get_running_loop()
        asked = Asked(fingerprint=fingerprint, written=written, answer=loop.create_future())
        self._waiting.append(asked)
        if self._idle.is_set():
            self._idle.clear()
            loop.call_soon(self._send)  # requests of the same moment go with it
        return asked.answer

    def within_deadline(self, begin: Callable[[], asyncio.Future[None]]) -> asyncio.Future[None]:
        """Do other work with the store, under the same deadline.

        Raises:
            StoreAway: from the future. At once while a batch is overdue.
        """
        return self._deadline.of(begin)

    async def close(self) -> None:
        """Accept no more, and return when everything has been served, or is overdue."""
        self._is_closed = True
        await self._idle.wait()

    def _send(self) -> None:
        """Send the next batch.

        This is a callback and no task, because ending all tasks of a loop would cancel a task.
        """
        batch = self._taken()
        self._job = self._deadline.of(partial(self._serve, batch))
        self._job.add_done_callback(partial(self._sent, batch))

    def _taken(self) -> list[Asked]:
        count = size = 0
        for asked in self._waiting[:_MOST]:
            if size > _MOST_BYTES:
                break
            count, size = count + 1, size + len(asked.written or b"")
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return [asked for asked in taken if asked.written is not None or not asked.answer.done()]

    def _sent(self, batch: Sequence[Asked], job: asyncio.Future[Served]) -> None:
        is_more = False
        if job.cancelled():
            self._all_end(batch, StoreAway("it was interrupted"))
        elif error := job.exception():
            self._all_end(batch, error)
        else:
            is_more = job.result().is_more
            self._each_ends(batch, job.result().answers)
        if self._waiting or (is_more and not self._is_closed):
            self._send()
        else:
            self._idle.set()

    def _all_end(self, batch: Sequence[Asked], error: BaseException) -> None:
        for asked in batch:
            _tell(asked.answer, error)

    def _each_ends(self, batch: Sequence[Asked], answers: Sequence[Entry | StoreAway]) -> None:
        for asked, answer in zip(batch, answers, strict=True):
            _tell(asked.answer, answer)
        away = next((answer for answer in answers if isinstance(answer, StoreAway)), None)
        if away is None:
            return
        # A get would wait as long for nothing. A put may still find the store well again.
        for asked in self._waiting:
            if asked.written is None:
                _tell(asked.answer, away)
        self._waiting = [asked for asked in self._waiting if asked.written is not None]


def _tell(future: asyncio.Future[Entry], answer: Entry | BaseException) -> None:
    if future.done():  # nobody waits for it any more
        return
    if isinstance(answer, StoreAway):
        future.set_exception(type(answer)(str(answer)))  # one for each: a traceback grows each time it is raised
    elif isinstance(answer, BaseException):
        future.set_exception(answer)
    else:
        future.set_result(answer)

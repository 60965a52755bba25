"""A deadline for every call of a store. A store that does not answer in time counts as away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from docsluice_consumer.store.step_store import StoreAway

T = TypeVar("T")

ANSWER_SECONDS = 10.0
"""Longer than a store takes with a locked file and a slow disk."""


class Deadline:
    """Starts jobs, one at a time, and gives up those that take longer than `seconds`.

    Nothing can end a thread that waits for a disk, so such a job goes on. Until it has ended, other jobs fail at once.
    """

    def __init__(self, *, seconds: float = ANSWER_SECONDS) -> None:
        self._seconds = seconds
        self._overdue: asyncio.Future[Any] | None = None

    def of(self, begin: Callable[[], asyncio.Future[T]]) -> asyncio.Future[T]:
        """The end of a job.

        Raises:
            StoreAway: from the future, once it is overdue, or at once while an earlier one is.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        if self._overdue is not None and not self._overdue.done():
            answer.set_exception(self._no_answer())
            return answer
        job = begin()

        def give_up() -> None:
            self._overdue = job
            if not answer.done():
                answer.set_exception(self._no_answer())

        timer = loop.call_later(self._seconds, give_up)

        def ended(job: asyncio.Future[T]) -> None:
            timer.cancel()
            _pass_on(job, answer)

        job.add_done_callback(ended)
        return answer

    def _no_answer(self) -> StoreAway:
        return StoreAway(f"no answer within {self._seconds:g} seconds")


def _pass_on(job: asyncio.Future[T], answer: asyncio.Future[T]) -> None:
    """Pass a job's end on to a caller that still waits."""
    if job.cancelled():
        answer.cancel()
        return
    error = job.exception()
    if answer.done():
        return
    if error is None:
        answer.set_result(job.result())
    else:
        answer.set_exception(error)

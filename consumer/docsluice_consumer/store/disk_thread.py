"""A thread for work that waits for a disk. The process can end without it if the disk never answers."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[], Any]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class DiskThread:
    """Does one piece of work after the other.

    The end of a process waits for the threads of an executor, however long that takes. It does not wait for this one.
    """

    def __init__(self, *, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run `work` in the thread, which starts when first used.

        The work is done even if nobody waits for it any more.
        """
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=_work_on, args=(self._jobs,), name=self._name, daemon=True)
            self._thread.start()
        job = _Job(work=work, done=loop.create_future(), loop=loop)
        self._jobs.put(job)
        return job.done

    def end(self) -> None:
        """Let the thread end once it has done its work, without waiting."""
        self._thread = None
        self._jobs.put(None)
        self._jobs = queue.SimpleQueue()


def _work_on(jobs: queue.SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        try:
            result = job.work()
        except BaseException as error:  # noqa: BLE001 - the caller hears of it
            _tell(job, _fail, error)
        else:
            _tell(job, _succeed, result)


def _tell(job: _Job, tell: Callable[[asyncio.Future[Any], Any], None], value: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
        job.loop.call_soon_threadsafe(tell, job.done, value)


def _succeed(done: asyncio.Future[Any], result: Any) -> None:
    if not done.done():
        done.set_result(result)


def _fail(done: asyncio.Future[Any], error: BaseException) -> None:
    if not done.done():
        done.set_exception(error)

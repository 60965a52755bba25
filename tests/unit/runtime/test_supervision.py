"""Side tasks that end only when they are told to: nobody may find out late that one is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from docsluice_consumer.runtime.supervision import end, supervised


async def _until_cancelled() -> None:
    await asyncio.Event().wait()


async def _failing() -> None:
    raise OSError("gone")


async def _ending() -> None:
    pass


async def _cancelled_by_what_it_called() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("work", "kind", "words"),
    [
        (_failing, OSError, "gone"),
        (_ending, RuntimeError, "poll ended by itself"),
        (_cancelled_by_what_it_called, RuntimeError, "poll was cancelled by what it called"),
    ],
)
async def test_a_side_task_that_dies_is_told_of(
    work: Callable[[], Coroutine[Any, Any, None]], kind: type[Exception], words: str
) -> None:
    """However it died: a library may cancel a task of its own, and what awaits that one is cancelled, too."""
    told: list[BaseException] = []
    task = supervised(work(), name="poll", stop_because=told.append)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    (error,) = told
    assert isinstance(error, kind)
    assert words in str(error)


async def test_a_side_task_that_is_told_to_end_is_not_told_of() -> None:
    """Its owner knows."""
    told: list[BaseException] = []
    task = supervised(_until_cancelled(), name="poll", stop_because=told.append)
    await asyncio.sleep(0)
    await end(task)
    assert told == []


async def test_a_deadline_inside_a_side_task_is_no_end() -> None:
    """It cancels the task, and takes that back."""
    told: list[BaseException] = []

    async def impatient() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        raise asyncio.CancelledError

    task = supervised(impatient(), name="poll", stop_because=told.append)
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert len(told) == 1

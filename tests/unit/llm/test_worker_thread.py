"""What takes long does not stop the loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from docsluice_consumer.llm.worker_thread import in_worker_thread

LARGE = 2**20


async def test_an_ordinary_answer_is_read_at_once() -> None:
    """In the loop's own thread: to hand it over would take longer."""
    assert await in_worker_thread(1_000, threading.get_ident) == threading.get_ident()


async def test_the_loop_goes_on_while_a_large_one_is_read() -> None:
    """It is the loop here that lets the reading end."""
    turned = threading.Event()
    reading = asyncio.create_task(in_worker_thread(LARGE, lambda: turned.wait(timeout=30)))
    await asyncio.sleep(0)
    turned.set()
    assert await reading


async def test_one_large_answer_is_read_at_a_time() -> None:
    """With several threads the loop would wait for each of them before its turn."""
    readers = await asyncio.gather(*(in_worker_thread(LARGE, threading.get_ident) for _ in range(5)))
    assert len(set(readers)) == 1
    assert threading.get_ident() not in readers


@pytest.mark.parametrize("size", [10, LARGE])
async def test_what_it_raises_is_raised(size: int) -> None:
    """There is no other way to say that an answer is none."""

    def fail() -> None:
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"):
        await in_worker_thread(size, fail)

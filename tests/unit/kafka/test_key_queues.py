"""Queues: which record waits for which."""

from __future__ import annotations

import asyncio
import random

import pytest

from docsluice_consumer.kafka.key_queues import KeyQueues, Ordering, queue_key_of
from tests.fakes.timer import settled


@pytest.mark.parametrize(
    ("ordering", "key", "queue_key"),
    [
        ("unordered", b"k", None),
        ("key", b"k", b"k"),
        ("key", b"", b""),
        ("key", None, None),
        ("partition", b"k", b""),
        ("partition", None, b""),
    ],
)
def test_a_records_queue(ordering: Ordering, key: bytes | None, queue_key: bytes | None) -> None:
    """None is no queue at all: a record without a key has none to keep its order with."""
    assert queue_key_of(key, ordering) == queue_key


class Yard:
    """Records that go through queues, and a note of which are at work and which have ended."""

    def __init__(self) -> None:
        self.key_queues = KeyQueues()
        self.at_work: list[str] = []
        self.ended: list[str] = []
        self.may_end: dict[str, asyncio.Event] = {}

    def start(self, name: str, queue_key: bytes | None, *, ends: bool = True) -> asyncio.Task[bool]:
        self.may_end[name] = asyncio.Event()
        return asyncio.create_task(self._work(name, queue_key, ends=ends))

    async def _work(self, name: str, queue_key: bytes | None, *, ends: bool) -> bool:
        if not await self.key_queues.turn(queue_key):
            return False
        self.at_work.append(name)
        await self.may_end[name].wait()
        self.at_work.remove(name)
        self.ended.append(name)
        return ends


async def test_one_of_a_queue_at_a_time() -> None:
    """In the order of their reading. Other queues, and those without one, go on side by side."""
    yard = Yard()
    tasks = [
        yard.start("a1", b"a"),
        yard.start("a2", b"a"),
        yard.start("b1", b"b"),
        yard.start("x", None),
        yard.start("a3", b"a"),
        yard.start("y", None),
    ]
    await settled()
    assert yard.at_work == ["a1", "b1", "x", "y"]
    for name in ("a3", "a2", "b1", "x", "y"):
        yard.may_end[name].set()
    await settled()
    assert yard.ended == ["b1", "x", "y"]
    yard.may_end["a1"].set()
    assert await asyncio.gather(*tasks) == [True] * 6
    assert yard.ended[3:] == ["a1", "a2", "a3"]


@pytest.mark.parametrize("how", ["cancelled", "did not end", "failed"])
async def test_nobody_overtakes_a_record_that_has_not_ended(how: str) -> None:
    """Whatever kept it from ending, those behind it stay open, and the queue is empty afterwards."""
    yard = Yard()
    first = yard.start("1", b"a", ends=how != "did not end")
    behind = [yard.start("2", b"a"), yard.start("3", b"a")]
    yard.may_end["2"].set()
    yard.may_end["3"].set()
    await settled()
    if how == "cancelled":
        first.cancel()
    elif how == "failed":
        yard.at_work.clear()  # its removal from there fails
        yard.may_end["1"].set()
    else:
        yard.may_end["1"].set()
    assert await asyncio.gather(*behind) == [False, False]
    await asyncio.gather(first, return_exceptions=True)
    assert "2" not in yard.ended
    await settled()
    later = yard.start("4", b"a")
    yard.may_end["4"].set()
    assert await later


async def test_those_that_wait_can_be_let_go() -> None:
    """For a drain: what is at work goes on, and nothing was paid for what is behind it."""
    yard = Yard()
    first, *behind = [yard.start(name, b"a") for name in "123"]
    await settled()
    assert yard.key_queues.release_waiting() == 2
    await asyncio.gather(*behind, return_exceptions=True)
    assert [task.cancelled() for task in behind] == [True, True]
    yard.may_end["1"].set()
    assert await first
    assert yard.key_queues.release_waiting() == 0


async def test_queues_are_kept_only_while_someone_is_in_them() -> None:
    """A million keys pass through without leaving anything behind."""
    yard = Yard()
    chance = random.Random(3)
    tasks = [yard.start(str(number), b"%d" % chance.randrange(10)) for number in range(100)]
    for event in yard.may_end.values():
        event.set()
    assert all(await asyncio.gather(*tasks))
    await settled()
    assert yard.key_queues._last == {}
    assert yard.key_queues._waiting == set()

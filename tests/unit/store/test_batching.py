"""What is asked in one moment goes out in one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from docsluice_consumer.store.batching import Asked, Batches, Entry, Served
from docsluice_consumer.store.step_store import StoreAway
from tests.fakes.timer import settled


class Server:
    """Answers when it is told to: to a get, its own name. To a put, nothing."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self._job: asyncio.Future[Served] | None = None
        self._batch: Sequence[Asked] = ()

    def __call__(self, batch: Sequence[Asked]) -> asyncio.Future[Served]:
        assert self._job is None or self._job.done(), "one at a time"
        self.batches.append([asked.fingerprint for asked in batch])
        self._batch, self._job = batch, asyncio.get_running_loop().create_future()
        return self._job

    async def answers(self, *, is_more: bool = False) -> None:
        answers: list[Entry | StoreAway] = [
            None if asked.written is not None else asked.fingerprint.encode() for asked in self._batch
        ]
        await self.ends(Served(answers=answers, is_more=is_more))

    async def ends(self, served: Served | Exception) -> None:
        assert self._job is not None
        if isinstance(served, Served):
            self._job.set_result(served)
        else:
            self._job.set_exception(served)
        await settled()

    async def is_cancelled(self) -> None:
        assert self._job is not None
        self._job.cancel()
        await settled()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def batches(server: Server) -> Batches:
    return Batches(serve=server)


async def test_what_comes_together_goes_together(server: Server, batches: Batches) -> None:
    """And what comes while that is under way goes with the next one. Each has its own answer, in order."""
    first = [batches.ask(name) for name in "abc"]
    await settled()
    then = [batches.ask("d"), batches.ask("e", b"written"), batches.ask("f")]
    await settled()
    assert server.batches == [["a", "b", "c"]]
    await server.answers()
    assert [future.result() for future in first] == [b"a", b"b", b"c"]
    assert server.batches == [["a", "b", "c"], ["d", "e", "f"]]
    await server.answers()
    assert [future.result() for future in then] == [b"d", None, b"f"]


async def test_a_batch_is_bounded(server: Server, batches: Batches) -> None:
    """In number and in bytes. One alone may be as large as it likes."""
    for n in range(300):
        batches.ask(str(n))
    for n in range(5):
        batches.ask(f"large {n}", b"x" * 600_000)
    await settled()
    for _ in range(4):
        await server.answers()
    assert [len(batch) for batch in server.batches] == [256, 46, 2, 1]
    batches.ask("very large", b"x" * 5_000_000)
    batches.ask("small", b"x")
    await settled()
    await server.answers()
    assert server.batches[4:] == [["very large"], ["small"]]
    await server.answers()


async def test_a_put_goes_on_without_the_one_who_waits(server: Server, batches: Batches) -> None:
    """A get does not: its answer would be nobody's."""
    for future in [batches.ask("put", b"written"), batches.ask("get")]:
        future.cancel()
    staying = batches.ask("other")
    await settled()
    assert server.batches == [["put", "other"]]
    await server.answers()
    assert staying.result() == b"other"


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped(server: Server, batches: Batches) -> None:
    """Whether it is one or a failure."""
    leaving, staying = batches.ask("a"), batches.ask("b")
    await settled()
    leaving.cancel()
    await server.ends(Served(answers=[StoreAway("gone"), b"b"]))
    assert staying.result() == b"b"


async def test_who_waits_behind_a_failure_hears_of_it(server: Server, batches: Batches) -> None:
    """Those behind it would wait as long for nothing. What they put is tried all the same."""
    first = batches.ask("a")
    await settled()
    behind, put = batches.ask("b"), batches.ask("c", b"written")
    await server.ends(Served(answers=[StoreAway("the disk is full")]))
    for future in (first, behind):
        with pytest.raises(StoreAway, match=r"^the disk is full$"):
            await future
    assert first.exception() is not behind.exception()
    assert server.batches == [["a"], ["c"]]
    await server.answers()
    assert await put is None


@pytest.mark.parametrize("error", [ValueError("a bug"), StoreAway("away")])
async def test_an_error_is_everybodys_of_its_batch(server: Server, batches: Batches, error: Exception) -> None:
    """And of no other batch."""
    first = [batches.ask("a"), batches.ask("b", b"written")]
    await settled()
    then = batches.ask("c")
    await server.ends(error)
    for future in first:
        with pytest.raises(type(error), match=str(error)):
            await future
    await server.answers()
    assert await then == b"c"


async def test_a_batch_that_is_cancelled_leaves_nobody_waiting(server: Server, batches: Batches) -> None:
    """As all tasks are when a loop is ended in the middle."""
    asked = batches.ask("a")
    await settled()
    await server.is_cancelled()
    with pytest.raises(StoreAway, match="interrupted"):
        await asked
    await batches.close()


async def test_what_is_more_to_do_is_done_without_being_asked_for(server: Server, batches: Batches) -> None:
    """Batch by batch, with what has been asked meanwhile."""
    batches.ask("a")
    await settled()
    await server.answers(is_more=True)
    assert server.batches == [["a"], []]
    batches.ask("b")
    await server.answers(is_more=True)
    assert server.batches == [["a"], [], ["b"]]
    await server.answers()
    assert len(server.batches) == 3


async def test_closing_waits_for_what_was_asked(server: Server, batches: Batches) -> None:
    """For no more than that, and nothing is taken any more."""
    asked = [batches.ask("a", b"written")]
    await settled()
    asked.append(batches.ask("b"))
    closing = asyncio.create_task(batches.close())
    await settled()
    with pytest.raises(StoreAway, match="closed"):
        batches.ask("c")
    await server.answers(is_more=True)
    assert not closing.done()
    await server.answers(is_more=True)
    assert closing.done()
    assert [future.result() for future in asked] == [None, b"b"]
    assert server.batches == [["a"], ["b"]]


async def test_a_batch_that_is_not_served_in_time_is_given_up(server: Server) -> None:
    """With all that waits behind it. Nothing more is sent until it has ended, and then all is as before."""
    batches = Batches(serve=server, answer_seconds=0.05)
    first = batches.ask("a"), batches.ask("b", b"written")
    await settled()
    second = batches.ask("c"), batches.ask("d", b"written")
    ends = await asyncio.gather(*first, *second, return_exceptions=True)
    assert [(type(end), str(end)) for end in ends] == [(StoreAway, "no answer within 0.05 seconds")] * 4
    third = await asyncio.gather(batches.ask("e"), return_exceptions=True)
    assert [str(end) for end in third] == ["no answer within 0.05 seconds"]
    assert server.batches == [["a", "b"]]
    async with asyncio.timeout(20):
        await batches.close()
    await server.answers()


async def test_a_batch_that_is_served_late_is_no_trouble_for_the_next(server: Server) -> None:
    """Its answers are nobody's any more."""
    batches = Batches(serve=server, answer_seconds=0.05)
    with pytest.raises(StoreAway):
        await batches.ask("a")
    await server.answers()
    asked = batches.ask("b")
    await settled()
    await server.answers()
    assert await asked == b"b"

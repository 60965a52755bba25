"""Held documents in a drain, and when their partition is lost."""

from __future__ import annotations

import asyncio

from tests.fakes.held import docs, keys_of, let_go, refusing_bad, started
from tests.fakes.line import Line
from tests.fakes.samples import document, record
from tests.fakes.timer import settled


async def test_a_drain_lets_go_of_what_is_held() -> None:
    """At once: nothing that it could wait for would let it out. The next owner reads all of them again."""
    line = Line(refusing_bad, max_dead_letters=1, mode="fused")
    held = await started(line, docs(3, "bad"))
    waiting = await started(line, docs(4))
    assert line.dead_letter_hold.release_waiting() == 7
    await asyncio.gather(*held, *waiting, return_exceptions=True)
    assert all(task.cancelled() for task in (*held, *waiting))
    assert line.sink.published == []
    assert line.counted("documents_in_flight") == {}


async def test_what_would_be_held_in_a_drain_is_let_go() -> None:
    """Of those in the middle a result is still published, and a failure waits for nobody."""
    line = Line(refusing_bad, max_dead_letters=1, mode="fused")
    line.client.hold()
    good, bad = await started(line, [document("good", document_id="good"), document("bad", document_id="bad")])
    assert line.dead_letter_hold.release_waiting() == 0
    line.client.release()
    await asyncio.gather(good, bad, return_exceptions=True)
    assert (good.cancelled(), bad.cancelled()) == (False, True)
    assert keys_of(line.sink.published) == [b"good"]
    late = await started(line, [document("late")])
    assert late[0].cancelled()


async def test_a_partition_that_is_lost_takes_its_held_documents_along() -> None:
    """A task that is cancelled ends, wherever it waits. The others stay as they are."""
    line = Line(refusing_bad, max_dead_letters=2, mode="fused")
    _, *held = await started(line, docs(3, "bad"))
    waiting = await started(line, docs(2))
    await let_go([held[0], waiting[0]])
    assert [task.cancelled() for task in (*held, *waiting)] == [True, False, True, False]
    line.dead_letter_hold.resume()
    await asyncio.gather(held[1], waiting[1])
    assert len(line.sink.published) == 3


async def test_a_partition_that_is_lost_in_that_very_moment_is_lost() -> None:
    """Sent back and cancelled in one turn, a document is cancelled: it is someone else's now."""
    line = Line(max_dead_letters=1, max_concurrency=1, mode="fused")
    line.client.hold()
    tasks = await started(line, docs(3))
    stopping = asyncio.create_task(line.pipeline.process(record(b"not JSON")))
    await asyncio.sleep(0)
    assert line.dead_letter_hold.pause_reason()
    tasks[1].cancel()
    await settled(30)
    assert [task.done() for task in tasks] == [False, True, False]
    assert tasks[1].cancelled()
    await let_go([*tasks, stopping])

"""What the pipeline does once the dead-letter limit is reached."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import structlog

from docsluice.messages import DocumentResult, OutputValue
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import ProviderUnavailable
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from docsluice_consumer.store.memory_store import MemoryStore
from tests.fakes.chat import by_step, in_turn
from tests.fakes.held import REFUSED, docs, keys_of, let_go, refusing_bad, started
from tests.fakes.line import Line
from tests.fakes.pipelines import DEAD_LETTERS, RESULTS
from tests.fakes.samples import document, record
from tests.fakes.sink import FakeSink
from tests.fakes.timer import settled


async def test_the_one_that_reaches_the_limit_is_held_with_all_after_it() -> None:
    """Their records stay open. What was decided before is published."""
    line = Line(refusing_bad, max_dead_letters=3, mode="fused")
    for one in docs(2, "bad"):
        await line.process(one)
    tasks = await started(line, docs(5, "bad"))
    assert len(line.sink.to(DEAD_LETTERS)) == 2
    assert not any(task.done() for task in tasks)
    assert line.counted("documents_total") == {("dead_letter",): 2}
    assert line.dead_letter_hold.pause_reason() == "dead_letter_limit"
    await let_go(tasks)


async def test_documents_not_yet_begun_cost_nothing() -> None:
    """Neither those that come later, nor those that wait for their first call. Only calls under way are finished."""
    line = Line(refusing_bad, max_dead_letters=1, max_concurrency=2, mode="fused")
    line.client.hold()
    tasks = await started(line, docs(8, "bad"))
    line.client.release()  # two end, and what they free is taken by nobody
    await settled(30)
    tasks += await started(line, docs(8))
    assert len(line.client.requests) == 2
    assert line.sink.published == []
    await let_go(tasks)


async def test_bytes_that_are_no_event_are_held_too() -> None:
    """A producer that has changed its format, all at once: the first few are published, and no more."""
    line = Line(max_dead_letters=4)
    tasks = await started(line, [record(b"not JSON", offset=n) for n in range(50)])
    assert len(line.sink.to(DEAD_LETTERS)) == 3
    assert sum(task.done() for task in tasks) == 3
    await let_go(tasks)


class _SlowToRefuse(FakeSink):
    """Takes no result, and says so of one after the other, as a broker does. Dead letters go at once."""

    def __init__(self) -> None:
        super().__init__(max_bytes={RESULTS: 1})
        self._turn = asyncio.Lock()

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:
        if outgoing.topic == RESULTS:
            async with self._turn:
                await settled(3)
        await super().publish(outgoing, ending=ending)


@pytest.mark.parametrize("open_at_once", [1, 7])
@pytest.mark.parametrize("sink", [lambda: FakeSink(max_bytes={RESULTS: 1}), _SlowToRefuse])
async def test_results_that_the_topic_does_not_take_are_a_row(sink: Callable[[], FakeSink], open_at_once: int) -> None:
    """Each was counted as a result before, whatever others were decided meanwhile: the limit is the same."""
    line = Line(sink=sink(), max_dead_letters=5, max_concurrency=20, mode="fused")
    room = asyncio.Semaphore(open_at_once)

    async def when_there_is_room(one: Record) -> None:
        async with room:
            await asyncio.create_task(line.pipeline.process(one))

    tasks = [asyncio.create_task(when_there_is_room(one)) for one in docs(40)]
    await settled(1_000)
    assert len(line.sink.to(DEAD_LETTERS)) == 4
    assert "5 dead letters in a row" in (line.dead_letter_hold.why_not_ready() or "")
    await let_go(tasks)


async def test_what_is_in_the_middle_is_finished() -> None:
    """A result is published, for it is paid for. A failure is held like all others."""
    line = Line(refusing_bad, max_dead_letters=1, mode="fused")
    line.client.hold()
    good, bad = await started(line, [document("good", document_id="good"), document("bad", document_id="bad")])
    (stopped,) = await started(line, [record(b"not JSON")])
    line.client.release()
    await settled(30)
    assert (good.done(), bad.done(), stopped.done()) == (True, False, False)
    assert keys_of(line.sink.published) == [b"good"]
    await let_go([bad, stopped])


async def test_a_document_with_one_step_done_goes_on() -> None:
    """Its other step still waits for admission. Begun again, the first would be paid for twice."""
    line = Line(max_dead_letters=1, max_concurrency=1)
    line.client.hold()
    begun = await started(line, [document()])
    stopped = await started(line, [record(b"not JSON")])
    line.client.release()
    await settled(30)
    assert begun[0].done()
    assert len(line.client.requests) == 2
    assert len(line.sink.to(RESULTS)) == 1
    await let_go(stopped)


async def test_let_go_on_everything_ends_once() -> None:
    """What is held is published, what waited is begun, and each has one outcome."""
    line = Line(refusing_bad, max_dead_letters=2, max_concurrency=2, mode="fused")
    bad = [document(f"bad {n}", document_id=f"bad{n}") for n in range(3)]
    tasks = await started(line, bad)
    tasks += await started(line, docs(6))
    assert len(line.sink.published) == 1
    line.dead_letter_hold.resume()
    await asyncio.gather(*tasks)
    assert keys_of(line.sink.to(RESULTS)) == [b"d%d" % n for n in range(6)]
    assert keys_of(line.sink.to(DEAD_LETTERS)) == [b"bad0", b"bad1", b"bad2"]
    assert len(line.client.requests) == 9
    assert line.dead_letter_hold.pause_reason() is None
    assert line.dead_letter_hold.why_not_ready() is None


async def test_sent_back_at_the_first_call_each_ends_once() -> None:
    """A document that waited for admission when the limit was reached waits outside instead, and loses nothing."""
    line = Line(refusing_bad, max_dead_letters=2, max_concurrency=1)
    line.client.hold()
    tasks = await started(line, [document("bad", document_id="bad"), *docs(5)])
    stopped = await started(line, [record(b"not JSON", key=key) for key in (b"x", b"y")])
    line.client.release()
    await settled(60)
    assert keys_of(line.sink.published) == [b"x"]
    line.dead_letter_hold.resume()
    await asyncio.gather(*tasks, *stopped)
    assert keys_of(line.sink.to(RESULTS)) == [b"d%d" % n for n in range(5)]
    assert keys_of(line.sink.to(DEAD_LETTERS)) == [b"bad", b"x", b"y"]
    assert len(line.client.requests) == 12
    assert line.counted("documents_in_flight") == {}


async def test_what_failed_before_is_remembered() -> None:
    """A document whose only call has failed waits at the door. Its attempts count when it goes on."""
    line = Line(in_turn(ProviderUnavailable("500")), max_dead_letters=1, max_concurrency=1, mode="fused")
    line.client.hold()
    tasks = await started(line, docs(2))
    line.client.release()
    line.client.hold()  # the first call fails, and the other document's takes its place
    await settled(30)
    assert len(line.client.requests) == 2
    tasks += await started(line, [record(b"not JSON")])
    line.client.release()
    await settled(30)
    assert len(line.client.requests) == 2
    assert keys_of(line.sink.published) == [b"d1"]
    line.dead_letter_hold.resume()
    await asyncio.gather(*tasks)
    (outgoing,) = [one for one in line.sink.to(RESULTS) if one.key == b"d0"]
    assert b'"attempts":2,' in (outgoing.value or b"")


async def test_what_was_saved_is_counted_once() -> None:
    """A document with one step in the store that is sent back before its first call finds it there again."""
    store = MemoryStore(max_bytes=10**6, max_age_seconds=10**6)
    line = Line(by_step({"category": [REFUSED]}), max_dead_letters=3, max_concurrency=1, store=store)
    await line.process(document())
    line.client.hold()
    tasks = await started(line, [*docs(1), document()])  # the first one has the only place
    tasks += await started(line, [record(b"not JSON", key=key) for key in (b"x", b"y")])
    line.client.release()
    await settled(30)
    line.dead_letter_hold.resume()
    await asyncio.gather(*tasks)
    found = [DocumentResult.model_validate_json(one.value or b"") for one in line.sink.to(RESULTS)]
    (again,) = [one for one in found if one.saved_usd]
    assert (again.attempts, again.saved_usd) == (1, again.cost_usd)


async def test_a_whole_queue_that_is_held_is_not_let_go_at_once() -> None:
    """What was in the middle counts when it is released: after a resume come as many dead letters more, and no more."""
    line = Line(refusing_bad, max_dead_letters=3, max_concurrency=20, mode="fused")
    tasks = await started(line, docs(12, "bad"))
    seen = []
    while line.dead_letter_hold.pause_reason():
        seen.append(len(line.sink.to(DEAD_LETTERS)))
        line.dead_letter_hold.resume()
        await settled(30)
    assert seen == [2, 5, 8, 11]
    await asyncio.gather(*tasks)
    assert len(line.client.requests) == len(line.sink.published) == 12


async def test_even_a_limit_of_one_lets_one_go() -> None:
    """Each time that somebody says so."""
    line = Line(refusing_bad, max_dead_letters=1, mode="fused")
    tasks = await started(line, docs(3, "bad"))
    for count in range(1, 4):
        line.dead_letter_hold.resume()
        await settled(30)
        assert len(line.sink.to(DEAD_LETTERS)) == count
    await asyncio.gather(*tasks)


async def test_after_that_as_many_pass_again() -> None:
    """The counts start afresh, and under a pipeline that is still broken it is stopped at the same number."""
    line = Line(max_dead_letters=10)
    tasks = await started(line, [record(b"not JSON", offset=n) for n in range(100)])
    seen = []
    for _ in range(3):
        seen.append(len(line.sink.to(DEAD_LETTERS)))
        line.dead_letter_hold.resume()
        await settled(30)
    assert seen == [9, 9 + 1 + 9, 9 + 2 * (1 + 9)], "each time the one that had reached it, and then nine"
    await let_go(tasks)


async def test_results_that_the_topic_never_takes_are_seen() -> None:
    """Each is counted as a result first, and as a dead letter then. It is the dead letter that stays."""
    line = Line(sink=FakeSink(max_bytes={RESULTS: 100}), max_ratio=0.6, mode="fused")
    tasks = []
    for one in docs(150):
        tasks += await started(line, [one])
    assert len(line.sink.to(DEAD_LETTERS)) == 99
    await let_go(tasks)


class _SlowResults(FakeSink):
    """A broker that acknowledges results later, as a transaction does. Dead letters at once."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:
        if outgoing.topic == RESULTS:
            await self.may_end.wait()
        await super().publish(outgoing, ending=ending)


async def test_a_result_counts_before_the_broker_has_it() -> None:
    """Or in a healthy stream the dead letters, which are counted at once, would look like a row."""
    sink = _SlowResults()
    line = Line(refusing_bad, sink=sink, max_dead_letters=2, mode="fused")
    tasks = []
    for n in range(10):
        tasks += await started(line, [document("good" if n % 2 else "bad", document_id=f"d{n}")])
    assert line.dead_letter_hold.pause_reason() is None
    sink.may_end.set()
    await asyncio.gather(*tasks)
    assert len(sink.published) == 10


async def test_what_waits_for_the_broker_is_not_begun_again() -> None:
    """Also where it took no call: it would be published twice."""

    class Knowing(Analyzer):
        async def analyze(
            self, text: str, document_usage: DocumentUsage, *, steps: object = None, priority: object = None
        ) -> dict[str, OutputValue]:
            return {"summary": "known already"}

    sink = _SlowResults()
    line = Line(sink=sink, max_dead_letters=1)
    line.pipeline._analyzer.__class__ = Knowing
    (result,) = await started(line, [document()])
    stopped = await started(line, [record(b"not JSON")])
    assert not result.done()
    sink.may_end.set()
    await settled(30)
    assert result.done()
    assert len(sink.published) == 1
    await let_go(stopped)


async def test_it_is_said_once_with_what_to_do() -> None:
    """Which limit, the commonest causes, and the remedy: in the log and in the answer to a readiness probe."""
    line = Line(refusing_bad, max_dead_letters=3, mode="fused")
    with structlog.testing.capture_logs() as logs:
        tasks = await started(line, [record(b"not JSON"), *docs(5, "bad")])
    (said,) = [entry for entry in logs if entry["event"] == "dead_letter_limit.reached"]
    assert said["log_level"] == "critical"
    assert said["problem"] == "3 dead letters in a row (DOCSLUICE_DEAD_LETTER_MAX_CONSECUTIVE)"
    assert said["commonest"] == {"refused/fused": 2, "undecodable": 1}
    ready = line.dead_letter_hold.why_not_ready() or ""
    for words in (said["problem"], "2 refused/fused, 1 undecodable", said["remedy"], "SIGUSR1", "restart"):
        assert words in ready
    await let_go(tasks)


@pytest.mark.parametrize(("documents", "held"), [(2, 0), (4, 2)])
async def test_a_signal_is_logged(documents: int, held: int) -> None:
    """With how many it has released. One that comes when nothing is held changes nothing."""
    line = Line(refusing_bad, max_dead_letters=3, mode="fused")
    tasks = await started(line, docs(documents, "bad"))
    with structlog.testing.capture_logs() as logs:
        line.dead_letter_hold.resume()
        line.dead_letter_hold.resume()
    lifted = [entry["dead_letters"] for entry in logs if entry["event"] == "dead_letter_limit.lifted"]
    assert lifted == ([held] if held else [])
    assert [entry["log_level"] for entry in logs if entry["event"] == "dead_letter_limit.not_reached"] == ["info"] * (
        1 if held else 2
    )
    await asyncio.gather(*tasks)
    assert len(line.sink.published) == documents

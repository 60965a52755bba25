"""Answers that come hours later, from a source that collects requests: nothing else need change for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest

from docsluice.messages import DeadLetterReason
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.rejections import rejected
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.store.memory_store import MemoryStore
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.chat import USAGE, Replies, right, say
from tests.fakes.samples import steps
from tests.fakes.timer import settled


class Batch:
    """An `AnswerSource` that hands in what has come, all at once, when `flush` is called."""

    def __init__(self, reply: Replies = right) -> None:
        self.handed_in: list[ChatRequest] = []
        self._reply = reply
        self._waiting: list[tuple[ChatRequest, asyncio.Future[Answer]]] = []

    @contextlib.asynccontextmanager
    async def answer(self, request: ChatRequest, document_usage: DocumentUsage) -> AsyncIterator[Answer]:
        arrived: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, arrived))
        answer = await arrived
        document_usage.count_call(usage=USAGE, cost_usd=Decimal("0.5"))
        yield answer

    def expected_cost_usd(self, request: ChatRequest) -> Decimal:
        return Decimal("0.5") if request.step else Decimal(0)

    def room_bytes(self, request: ChatRequest) -> int | None:
        return None if request.step else 0

    def likely_fits(self, request: ChatRequest) -> bool:
        return bool(request.step)

    def flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for request, arrived in waiting:
            self.handed_in.append(request)
            reply = self._reply(request)
            if isinstance(reply, Exception):
                arrived.set_exception(reply)
            else:
                arrived.set_result(reply)


def analyzer(batch: Batch) -> Analyzer:
    metrics = Metrics()
    return Analyzer(
        steps=steps(),
        answers=batch,
        answer_recovery=AnswerRecovery(answers=batch, metrics=metrics),
        answer_cache=AnswerCache(store=MemoryStore(max_bytes=1_000_000, max_age_seconds=3600), metrics=metrics),
    )


async def test_documents_end_when_their_answers_come() -> None:
    """Two calls a document, all handed in together, and each document has its own cost."""
    batch = Batch()
    its, usages = analyzer(batch), [DocumentUsage() for _ in range(3)]
    tasks = [asyncio.create_task(its.analyze(f"text {number}", usage)) for number, usage in enumerate(usages)]
    await settled()
    assert not any(task.done() for task in tasks)
    batch.flush()
    assert len(await asyncio.gather(*tasks)) == 3
    assert len(batch.handed_in) == 6
    assert [usage.cost_usd for usage in usages] == [Decimal(1)] * 3


async def test_an_invalid_answer_is_repaired_in_the_next_batch() -> None:
    """A repair is a request like any other."""
    replies = iter([say("nonsense")])
    batch = Batch(lambda request: next(replies, right(request)))
    task = asyncio.create_task(analyzer(batch).analyze("text", DocumentUsage()))
    await settled()
    batch.flush()
    await settled()
    assert not task.done()
    batch.flush()
    assert set(await task) == {"summary", "category"}
    assert len(batch.handed_in) == 3


async def test_a_document_whose_request_is_rejected_ends() -> None:
    """The other documents of the batch do not."""

    def reply(request: ChatRequest) -> Answer | Exception:
        is_bad = "bad" in str(request.messages)
        return rejected(DeadLetterReason.REJECTED, "no", request) if is_bad else right(request)

    batch = Batch(reply)
    its = analyzer(batch)
    bad, good = (asyncio.create_task(its.analyze(text, DocumentUsage())) for text in ("bad", "good"))
    await settled()
    batch.flush()
    assert set(await good) == {"summary", "category"}
    with pytest.raises(Exception, match="no"):
        await bad

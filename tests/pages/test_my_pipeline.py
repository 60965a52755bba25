"""docs/how-to/test-your-pipeline.md."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

import docsluice
from docsluice.testing import DeadLettered, MemoryTopics, PipelineUnderTest, RunningService, recorded

HERE = Path(__file__).parent


async def test_an_invoice_is_billing(docsluice_pipeline: type[PipelineUnderTest]) -> None:
    pipeline = docsluice_pipeline(HERE / "pipeline.yaml", answers={"category": "billing"})
    result = await pipeline.process(document_id="mail-1", text="Where is my invoice?")
    assert result.outputs["category"] == "billing"


async def test_answers_may_depend_on_the_text(docsluice_pipeline: type[PipelineUnderTest]) -> None:
    answers = {"category": lambda text: "billing" if "invoice" in text else "other"}
    pipeline = docsluice_pipeline(HERE / "pipeline.yaml", answers=answers)
    result = await pipeline.process(document_id="mail-2", text="Hello.")
    assert result.outputs["category"] == "other"


async def test_an_unknown_label_is_a_dead_letter(docsluice_pipeline: type[PipelineUnderTest]) -> None:
    pipeline = docsluice_pipeline(HERE / "pipeline.yaml", answers={"category": "sports"})
    with pytest.raises(DeadLettered, match="invalid_answer"):
        await pipeline.process(document_id="mail-3", text="Who has won?")


async def test_recorded_answers(docsluice_pipeline: type[PipelineUnderTest]) -> None:
    pipeline = docsluice_pipeline(HERE / "pipeline.yaml", answers=recorded(HERE / "recorded.jsonl"))
    result = await pipeline.process(document_id="mail-1", text="Where is my invoice?")
    assert result.outputs["summary"] == "A customer misses an invoice."


async def store(topics: MemoryTopics) -> list[str]:
    """The program under test: it takes `topics` from its caller, and none in production."""
    return [one.document_id async for one in docsluice.results(topics=topics, from_="earliest", idle_seconds=0)]


async def test_a_program_of_mine(docsluice_topics: MemoryTopics) -> None:
    async with docsluice.DocumentProducer(topics=docsluice_topics) as producer:
        await producer.send(document_id="mail-1", text="Where is my invoice?")
    assert [record.key for record in docsluice_topics.records("documents")] == [b"mail-1"]
    assert await store(docsluice_topics) == []


async def test_the_whole_service(
    docsluice_service: Callable[..., AbstractAsyncContextManager[RunningService]],
) -> None:
    async with docsluice_service(HERE / "pipeline.yaml", answers={"category": "billing"}) as service:
        async with service.producer() as producer:
            await producer.send(document_id="mail-1", text="Where is my invoice?")
        async for result in service.results():
            assert result.outputs["category"] == "billing"
            break

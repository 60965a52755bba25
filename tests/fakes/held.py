"""Documents of which some are refused, on a line with a dead-letter limit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from docsluice_consumer.kafka.records import OutgoingRecord, Record
from docsluice_consumer.llm.chat import ChatRequest
from tests.fakes.chat import Reply, right, say
from tests.fakes.line import Line
from tests.fakes.samples import document
from tests.fakes.timer import settled

REFUSED = say("", refusal="no")


def docs(count: int, text: str = "A text.") -> list[Record]:
    return [document(f"{text} {n}", document_id=f"d{n}", offset=n) for n in range(count)]


def refusing_bad(request: ChatRequest) -> Reply:
    """Refuses documents that are `bad`, and answers the others."""
    return REFUSED if "bad" in request.messages[-1].content else right(request)


async def started(line: Line, records: Iterable[Record]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(line.pipeline.process(one)) for one in records]
    await settled(30)
    return tasks


async def let_go(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def keys_of(outgoing: list[OutgoingRecord]) -> list[bytes | None]:
    return sorted((one.key for one in outgoing), key=str)

"""FastStream with as many workers as calls may be in flight. It commits as it reads, and loses what is in hand."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from faststream import FastStream
from faststream.kafka import KafkaBroker
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.bench.peers.task import BASE_URL, DOCUMENTS, IN_FLIGHT, MODEL, RESPONSE_FORMAT, RESULTS, SERVERS, messages


class Event(BaseModel):
    """A document."""

    document_id: str
    text: str


class Result(BaseModel):
    """What was made of it."""

    document_id: str
    outputs: dict[str, Any]
    usage: dict[str, Any]


broker = KafkaBroker(SERVERS, logger=None)
client = AsyncOpenAI(base_url=BASE_URL, api_key="none")


@broker.subscriber(  # type: ignore[untyped-decorator]
    DOCUMENTS, group_id="peer", auto_offset_reset="earliest", max_workers=IN_FLIGHT
)
@broker.publisher(RESULTS)  # type: ignore[untyped-decorator]
async def handle(event: Event) -> Result:
    """One document."""
    answer: Any = await client.chat.completions.create(
        model=MODEL,
        messages=messages(event.text),  # type: ignore[arg-type]
        response_format=RESPONSE_FORMAT,
    )
    outputs = json.loads(answer.choices[0].message.content)
    return Result(document_id=event.document_id, outputs=outputs, usage=answer.usage.model_dump())


if __name__ == "__main__":
    asyncio.run(FastStream(broker, logger=None).run())

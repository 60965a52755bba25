"""FastStream, in the two ways in which it works on several records at once.

`ack_first` has as many workers as calls may be in flight. It commits as it reads, and loses what is in hand.
`safe` commits a record when it is done. FastStream then works on one record of each partition at a time.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from openai import AsyncOpenAI
from pydantic import BaseModel

from tests.bench.peers.task import BASE_URL, DOCUMENTS, IN_FLIGHT, PARTITIONS, RESULTS, SERVERS, requests, result_of


class Event(BaseModel):
    """A document."""

    document_id: str
    text: str


class Result(BaseModel):
    """What was made of it."""

    document_id: str
    outputs: dict[str, Any]
    usage: list[Any]


_CALLS = len(requests(""))
_POLICY = {
    "ack_first": {"ack_policy": AckPolicy.ACK_FIRST, "max_workers": max(1, IN_FLIGHT // _CALLS)},
    "safe": {"ack_policy": AckPolicy.ACK, "max_workers": min(IN_FLIGHT, PARTITIONS)},
}[sys.argv[1]]
broker = KafkaBroker(SERVERS, logger=None)
client = AsyncOpenAI(base_url=BASE_URL, api_key="none")


@broker.subscriber(DOCUMENTS, group_id="peer", auto_offset_reset="earliest", **_POLICY)  # type: ignore[untyped-decorator]
@broker.publisher(RESULTS)  # type: ignore[untyped-decorator]
async def handle(event: Event) -> Result:
    """One document."""
    answers: list[Any] = await asyncio.gather(
        *[client.chat.completions.create(**request) for request in requests(event.text)]
    )
    contents = [answer.choices[0].message.content for answer in answers]
    return Result(**result_of(event.document_id, contents, [answer.usage.model_dump() for answer in answers]))


if __name__ == "__main__":
    asyncio.run(FastStream(broker, logger=None).run())

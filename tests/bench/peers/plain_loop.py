"""aiokafka and the SDK: poll, gather, commit. It repeats what was in hand when it dies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from openai import AsyncOpenAI

from tests.bench.peers.task import BASE_URL, DOCUMENTS, IN_FLIGHT, RESULTS, SERVERS, requests, result_of


async def main() -> None:
    """Work until it is killed."""
    client = AsyncOpenAI(base_url=BASE_URL, api_key="none")
    consumer = AIOKafkaConsumer(
        DOCUMENTS, bootstrap_servers=SERVERS, group_id="peer", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS)
    await consumer.start()
    await producer.start()
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def ask(request: dict[str, Any]) -> Any:
        async with slots:
            return await client.chat.completions.create(**request)

    async def process(record: Any) -> None:
        event = json.loads(record.value)
        answers = await asyncio.gather(*map(ask, requests(event["text"])))
        result = result_of(
            event["document_id"],
            [answer.choices[0].message.content for answer in answers],
            [answer.usage.model_dump() for answer in answers],
        )
        await producer.send_and_wait(RESULTS, json.dumps(result).encode(), key=record.key)

    while True:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=4 * IN_FLIGHT)
        await asyncio.gather(*[process(record) for records in fetched.values() for record in records])
        await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main())

"""LangChain's `abatch` over what one poll brings. It repeats what was in hand when it dies."""

from __future__ import annotations

import asyncio
import json
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.bench.peers.task import BASE_URL, DOCUMENTS, IN_FLIGHT, MODEL, RESULTS, SERVERS, requests, result_of


async def main() -> None:
    """Work until it is killed."""
    chat: Any = ChatOpenAI(model=MODEL, base_url=BASE_URL, api_key=SecretStr("none"))
    models = [chat.bind(response_format=request["response_format"]) for request in requests("")]
    consumer = AIOKafkaConsumer(
        DOCUMENTS, bootstrap_servers=SERVERS, group_id="peer", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS)
    await consumer.start()
    await producer.start()
    while True:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=4 * IN_FLIGHT)
        records = [*chain(*fetched.values())]
        events = [json.loads(record.value) for record in records]
        asked = [requests(event["text"]) for event in events]
        batches = [
            model.abatch(
                [requests_of_one[task]["messages"] for requests_of_one in asked],
                config={"max_concurrency": IN_FLIGHT // len(models)},
            )
            for task, model in enumerate(models)
        ]
        for record, event, answers in zip(
            records, events, zip(*await asyncio.gather(*batches), strict=True), strict=True
        ):
            result = result_of(
                event["document_id"],
                [answer.content for answer in answers],
                [answer.usage_metadata for answer in answers],
            )
            await producer.send(RESULTS, json.dumps(result).encode(), key=record.key)
        await producer.flush()
        await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main())

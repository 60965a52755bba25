"""LangChain's `abatch` over what one poll brings. It repeats what was in hand when it dies."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from tests.bench.peers.task import BASE_URL, DOCUMENTS, IN_FLIGHT, MODEL, RESPONSE_FORMAT, RESULTS, SERVERS, messages


async def main() -> None:
    """Work until it is killed."""
    chat: Any = ChatOpenAI(model=MODEL, base_url=BASE_URL, api_key=SecretStr("none"))
    model = chat.bind(response_format=RESPONSE_FORMAT)
    consumer = AIOKafkaConsumer(
        DOCUMENTS, bootstrap_servers=SERVERS, group_id="peer", enable_auto_commit=False, auto_offset_reset="earliest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=SERVERS)
    await consumer.start()
    await producer.start()
    while True:
        fetched = await consumer.getmany(timeout_ms=1000, max_records=4 * IN_FLIGHT)
        records = [record for of_a_partition in fetched.values() for record in of_a_partition]
        events = [json.loads(record.value) for record in records]
        answers = await model.abatch(
            [messages(event["text"]) for event in events], config={"max_concurrency": IN_FLIGHT}
        )
        for record, event, answer in zip(records, events, answers, strict=True):
            outputs = json.loads(answer.content)
            result = {"document_id": event["document_id"], "outputs": outputs, "usage": answer.usage_metadata}
            await producer.send(RESULTS, json.dumps(result).encode(), key=record.key)
        await producer.flush()
        await consumer.commit()


if __name__ == "__main__":
    asyncio.run(main())

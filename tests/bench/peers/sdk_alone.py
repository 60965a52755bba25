"""The SDK and no Kafka: the floor under all who call it. Prints the seconds and the CPU seconds that it took."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI

from tests.bench.peers.task import BASE_URL, IN_FLIGHT, requests


async def main(texts: list[str]) -> None:
    """Ask about each text."""
    client = AsyncOpenAI(base_url=BASE_URL, api_key="none")
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def ask(request: dict[str, Any]) -> None:
        async with slots:
            answer: Any = await client.chat.completions.create(**request)
        json.loads(answer.choices[0].message.content)

    await ask(requests(texts[0])[0])
    began, began_cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*[ask(request) for text in texts for request in requests(text)])
    told = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - began_cpu}
    print(json.dumps(told))  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))

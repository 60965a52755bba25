"""Documents that come when they come, and a model that takes its time."""

from __future__ import annotations

import asyncio
from typing import Any

from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.llm.chat import ChatRequest
from tests.fakes.chat import Replies, anew
from tests.fakes.lab import Lab
from tests.fakes.samples import steps
from tests.fakes.timer import settled


class Town:
    """Documents that come when they come, and a model whose calls take half a second."""

    def __init__(self, reply: Replies, **changes: Any) -> None:
        self.lab = Lab(reply, sleep=self._sleep, **{"steps": steps()[:1], **changes})
        self.lab.client.ask = self._ask  # type: ignore[method-assign]
        self.tasks: dict[str, asyncio.Task[Any]] = {}

    async def _ask(self, request: ChatRequest) -> Any:
        """A failure comes at once, an answer later."""
        self.lab.client.requests.append(request)
        said = self.lab.client.reply(request)
        await self._sleep(0.01 if isinstance(said, Exception) else 0.5)
        if isinstance(said, Exception):
            raise anew(said)
        return said

    async def _sleep(self, seconds: float) -> None:
        woken = asyncio.Event()
        self.lab.timer.call_later(seconds, woken.set)
        await woken.wait()

    async def come(self, *texts: str) -> None:
        for text in texts:
            self.tasks[text] = asyncio.create_task(self.lab.analyzer.analyze(text, DocumentUsage()))
            await settled()

    def ended(self) -> list[str]:
        return [text for text, task in self.tasks.items() if task.done()]

    async def close(self) -> None:
        for task in self.tasks.values():
            task.cancel()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)

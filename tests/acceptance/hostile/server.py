"""A model server that answers ordinary documents well, and hostile ones as the case says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tests.acceptance.hostile.case import HOSTILE, Case
from tests.fakes.chat import example_of
from tests.fakes.raw_server import RawAnswer, RawServer

_LATENCY_SECONDS = 0.5


class ModelServer(RawServer):
    """Answers after half a second. `hit` are the ordinary documents that got the hostile answer."""

    def __init__(self, case: Case, *, seed: int) -> None:
        super().__init__(answer=self._answer)
        self._case = case
        self._chance = random.Random(seed)
        self._has_answered_first = False
        self.hit: set[str] = set()

    async def _write(self, answer: RawAnswer, writer: asyncio.StreamWriter) -> None:
        is_hostile = answer.status == 0
        await asyncio.sleep(self._case.seconds if is_hostile else _LATENCY_SECONDS)
        if is_hostile:
            assert self._case.answer is not None
            answer = self._case.answer()
        await super()._write(answer, writer)

    def _answer(self, body: dict[str, Any]) -> RawAnswer:
        case, text = self._case, body["messages"][-1]["content"]
        is_hostile = any(HOSTILE in turn["content"] for turn in body["messages"])
        if case.answer and (is_hostile or self._chance.random() < case.random_share):
            self.hit.add(text)
            return RawAnswer(status=0, body=b"")  # made late: some are large
        if case.first_answer and not self._has_answered_first:
            self._has_answered_first = True
            self.hit.add(text)
            return case.first_answer()
        return completion(json.dumps(example_of(body["response_format"]["json_schema"]["schema"])))


def completion(text: str, **headers: str) -> RawAnswer:
    """A chat completion of these words."""
    return RawAnswer(status=200, body=body_of(text), headers=headers)


def body_of(text: str, **more: object) -> bytes:
    """A chat completion's body, with more fields."""
    return json.dumps(
        {
            "id": "1",
            "object": "chat.completion",
            "created": 1,
            "model": "some-model",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
            **more,
        }
    ).encode()


@contextlib.asynccontextmanager
async def model_server(case: Case, *, seed: int) -> AsyncIterator[ModelServer]:
    """Serve on a free port."""
    server = ModelServer(case, seed=seed)
    async with server.running():
        yield server


def pipeline_of(case: Case) -> Mapping[str, object]:
    """One task, so that one document is one call."""
    output = case.output or {"type": "choice", "labels": ["tech", "other"]}
    return {"name": "hostile", "tasks": [{"name": "category", "prompt": "Choose a label.", "output": dict(output)}]}

"""A model that says what a test tells it to."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from docsluice.messages import Usage
from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.llm.chat import Answer, ChatRequest

Reply: TypeAlias = Answer | Exception
Replies: TypeAlias = Callable[[ChatRequest], Reply]

USAGE = Usage(input_tokens=100, output_tokens=10, cached_tokens=40)


class FakeChatClient:
    """A `ChatClient` that answers from `reply`. `hold()` keeps the calls in flight until `release()`."""

    def __init__(self, reply: Replies | None = None) -> None:
        self.reply = reply or right
        self._may_go = asyncio.Event()
        self._may_go.set()
        self.requests: list[ChatRequest] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.closed = False

    async def ask(self, request: ChatRequest) -> Answer:
        self.requests.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            await self._may_go.wait()
        finally:
            self.in_flight -= 1
        reply = self.reply(request)
        if isinstance(reply, Exception):
            raise anew(reply)
        return reply

    async def close(self) -> None:
        self.closed = True

    def hold(self) -> None:
        self._may_go.clear()

    def release(self) -> None:
        self._may_go.set()

    def asked(self, step: str) -> list[ChatRequest]:
        """The requests of one step, in order."""
        return [request for request in self.requests if request.step == step]


def anew(fault: Exception) -> Exception:
    """One more of the same: each call's fault is marked with what it turns out to be. A bug is given as it is."""
    if not isinstance(fault, DocsluiceError):
        return fault
    another = type(fault).__new__(type(fault), *fault.args)
    another.__dict__.update(fault.__dict__)
    another.__cause__ = fault.__cause__
    return another


def say(text: str, *, usage: Usage | None = USAGE, finish_reason: str = "stop", refusal: str | None = None) -> Answer:
    """An answer of these words."""
    return Answer(text=text, finish_reason=finish_reason, refusal=refusal, usage=usage)


def right(request: ChatRequest) -> Answer:
    """An answer that meets the request's schema."""
    return say(json.dumps(example_of(request.schema)))


def in_turn(*replies: Reply | Replies, then: Replies = right) -> Replies:
    """Each reply once, for any caller, and then `then` for good."""
    left = list(replies)

    def reply(request: ChatRequest) -> Reply:
        upcoming = left.pop(0) if left else then
        return upcoming(request) if callable(upcoming) else upcoming

    return reply


def of_documents(replies: Replies) -> Replies:
    """These replies about documents. A call about a text of our own is answered."""
    return lambda request: right(request) if "harbour office" in request.messages[-1].content else replies(request)


def by_step(scripts: Mapping[str, Iterable[Reply | Replies]], then: Replies = right) -> Replies:
    """A row of replies for each step, and then `then` for good."""
    rows: dict[str, Replies] = defaultdict(lambda: then)
    rows.update({step: in_turn(*replies, then=then) for step, replies in scripts.items()})
    return lambda request: rows[request.step](request)


def example_of(schema: Mapping[str, Any]) -> Any:
    """A value that meets one of the schemas that tasks make."""
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) else kind:
        case "object":
            return {name: example_of(part) for name, part in schema.get("properties", {}).items()}
        case "array":
            items = schema.get("items", {})
            return [f"{example_of(items)} {number}" for number in range(schema.get("minItems", 1))]
        case "integer" | "number":
            return 1
        case _:
            return "words"

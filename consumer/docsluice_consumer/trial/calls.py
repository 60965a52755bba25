"""The calls of a trial, each as it was sent and as it was answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from docsluice.messages import Usage
from docsluice_consumer.errors import CallRefused, CallTimedOut, DocsluiceError, ProviderUnavailable, QuotaExhausted
from docsluice_consumer.llm.chat import Answer, ChatClient, ChatRequest, Message
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.llm.provider_clients import ProviderClients

_WORLDS = (CallRefused, CallTimedOut, ProviderUnavailable, QuotaExhausted)
_MOST_FAULTS = 3
"""Faults in a row after which nobody at a terminal should wait any longer."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call. `sent` are its bodies: more than one if the server complained about a parameter.

    It has an `answer`, or a `fault` in words.
    """

    request: ChatRequest
    sent: list[Mapping[str, Any]] = field(default_factory=list)
    answer: Answer | None = None
    fault: str = ""
    seconds: float = 0.0

    @property
    def tasks(self) -> Sequence[str]:
        """The tasks that it is about: the fields of the answer that it asks for."""
        return tuple(self.request.schema.get("properties", {}))

    @property
    def turns(self) -> Sequence[Message]:
        """The turns of the chat, as they were sent last."""
        sent = self.sent[-1]["messages"] if self.sent else ()
        return tuple(Message(turn["role"], turn["content"]) for turn in sent) or self.request.messages

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What was sent besides the model and the turns."""
        body = self.sent[-1] if self.sent else {}
        return {name: value for name, value in body.items() if name not in {"model", "messages"}}

    @property
    def usage(self) -> Usage:
        """Its tokens. None are known of a call that failed, or of a server that reports none."""
        return (self.answer.usage if self.answer else None) or Usage()


class CallRecorder:
    """Notes every call that is made in a task, in the order in which they were sent.

    `gave_up` has the fault once a provider has answered nothing several times in a row.
    """

    def __init__(self) -> None:
        self.gave_up: asyncio.Future[DocsluiceError] = asyncio.get_running_loop().create_future()
        self._faults = 0
        self._calls: ContextVar[list[Call]] = ContextVar("calls")
        self._call: ContextVar[Call] = ContextVar("call")

    @contextmanager
    def recording(self) -> Iterator[list[Call]]:
        """The calls of this task and of those that it starts."""
        calls: list[Call] = []
        token = self._calls.set(calls)
        try:
            yield calls
        finally:
            self._calls.reset(token)

    def clients(self, providers: Mapping[str, Provider], *, max_connections: int) -> ChatClient:
        """The providers' clients, watched."""
        return _Watched(ProviderClients(providers, max_connections=max_connections, on_body=self._sent), self)

    def begun(self, request: ChatRequest) -> Call:
        """Note a call that goes out."""
        call = Call(request=request)
        self._calls.get().append(call)
        self._call.set(call)
        return call

    def failed(self, fault: DocsluiceError) -> None:
        """Note a call that failed."""
        self._faults += isinstance(fault, _WORLDS)
        if self._faults >= _MOST_FAULTS and not self.gave_up.done():
            self.gave_up.set_result(fault)

    def answered(self) -> None:
        """Note that the provider is there."""
        self._faults = 0

    def _sent(self, body: Mapping[str, Any]) -> None:
        self._call.get().sent.append(body)


class _Watched:
    """A `ChatClient` whose calls are recorded."""

    def __init__(self, client: ChatClient, recorder: CallRecorder) -> None:
        self._client = client
        self._recorder = recorder

    async def ask(self, request: ChatRequest) -> Answer:
        """See `ChatClient.ask`."""
        call, began = self._recorder.begun(request), time.monotonic()
        try:
            call.answer = await self._client.ask(request)
        except DocsluiceError as fault:
            call.fault = str(fault)
            self._recorder.failed(fault)
            raise
        finally:
            call.seconds = time.monotonic() - began
        self._recorder.answered()
        return call.answer

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

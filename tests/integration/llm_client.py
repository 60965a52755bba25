"""The real model client, and a server of a few lines that does what a test tells it to."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import NoKey, StaticKey
from docsluice_consumer.llm.provider import Provider
from tests.fakes.samples import SECRET_TEXT, chat_request
from tests.integration.model_server import Answering, Server

KEY = "sk-verysecret"


@contextlib.asynccontextmanager
async def client_at(
    base_url: str, *, timeout_seconds: float = 20.0, key: str | None = KEY
) -> AsyncIterator[OpenAIChatClient]:
    provider = Provider(
        base_url=base_url,
        credentials=StaticKey(key) if key else NoKey(),
        request_timeout_seconds=timeout_seconds,
    )
    client = OpenAIChatClient(provider=provider, max_connections=10)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def served(answer: Answering, **more: Any) -> AsyncIterator[tuple[Server, OpenAIChatClient]]:
    async with Server(answer).running() as server, client_at(server.base_url, **more) as client:
        yield server, client


async def fault_at(answer: Answering, **more: Any) -> DocsluiceError:
    """What the client raises when the server does this."""
    async with served(answer, **more) as (_, client):
        with pytest.raises(DocsluiceError) as caught:
            await client.ask(chat_request(SECRET_TEXT))
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None, "its cause may hold the key, and a dead letter carries the stack trace"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value

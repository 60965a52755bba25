"""Answers that are made to be dear, through the real client: what they take of memory."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from docsluice_consumer.errors import AnswerUnreadable, DocsluiceError
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import StaticKey
from docsluice_consumer.llm.provider import Provider
from tests.fakes.raw_server import RawAnswer, RawServer
from tests.fakes.samples import chat_request

MEBIBYTE = 2**20


@contextlib.asynccontextmanager
async def _client_of(answer: RawAnswer) -> AsyncIterator[OpenAIChatClient]:
    async with RawServer(answer=lambda _: answer).running() as server:
        provider = Provider(base_url=server.base_url, credentials=StaticKey("sk-x"), request_timeout_seconds=60.0)
        client = OpenAIChatClient(provider=provider, max_connections=10)
        try:
            yield client
        finally:
            await client.close()


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
async def test_bombs_take_little_memory(status: int, encoding: str) -> None:
    """A quarter gigabyte each, and three at once."""
    body = gzip.compress(bytes(256 * MEBIBYTE), 9, mtime=0)
    answer = RawAnswer(status=status, body=body, headers={"content-encoding": encoding})
    async with _client_of(answer) as client:
        tracemalloc.start()
        try:
            asked = await asyncio.gather(*(client.ask(chat_request()) for _ in range(3)), return_exceptions=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert all(isinstance(fault, DocsluiceError) for fault in asked)
    assert peak < 20 * MEBIBYTE


@pytest.mark.parametrize(
    "headers", [{"content-length": str(10 * MEBIBYTE)}, {"content-length": str(2**60)}], ids=["true", "beyond measure"]
)
async def test_a_size_in_a_header_is_not_believed(headers: dict[str, str]) -> None:
    """What comes is counted."""
    answer = RawAnswer(status=200, body=b"[" + b"[]," * (10 * MEBIBYTE // 3), headers=headers)
    async with _client_of(answer) as client:
        with pytest.raises(AnswerUnreadable, match="larger than any completion"):
            await client.ask(chat_request())

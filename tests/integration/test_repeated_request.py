"""The SDK builds the first request. Later ones repeat it with another body, and nobody can tell them apart."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import FileKey
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.llm.response_limit import MOST_ANSWER_BYTES
from tests.fakes.samples import chat_request
from tests.integration.llm_client import fault_at, served
from tests.integration.model_server import Answering, Server, error, ok


async def _nothing(_: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(30)
    raise AssertionError


async def _half(_: dict[str, Any]) -> web.StreamResponse:
    return web.Response(body=b'{"choices"', headers={"Content-Length": "1000"})


async def _gone(_: dict[str, Any]) -> web.StreamResponse:
    raise asyncio.CancelledError


FAULTS: dict[str, Answering] = {
    "no answer in time": _nothing,
    "half an answer": _half,
    "no answer at all": _gone,
    "a rate limit": lambda _: error(429, headers={"Retry-After": "7"}),
    "an outage": lambda _: error(503),
    "a refused key": lambda _: error(401),
    "a redirect": lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/"}),
    "an endless answer": lambda _: web.Response(body=b" " * (MOST_ANSWER_BYTES + 1)),
    "a web page": lambda _: web.Response(text="<html><title>Login</title></html>", content_type="text/html"),
}


async def test_only_the_body_is_another_one() -> None:
    """The address, the key and every header are those that the SDK has built."""
    async with served(ok()) as (server, client):
        for text in ("first", "the second"):
            await client.ask(chat_request(text))
    (first, second), sizes = server.headers, [headers.pop("Content-Length") for headers in server.headers]
    assert first == second
    assert "openai" in first["User-Agent"].lower()
    assert int(sizes[1]) - int(sizes[0]) == len("the second") - len("first")
    assert server.urls[0] == server.urls[1]
    assert [body["messages"][-1]["content"] for body in server.bodies] == ["first", "the second"]


async def test_a_new_key_is_in_the_next_request(tmp_path: Path) -> None:
    """Though an earlier request was built with the old one."""
    path = tmp_path / "key"
    async with Server(ok()).running() as server:
        provider = Provider(base_url=server.base_url, credentials=FileKey(path))
        client = OpenAIChatClient(provider=provider, max_connections=10)
        for key in ("sk-first-key", "sk-first-key", "sk-the-second-key"):
            path.write_text(key)
            await client.ask(chat_request())
        await client.close()
    keys = [headers["Authorization"].removeprefix("Bearer ") for headers in server.headers]
    assert keys == ["sk-first-key", "sk-first-key", "sk-the-second-key"]


@pytest.mark.parametrize("what", FAULTS)
async def test_a_fault_of_a_later_call_is_that_of_a_first(what: str) -> None:
    """Of the same kind, in the same words, and for as long."""
    first = await fault_at(FAULTS[what], timeout_seconds=0.5)
    async with served(ok(), timeout_seconds=0.5) as (server, client):
        await client.ask(chat_request())
        server.answer = FAULTS[what]
        with pytest.raises(DocsluiceError) as caught:
            await client.ask(chat_request())
    later = caught.value
    assert (type(later), str(later)) == (type(first), str(first))
    assert getattr(later, "retry_after_seconds", None) == getattr(first, "retry_after_seconds", None)

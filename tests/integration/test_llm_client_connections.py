"""Servers that hang, break off or never stop, on the wire."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web

from docsluice_consumer.errors import AnswerUnreadable, CallRefused, CallTimedOut, ProviderUnavailable
from tests.fakes.contracts import TEXT
from tests.fakes.one_answer import answering
from tests.fakes.samples import chat_request
from tests.integration.llm_client import client_at, fault_at
from tests.integration.model_server import Server, completion_of, ok


async def _hang(_body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


async def test_a_server_that_hangs() -> None:
    """The call ends at its time-out. The tokens may have been counted all the same."""
    assert isinstance(await fault_at(_hang, timeout_seconds=0.2), CallTimedOut)


async def test_a_server_that_trickles() -> None:
    """A byte now and then does not put off the end: the time-out is for the whole call."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.05)
        return response

    async with answering(drip) as base_url, client_at(base_url, timeout_seconds=0.3) as client:
        with pytest.raises(CallTimedOut):
            await client.ask(chat_request())


async def test_connection_refused() -> None:
    """Nobody listens: it may come back, and it is told in words."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with client_at(f"http://127.0.0.1:{port}/v1") as client:
        with pytest.raises(ProviderUnavailable, match="refused"):
            await client.ask(chat_request())


async def test_a_name_that_does_not_resolve() -> None:
    """The network may be away as a whole."""
    async with client_at("http://nowhere.invalid/v1") as client:
        with pytest.raises(ProviderUnavailable):
            await client.ask(chat_request())


@contextlib.asynccontextmanager
async def _bytes_server(answer: bytes) -> AsyncIterator[str]:
    """Reads a request, writes these bytes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        with contextlib.suppress(ConnectionError):  # not everybody hears us out
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        await server.wait_closed()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        HEAD + b"Content-Length: 1000\r\n\r\n{",
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"cho\r\n',
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        HEAD + b'Content-Length: 12\r\n\r\n{"a": "\xff\xfe"}\n',
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 1\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "no gzip", "no HTTP", "no UTF-8", "empty", "no JSON"],
)
async def test_a_connection_that_breaks(answer: bytes) -> None:
    """At whatever point, it may be tried again. Where a success had begun, it may have been paid for."""
    begun = answer.startswith(HEAD)
    async with _bytes_server(answer) as base_url, client_at(base_url) as client:
        with pytest.raises(AnswerUnreadable if begun else ProviderUnavailable):
            await client.ask(chat_request())


# Made when asked for: each process that runs tests reads this file.
TOO_LARGE: dict[str, Callable[[], bytes]] = {
    "plain": lambda: HEAD + b"\r\n" + b" " * 17_000_000,
    "packed": lambda: HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(300_000_000), 1, mtime=0),
    "packed twice": lambda: (
        HEAD + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(gzip.compress(bytes(10_000_000), mtime=0))
    ),
}


@pytest.mark.parametrize("answer", TOO_LARGE.values(), ids=TOO_LARGE.keys())
async def test_an_answer_that_is_too_large_is_not_held(answer: Callable[[], bytes]) -> None:
    """A server that never stops, or sends a bomb, costs a bounded number of bytes, and it is the provider's fault."""
    async with _bytes_server(answer()) as base_url, client_at(base_url) as client:
        with pytest.raises(AnswerUnreadable, match=r"larger than any completion|nobody asked for"):
            await client.ask(chat_request())


async def test_a_packed_answer_of_ordinary_size() -> None:
    """We ask for none, and read it all the same."""
    packed = gzip.compress(json.dumps(completion_of()).encode())
    async with (
        _bytes_server(HEAD + b"Content-Encoding: gzip\r\n\r\n" + packed) as base_url,
        client_at(base_url) as client,
    ):
        assert (await client.ask(chat_request())).text == TEXT


async def test_a_redirect_says_where_to_look() -> None:
    """A base URL that has moved is no document's fault."""
    moved = web.Response(status=304)
    fault = await fault_at(lambda _: moved)
    assert isinstance(fault, CallRefused)
    assert "OPENAI_BASE_URL" in fault.remedy


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """Whatever server points elsewhere, no document goes there."""
    async with Server(ok()).running() as elsewhere:
        moved = {"Location": f"{elsewhere.base_url}/chat/completions"}
        fault = await fault_at(lambda _: web.Response(status=status, headers=moved))
        assert elsewhere.bodies == []
    assert isinstance(fault, CallRefused)
    assert (fault.kind, "OPENAI_BASE_URL" in fault.remedy) == ("path", True)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"[" * 200_000, "application/json"), (b"{}", "text/plain; charset=idna"), (b"{}", "text/plain; charset=base64")],
)
async def test_what_nobody_has_foreseen_is_no_documents_fault(body: bytes, content_type: str) -> None:
    """Whatever breaks while a provider's answer is read: the document waits, and is tried again."""
    answer = web.Response(body=body, headers={"content-type": content_type})
    assert isinstance(await fault_at(lambda _: answer), AnswerUnreadable)

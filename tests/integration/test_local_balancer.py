"""The balancer in front of the local model's servers, with servers of the tests' own behind it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from docsluice_local.balancer import Balancer
from tests.integration.wire import WATCHDOG_SECONDS, until


class Server:
    """Holds every call until it is released, and notes how many it was given at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.busy = self.most_busy = self.given_up = 0
        self.begun = asyncio.Semaphore(0)
        self.may_end = asyncio.Semaphore(0)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        self.begun.release()
        reply = web.StreamResponse(status=203, headers={"content-type": "text/event-stream"})
        try:
            await reply.prepare(request)
            await reply.write(f"{self.name} ".encode())
            await self.may_end.acquire()
            await reply.write(await request.read() + f" {request.path_qs}".encode())
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        finally:
            self.busy -= 1
        return reply

    async def look(self, _request: web.Request) -> web.Response:
        return web.json_response({"busy": self.busy})


@contextlib.asynccontextmanager
async def serve(app: web.Application) -> AsyncIterator[str]:
    """Serve on a port of 127.0.0.1 and yield the address."""
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


@pytest.fixture
def servers() -> list[Server]:
    return [Server("first"), Server("second")]


@pytest.fixture
async def address(servers: list[Server]) -> AsyncIterator[str]:
    async with contextlib.AsyncExitStack() as stack:
        addresses = []
        for server in servers:
            app = web.Application()
            app.router.add_post("/{path:.*}", server.answer)
            app.router.add_get("/health", server.look)
            addresses.append(await stack.enter_async_context(serve(app)))
        yield await stack.enter_async_context(serve(Balancer(servers=addresses).application()))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WATCHDOG_SECONDS)) as session:
        yield session


async def _text(session: aiohttp.ClientSession, url: str, body: bytes) -> str:
    async with session.post(url, data=body, headers={"content-type": "application/json"}) as response:
        assert (response.status, response.content_type) == (203, "text/event-stream")
        return await response.text()


async def test_each_server_has_one_call_at_a_time(
    servers: list[Server], address: str, session: aiohttp.ClientSession
) -> None:
    """And all get their share. A call passes unchanged both ways."""
    calls = [asyncio.create_task(_text(session, f"{address}/v1/x?y=1", b"%d" % number)) for number in range(10)]
    for server in servers:
        await server.begun.acquire()
        for _ in calls:
            server.may_end.release()
    answers = await asyncio.gather(*calls)
    assert [answer.split(" ", 1)[1] for answer in answers] == [f"{number} /v1/x?y=1" for number in range(10)]
    assert {answer.split(" ", 1)[0] for answer in answers} == {"first", "second"}
    assert [server.most_busy for server in servers] == [1, 1]


async def test_a_question_is_answered_while_all_are_busy(
    servers: list[Server], address: str, session: aiohttp.ClientSession
) -> None:
    """Health checks do not wait for the model."""
    calls = [asyncio.create_task(_text(session, address, b"")) for _ in servers]
    for server in servers:
        await server.begun.acquire()
    async with session.get(f"{address}/health") as response:
        assert await response.json() == {"busy": 1}
    for server in servers:
        server.may_end.release()
    await asyncio.gather(*calls)


async def test_an_answer_comes_in_pieces(servers: list[Server], address: str, session: aiohttp.ClientSession) -> None:
    """The first piece arrives before the last is written."""
    async with session.post(address, data=b"x") as response:
        assert await response.content.readany() == b"first "
        servers[0].may_end.release()
        assert await response.content.read() == b"x /"


async def test_a_client_that_gives_up_frees_its_server(
    servers: list[Server], address: str, session: aiohttp.ClientSession
) -> None:
    """The call is ended there too, and the next one gets in."""
    abandoned = [asyncio.create_task(_text(session, address, b"")) for _ in servers]
    for server in servers:
        await server.begun.acquire()
    for call in abandoned:
        call.cancel()
    await asyncio.gather(*abandoned, return_exceptions=True)

    async def all_given_up() -> bool:
        return all(server.given_up for server in servers)

    await until(all_given_up, what="the servers are told that nobody waits any more")
    for server in servers:
        server.may_end.release()
    assert (await _text(session, address, b"next")).endswith("next /")

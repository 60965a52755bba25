"""One address in front of several model servers that answer one call at a time each.

A call goes to the first server that is idle, and waits for one in the order in which it came.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

import aiohttp
from aiohttp import web

_LARGEST_BODY_BYTES = 64 * 2**20


class Balancer:
    """Gives each server one call at a time. `servers` are base addresses, such as `http://127.0.0.1:8081`."""

    def __init__(self, *, servers: Sequence[str]) -> None:
        self._servers = list(servers)
        self._idle: asyncio.Queue[str] = asyncio.Queue()
        self._session: aiohttp.ClientSession | None = None
        for server in self._servers:
            self._idle.put_nowait(server)

    def application(self) -> web.Application:
        """Return it as an aiohttp application.

        Serve it with `handler_cancellation=True`: a client that gives up then ends its call at the server too.
        """
        app = web.Application(client_max_size=_LARGEST_BODY_BYTES)
        app.cleanup_ctx.append(self._connected)
        app.router.add_post("/{path:.*}", self._ask)
        app.router.add_get("/{path:.*}", self._look)
        return app

    async def _connected(self, _app: web.Application) -> AsyncIterator[None]:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as self._session:
            yield

    async def _ask(self, request: web.Request) -> web.StreamResponse:
        """Pass on a call, which keeps a server busy."""
        server = await self._idle.get()
        try:
            return await self._forward(request, server)
        finally:
            self._idle.put_nowait(server)

    async def _look(self, request: web.Request) -> web.StreamResponse:
        """Pass on a request that any server answers at once, busy or not."""
        return await self._forward(request, self._servers[0])

    async def _forward(self, request: web.Request, server: str) -> web.StreamResponse:
        if self._session is None:
            raise RuntimeError("the application was never started")
        async with self._session.request(
            request.method,
            server + request.path_qs,
            data=await request.read(),
            headers={"content-type": request.content_type},
        ) as answer:
            # Piece by piece, so that a stream stays a stream.
            reply = web.StreamResponse(
                status=answer.status, headers={"content-type": answer.headers.get("content-type", "text/plain")}
            )
            await reply.prepare(request)
            async for piece in answer.content.iter_any():
                await reply.write(piece)
            await reply.write_eof()
            return reply

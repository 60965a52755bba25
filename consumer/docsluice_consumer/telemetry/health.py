"""`/metrics`, `/livez` and `/readyz` over HTTP."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from docsluice_consumer.runtime.open_files import MOST_HTTP_CONNECTIONS
from docsluice_consumer.telemetry.connections import BoundedConnections
from docsluice_consumer.telemetry.metric_families import CONTENT_TYPE, MetricFamilies

_MOST_SECONDS = 15.0
"""The longest life of a connection. The client of a longer scrape has given up."""
_MOST_REQUEST_BYTES = 32 * 1024
"""The largest request, with what a proxy adds to the headers."""
_PORT_ERRORS = frozenset({errno.EADDRINUSE, errno.EACCES})
_HOST_ERRORS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Health(Protocol):
    """What the service says of itself. Each returns None when well, else a sentence."""

    def why_not_live(self) -> str | None:
        """A reason to restart the process."""
        ...

    def why_not_ready(self) -> str | None:
        """A reason why no documents are being worked on."""
        ...


class HealthServer:
    """Serves until closed. `refresh` is called before each scrape. `cut` removes secrets from verdicts."""

    def __init__(
        self,
        *,
        metrics: MetricFamilies,
        health: Health,
        refresh: Callable[[], None],
        cut: Callable[[str], str] = str,
        most_connections: int = MOST_HTTP_CONNECTIONS,
        most_seconds: float = _MOST_SECONDS,
    ) -> None:
        self._cut = cut
        self._most_connections = most_connections
        self._most_seconds = most_seconds
        self._server: asyncio.Server | None = None
        self._metrics = metrics
        self._health = health
        self._refresh = refresh
        self._runner: web.AppRunner | None = None

    async def start(self, *, host: str, port: int) -> int:
        """Listen, and return the port. 0 takes any free one.

        Raises:
            OSError: the address cannot be used.
        """
        app = web.Application(middlewares=[_one_request])
        app.add_routes(
            [web.get("/metrics", self._serve_metrics), web.get("/livez", self._livez), web.get("/readyz", self._readyz)]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 - it was set up
        connections = BoundedConnections(
            protocol=self._runner.server,
            most=self._most_connections,
            most_seconds=self._most_seconds,
            most_bytes=_MOST_REQUEST_BYTES,
        )
        self._server = await asyncio.get_running_loop().create_server(
            connections, host, port, backlog=MOST_HTTP_CONNECTIONS, reuse_address=True
        )
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def close(self) -> None:
        """Stop listening, and end what is being served."""
        if self._server is not None:
            self._server.close()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        self._refresh()
        return web.Response(body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    async def _livez(self, _request: web.Request) -> web.Response:
        return self._verdict(self._health.why_not_live())

    async def _readyz(self, _request: web.Request) -> web.Response:
        return self._verdict(self._health.why_not_ready())

    def _verdict(self, problem: str | None) -> web.Response:
        return web.Response(text=f"{self._cut(problem or 'ok')}\n", status=503 if problem else 200)


@web.middleware
async def _one_request(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer, and close the connection: no client asks twice in the time that a connection may last."""
    try:
        response = await handler(request)
    except web.HTTPException as error:
        error.force_close()
        raise
    response.force_close()
    return response


def why_not_listening(error: Exception, *, host: str, port: int) -> str:
    """A sentence that names the host or the port, whichever must change. A ValueError means a bad host."""
    number = getattr(error, "errno", None)
    if number in _PORT_ERRORS:
        return f"DOCSLUICE_HTTP_PORT: cannot listen on port {port} of {host} ({os.strerror(number)}); choose another"
    if number is None or number in _HOST_ERRORS or isinstance(error, socket.gaierror):
        return f"DOCSLUICE_HTTP_HOST: {host} is no address of this machine; choose one that is, or 0.0.0.0 for all"
    return f"DOCSLUICE_HTTP_HOST, DOCSLUICE_HTTP_PORT: cannot listen on {host}:{port} ({os.strerror(number)})"

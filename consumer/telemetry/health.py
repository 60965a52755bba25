"""`/metrics`, `/livez` and `/readyz` over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aiohttp import web

from consumer.telemetry.metrics import CONTENT_TYPE, Metrics


class Health(Protocol):
    """What the service says of itself; each returns None when well, else a sentence."""

    def why_not_live(self) -> str | None:
        """A reason to restart the process."""
        ...

    def why_not_ready(self) -> str | None:
        """A reason why no documents are being worked on."""
        ...


class HealthServer:
    """Serves until closed. `refresh` is called before each look at the metrics; `cut` takes secrets out of verdicts."""

    def __init__(
        self, *, metrics: Metrics, health: Health, refresh: Callable[[], None], cut: Callable[[str], str] = str
    ) -> None:
        self._cut = cut
        self._metrics = metrics
        self._health = health
        self._refresh = refresh
        self._runner: web.AppRunner | None = None

    async def start(self, *, host: str, port: int) -> int:
        """Listen, and return the port; 0 takes any free one.

        Raises:
            OSError: the address cannot be used.
        """
        app = web.Application()
        app.add_routes(
            [web.get("/metrics", self._serve_metrics), web.get("/livez", self._livez), web.get("/readyz", self._readyz)]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound: int = self._runner.addresses[0][1]
        return bound

    async def close(self) -> None:
        """Stop listening."""
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

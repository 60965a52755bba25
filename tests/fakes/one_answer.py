"""A server that answers every call alike, whatever it is asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web


@contextlib.asynccontextmanager
async def answering(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """Serve every request by the handler, and yield the base URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def one_answer(*, status: int, body: Any, headers: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Give one answer to every request. A text is sent as it is, anything else as JSON."""
    is_text = isinstance(body, str)
    written = body if is_text else json.dumps(body, ensure_ascii=False)
    content_type = "text/plain" if is_text else "application/json"

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=written, status=status, headers=headers, content_type=content_type)

    async with answering(answer) as base_url:
        yield base_url

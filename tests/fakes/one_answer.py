"""A server that gives one answer to every call, whatever it is asked."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web


@contextlib.asynccontextmanager
async def one_answer(*, status: int, body: Any, headers: Mapping[str, str] | None = None) -> AsyncIterator[str]:
    """Serve it and yield the base URL. A text is sent as it is, anything else as JSON."""
    is_text = isinstance(body, str)
    written = body if is_text else json.dumps(body, ensure_ascii=False)
    content_type = "text/plain" if is_text else "application/json"

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=written, status=status, headers=headers, content_type=content_type)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()

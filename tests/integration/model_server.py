"""A chat completions server of a few lines that does what each test tells it to."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from aiohttp import web

from tests.fakes.contracts import TEXT

Answering: TypeAlias = Callable[[dict[str, Any]], Awaitable[web.StreamResponse] | web.StreamResponse]


@dataclass
class Server:
    """A chat completions server. `answer` makes a response of a request's body."""

    answer: Answering
    base_url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    models: Callable[[], web.Response] | None = None
    tls: ssl.SSLContext | None = None

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        self.urls.append(str(request.url))
        response = self.answer(self.bodies[-1])
        return response if isinstance(response, web.StreamResponse) else await response

    async def _models(self, _request: web.Request) -> web.Response:
        if self.models:
            return self.models()
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in ("a", "b")]})

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Server]:
        app = web.Application()
        app.add_routes([web.post("/{any:.*}", self._post), web.get("/{any:.*}", self._models)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls).start()
        self.base_url = f"{'https' if self.tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}/v1"
        try:
            yield self
        finally:
            await runner.cleanup()


def completion_of(content: Any = TEXT, *, message: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **(message or {})}
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": said, "finish_reason": more.pop("finish_reason", "stop")}],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 10,
            "total_tokens": 110,
            "prompt_tokens_details": {"cached_tokens": 40},
        },
        **more,
    }


def ok(body: Any = None) -> Answering:
    return lambda _: web.json_response(completion_of() if body is None else body)


def error(status: int, message: str = "No.", *, headers: dict[str, str] | None = None, **fields: Any) -> web.Response:
    return web.json_response({"error": {"message": message, **fields}}, status=status, headers=headers)

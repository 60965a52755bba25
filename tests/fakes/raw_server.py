"""A server that writes whatever bytes a test gives it as the body of an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

_LONGEST_LINE_BYTES = 2**20
_WITHOUT_BODY = frozenset({204, 304})
_AS_GOOD_AS_ENDLESS_BYTES = 2**26
_CHUNK = b"x" * 2**16


@dataclass(frozen=True, kw_only=True)
class RawAnswer:
    """Status, headers and body, as they go onto the wire. An `endless` body goes on after it until the client hangs up.

    Without a `content-length` of its own among the headers it gets the right one, unless it is endless.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    endless: bool = False


Answering: TypeAlias = Callable[[dict[str, Any]], RawAnswer]


@dataclass(kw_only=True)
class RawServer:
    """One answer to each connection. `sent_bytes` is how much of all bodies has gone out."""

    answer: Answering
    base_url: str = ""
    sent_bytes: int = 0

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[RawServer]:
        """Serve on a free port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_LONGEST_LINE_BYTES)
        self.base_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        try:
            yield self
        finally:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # asyncio would report each one that is cancelled at the end.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
            await self._write(self.answer(json.loads(await reader.readexactly(size) or b"{}")), writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _write(self, answer: RawAnswer, writer: asyncio.StreamWriter) -> None:
        if answer.status in _WITHOUT_BODY:
            answer = replace(answer, body=b"", endless=False)
        headers = {"content-type": "application/json", "connection": "close"}
        headers |= {} if answer.endless else {"content-length": str(len(answer.body))}
        headers |= answer.headers
        lines = [f"HTTP/1.1 {answer.status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1", errors="replace") + answer.body)
        self.sent_bytes += len(answer.body)
        await writer.drain()
        went_on = 0
        while answer.endless and went_on < _AS_GOOD_AS_ENDLESS_BYTES:
            writer.write(_CHUNK)
            await writer.drain()
            went_on += len(_CHUNK)
            self.sent_bytes += len(_CHUNK)

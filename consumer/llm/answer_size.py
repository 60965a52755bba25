"""No answer without a bound: whatever a server sends, or a wrong base URL turns out to serve, is not held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

_MOST_BYTES = 16 * 1024 * 1024
"""Far more than any completion, and than any list of models."""
_MOST_COMPRESSED_BYTES = 256 * 1024
"""A thousandfold at most, once unpacked. We ask for nothing compressed, so only an odd server sends it."""


async def bound_answer(response: httpx2.Response) -> None:
    """Let a response be read so far and no further: for the client's `event_hooks`.

    Reading on raises `httpx2.RemoteProtocolError`.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    most_bytes = _MOST_BYTES if encoding in {"", "identity"} else _MOST_COMPRESSED_BYTES
    if "," in encoding:
        most_bytes = 0  # packed twice it may unfold a millionfold
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - an async client has no other
    response.stream = _Bounded(response.stream, most_bytes)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        self._stream = stream
        self._left_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            self._left_bytes -= len(chunk)
            if self._left_bytes < 0:
                raise httpx2.RemoteProtocolError("the answer is larger than any completion")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()

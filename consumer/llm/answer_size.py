"""No answer without a bound: whatever a server sends, or a wrong base URL turns out to serve, is not held in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import httpx2

_MOST_BYTES = 16 * 1024 * 1024
"""Far more than any completion, and than any list of models."""
_MOST_COMPRESSED_BYTES = 256 * 1024
"""A thousandfold at most, once unpacked. We ask for nothing compressed, so only an odd server sends it."""


async def bound_answer(response: httpx2.Response) -> None:
    """Let a response be read so far and no further: for the client's `event_hooks`.

    Reading on raises `httpx2.RemoteProtocolError`: `AnswerBroken` where a success had begun, for that may be paid.
    """
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    most_bytes = _MOST_BYTES if encoding in {"", "identity"} else _MOST_COMPRESSED_BYTES
    if "," in encoding:
        most_bytes = 0  # packed twice it may unfold a millionfold
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - an async client has no other
    response.stream = _Bounded(response.stream, most_bytes, AnswerBroken if response.is_success else _ErrorBroken)


class AnswerBroken(httpx2.RemoteProtocolError):
    """The body of an answer ended before it was whole, or had no end."""


class _ErrorBroken(httpx2.RemoteProtocolError):
    """The same of an error's body."""


class _Bounded(httpx2.AsyncByteStream):
    def __init__(
        self, stream: httpx2.AsyncByteStream, most_bytes: int, broken: type[httpx2.RemoteProtocolError]
    ) -> None:
        self._stream = stream
        self._broken = broken
        self._left_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._stream:
                self._left_bytes -= len(chunk)
                if self._left_bytes < 0:
                    raise self._broken("the answer is larger than any completion")
                yield chunk
        except (httpx2.HTTPError, aiohttp.ClientError) as error:
            if isinstance(error, self._broken | httpx2.TimeoutException):
                raise
            raise self._broken("the connection ended in the middle of the answer") from error

    async def aclose(self) -> None:
        await self._stream.aclose()

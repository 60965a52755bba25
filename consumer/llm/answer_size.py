"""No answer without a bound: whatever a server sends, or a wrong base URL turns out to serve, is not held in memory."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import aiohttp
import httpx2

_MOST_BYTES = 16 * 1024 * 1024
"""Far more than any completion, and than any list of models."""
_UNPACKED = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_EITHER_KIND = 32
"""Lets zlib find out whether it is gzip."""
_PIECE_BYTES = 64 * 1024


async def bound_answer(response: httpx2.Response) -> None:
    """Let a response be read so far and no further: for the client's `event_hooks`.

    We ask for nothing compressed. What an odd server compresses all the same is unpacked here, for its size unpacked is
    the one that counts. Reading on raises `httpx2.RemoteProtocolError`: `AnswerBroken` where a success had begun, for
    that may be paid.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - an async client has no other
    stream, most_bytes = response.stream, _MOST_BYTES
    if encoding in _PACKED:
        stream = _Unpacked(stream)
        del response.headers["content-encoding"]
    elif encoding not in _UNPACKED:
        most_bytes = 0  # packed twice it may unfold a millionfold, and of other ways to pack the bound is not known
    response.stream = _Bounded(stream, most_bytes, AnswerBroken if response.is_success else _ErrorBroken)


class AnswerBroken(httpx2.RemoteProtocolError):
    """The body of an answer ended before it was whole, or had no end."""


class _ErrorBroken(httpx2.RemoteProtocolError):
    """The same of an error's body."""


class _Unpacked(httpx2.AsyncByteStream):
    """A gzip or zlib stream, unpacked piece by piece."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | _EITHER_KIND)
        begun = False
        async for chunk in self._stream:
            begun, rest = True, chunk
            while rest and not unpacking.eof:
                try:
                    piece = unpacking.decompress(rest, _PIECE_BYTES)
                except zlib.error:
                    raise httpx2.DecodingError("it is not packed as it says") from None
                rest = unpacking.unconsumed_tail
                if piece:
                    yield piece
        if begun and not unpacking.eof:
            raise httpx2.DecodingError("it ends in the middle")

    async def aclose(self) -> None:
        await self._stream.aclose()


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
            if isinstance(error, httpx2.DecodingError):
                if self._broken is AnswerBroken:
                    raise
                raise self._broken("the body of the error cannot be unpacked") from None
            raise self._broken("the connection ended in the middle of the answer") from error

    async def aclose(self) -> None:
        await self._stream.aclose()

"""Bounds every response, whatever a server, or a wrong base URL, sends."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

import aiohttp
import httpx2

MOST_ANSWER_BYTES = 2 * 1024 * 1024
"""Four times what 128,000 tokens take in most languages. The worst JSON of that size parses in a tenth of a second."""
_MOST_LIST_BYTES = 16 * 1024 * 1024
"""Lists of models are longer, and only `check` reads them."""
MOST_ERROR_BYTES = 256 * 1024
"""An error's status says most. The rest of a long body, such as an echo of the request, is not read."""
_UNPACKED = frozenset({"", "identity"})
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
_KNOWN = frozenset({"br", "zstd", "compress", "gzip, gzip"})
"""Encodings that a message may name. A header may hold anything, even a key."""
_EITHER_KIND = 32
"""Lets zlib detect gzip."""
_PIECE_BYTES = 64 * 1024


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Wraps a transport and bounds its responses. Cookies are not kept.

    A server that sets a new cookie with each answer would otherwise make each request larger than the one before.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and bound what comes back."""
        response = await self._transport.handle_async_request(request)
        response.headers.pop("set-cookie", None)
        # JSON is UTF-8. A charset such as punycode takes minutes to decode.
        response.encoding = "utf-8"
        bound_answer(response, most_bytes=_MOST_LIST_BYTES if request.method == "GET" else MOST_ANSWER_BYTES)
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


def bound_answer(response: httpx2.Response, *, most_bytes: int = MOST_ANSWER_BYTES) -> None:
    """Bound how much of a response is read, whatever its headers say about its size.

    We ask for nothing compressed. Gateways compress all the same, so gzip and deflate are unpacked here, and the
    unpacked size counts. Of an error only the beginning is read, as far as possible: its status holds whatever its body
    is. Reading more of a success raises `AnswerBroken`, because it may have been paid for.
    """
    encoding = response.headers.pop("content-encoding", "").strip().lower()
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - an async client has no other
    stream = response.stream
    if encoding in _PACKED:
        stream = _Unpacked(stream)
    elif encoding not in _UNPACKED:
        stream = _Unasked(stream, encoding)
    response.stream = _Whole(stream, most_bytes) if response.is_success else _Beginning(stream)


class AnswerBroken(httpx2.RemoteProtocolError):
    """The body of an answer broke off, or was too long."""


class _Around(httpx2.AsyncByteStream):
    """A stream around another one."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Unpacked(_Around):
    """A gzip or zlib stream, unpacked piece by piece."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        unpacking = zlib.decompressobj(zlib.MAX_WBITS | _EITHER_KIND)
        packed_bytes = 0
        async for chunk in self._stream:
            packed_bytes += len(chunk)
            rest = chunk
            while rest and not unpacking.eof:
                try:
                    piece = unpacking.decompress(rest, _PIECE_BYTES)
                except zlib.error:
                    raise httpx2.DecodingError("it is not packed as it says") from None
                rest = unpacking.unconsumed_tail
                if piece:
                    yield piece
            if packed_bytes > _MOST_LIST_BYTES:
                raise httpx2.DecodingError("it unpacks to nothing, without an end")
        if packed_bytes and not unpacking.eof:
            raise httpx2.DecodingError("it ends in the middle")


class _Unasked(_Around):
    """A body that cannot be bounded: packed twice it may unfold a millionfold, and other encodings are unknown."""

    def __init__(self, stream: httpx2.AsyncByteStream, encoding: str) -> None:
        super().__init__(stream)
        self._known = f" ({encoding})" if encoding in _KNOWN else ""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for _ in self._stream:
            raise httpx2.DecodingError(f"it is packed in a way that nobody asked for{self._known}")
        yield b""


class _Whole(_Around):
    """The body of a success, all of it."""

    def __init__(self, stream: httpx2.AsyncByteStream, most_bytes: int) -> None:
        super().__init__(stream)
        self._most_bytes = most_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left_bytes = self._most_bytes
        try:
            async for chunk in self._stream:
                left_bytes -= len(chunk)
                if left_bytes < 0:
                    break
                yield chunk
        except (httpx2.DecodingError, httpx2.TimeoutException):
            raise
        except (httpx2.HTTPError, aiohttp.ClientError) as error:
            raise AnswerBroken("the connection ended in the middle of the answer") from error
        if left_bytes < 0:
            most = self._most_bytes // 2**20
            raise AnswerBroken(f"it is larger than any completion, which has {most} MiB at most")


class _Beginning(_Around):
    """The first `MOST_ERROR_BYTES` of the body of an error, as far as they can be read."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left_bytes = MOST_ERROR_BYTES
        try:
            async for chunk in self._stream:
                yield chunk[:left_bytes]
                left_bytes -= len(chunk)
                if left_bytes <= 0:
                    return
        except httpx2.DecodingError:
            return
        except httpx2.TimeoutException:
            raise
        except (httpx2.HTTPError, aiohttp.ClientError) as error:
            raise httpx2.RemoteProtocolError("the connection ended in the middle of the answer") from error

"""Bounds every response, whatever a server, or a wrong base URL, sends."""

from __future__ import annotations

import zlib
from collections.abc import AsyncGenerator

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
_DROPPED = frozenset({b"set-cookie", b"content-encoding"})


class BoundedTransport(httpx2.AsyncBaseTransport):
    """Wraps a transport, and reads its responses up to a bound. Cookies are not kept.

    A server that sets a new cookie with each answer would otherwise make each request larger than the one before.
    """

    def __init__(self, transport: httpx2.AsyncBaseTransport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request, and read what comes back. See `read_bounded` for the errors."""
        received = await self._transport.handle_async_request(request)
        most_bytes = _MOST_LIST_BYTES if request.method == "GET" else MOST_ANSWER_BYTES
        content = await read_bounded(received, most_bytes=most_bytes)
        kept = [(name, value) for name, value in received.headers.raw if name.lower() not in _DROPPED]
        response = httpx2.Response(
            received.status_code, headers=kept, content=content, request=request, extensions=received.extensions
        )
        # JSON is UTF-8. A charset such as punycode takes minutes to decode.
        response.encoding = "utf-8"
        return response

    async def aclose(self) -> None:
        """Close the wrapped transport."""
        await self._transport.aclose()


class AnswerBroken(httpx2.RemoteProtocolError):
    """The body of an answer broke off, or was too long."""


async def read_bounded(response: httpx2.Response, *, most_bytes: int = MOST_ANSWER_BYTES) -> bytes:
    """Read the body of a response up to a bound, whatever its headers say about its size, and close it.

    We ask for nothing compressed. Gateways compress all the same, so gzip and deflate are unpacked here, and the
    unpacked size counts. Of an error only the beginning is read, as far as possible: its status holds whatever its body
    is.

    Raises:
        AnswerBroken: a success broke off, or is longer. It may have been paid for.
        httpx2.DecodingError: a success is packed in a way that cannot be unpacked, or bounded.
        httpx2.RemoteProtocolError: an error broke off.
    """
    is_success = response.is_success
    most_bytes = most_bytes if is_success else MOST_ERROR_BYTES
    body, content = _body_of(response.headers.get("content-encoding", "")), bytearray()
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - an async client has no other
    chunks = aiter(response.stream)
    try:
        async for chunk in chunks:
            content += body.part(chunk, most_bytes=most_bytes + 1 - len(content))
            if len(content) > most_bytes:
                break
        else:
            body.end()
    except httpx2.TimeoutException:
        raise
    except httpx2.DecodingError:
        if is_success:
            raise
    except (httpx2.HTTPError, aiohttp.ClientError) as error:
        kind = AnswerBroken if is_success else httpx2.RemoteProtocolError
        raise kind("the connection ended in the middle of the answer") from error
    finally:
        if isinstance(chunks, AsyncGenerator):
            await chunks.aclose()
        await response.aclose()
    if is_success and len(content) > most_bytes:
        raise AnswerBroken(f"it is larger than any completion, which has {most_bytes // 2**20} MiB at most")
    return bytes(content[:most_bytes])


def _body_of(encoding: str) -> _Plain:
    encoding = encoding.strip().lower()
    if encoding in _UNPACKED:
        return _Plain()
    return _Packed() if encoding in _PACKED else _Unasked(encoding)


class _Plain:
    """A body that is not packed."""

    def part(self, chunk: bytes, *, most_bytes: int) -> bytes:  # noqa: ARG002 - others unfold it
        """What a chunk stands for: all of it, or at least `most_bytes`."""
        return chunk

    def end(self) -> None:
        """Note that nothing more comes."""


class _Packed(_Plain):
    """A gzip or zlib stream."""

    def __init__(self) -> None:
        self._unpacking = zlib.decompressobj(zlib.MAX_WBITS | _EITHER_KIND)
        self._packed_bytes = 0

    def part(self, chunk: bytes, *, most_bytes: int) -> bytes:
        self._packed_bytes += len(chunk)
        if self._packed_bytes > _MOST_LIST_BYTES:
            raise httpx2.DecodingError("it unpacks to nothing, without an end")
        try:
            return b"" if self._unpacking.eof else self._unpacking.decompress(chunk, most_bytes)
        except zlib.error:
            raise httpx2.DecodingError("it is not packed as it says") from None

    def end(self) -> None:
        if self._packed_bytes and not self._unpacking.eof:
            raise httpx2.DecodingError("it ends in the middle")


class _Unasked(_Plain):
    """A body that cannot be bounded: packed twice it may unfold a millionfold, and other encodings are unknown."""

    def __init__(self, encoding: str) -> None:
        self._known = f" ({encoding})" if encoding in _KNOWN else ""

    def part(self, chunk: bytes, *, most_bytes: int) -> bytes:  # noqa: ARG002 - whatever comes is refused
        raise httpx2.DecodingError(f"it is packed in a way that nobody asked for{self._known}")

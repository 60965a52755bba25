"""How much of an answer is read, packed or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Iterable, Mapping

import httpx2
import pytest

from docsluice_consumer.llm.response_limit import (
    MOST_ANSWER_BYTES,
    MOST_ERROR_BYTES,
    AnswerBroken,
    BoundedTransport,
    read_bounded,
)

MEBIBYTE = 2**20
EMPTY_BLOCK = b"\x00\x00\x00\xff\xff"
"""Of deflate: it unpacks to nothing."""
PACKINGS = ["gzip", "x-gzip", "deflate", " GZIP ", "identity", "", None]


class _Body(httpx2.AsyncByteStream):
    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self.read_bytes = 0
        self.is_closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self._chunks:
            self.read_bytes += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        self.is_closed = True


def _chunks(body: bytes) -> list[bytes]:
    return [body[start : start + 1000] for start in range(0, len(body), 1000)]


def _packed(plain: bytes, encoding: str | None) -> bytes:
    kind = (encoding or "").strip().lower()
    if kind == "deflate":
        return zlib.compress(plain)
    return gzip.compress(plain, mtime=0) if kind.endswith("gzip") else plain


def _response(stream: _Body, encoding: str | None, status: int) -> httpx2.Response:
    headers: Mapping[str, str] = {} if encoding is None else {"content-encoding": encoding}
    return httpx2.Response(status, headers=headers, stream=stream)


async def _read(body: bytes, encoding: str | None = None, *, status: int = 200) -> bytes:
    response = _response(_Body(_chunks(body)), encoding, status)
    return await read_bounded(response)


@pytest.mark.parametrize("encoding", PACKINGS)
@pytest.mark.parametrize("status", [200, 400])
async def test_a_body_is_read_whole(encoding: str | None, status: int) -> None:
    """Up to the bound, which no completion and no error comes near."""
    plain = b"a word, and another; " * 10_000
    assert await _read(_packed(plain, encoding), encoding, status=status) == plain


@pytest.mark.parametrize("encoding", ["gzip", "deflate", None])
async def test_what_is_larger_is_not_read(encoding: str | None) -> None:
    """However small it was when packed, and whatever it said of its size."""
    stream = _Body(_chunks(_packed(bytes(64 * MEBIBYTE), encoding)))
    response = _response(stream, encoding, 200)
    response.headers["content-length"] = "10"
    with pytest.raises(AnswerBroken, match="larger than any completion, which has 2 MiB at most"):
        await read_bounded(response)
    assert stream.read_bytes <= MOST_ANSWER_BYTES + 1000
    assert stream.is_closed


@pytest.mark.parametrize("encoding", ["gzip", "deflate", None])
async def test_of_a_large_error_the_beginning_is_read(encoding: str | None) -> None:
    """Its status holds, and no more of a request that it quotes is held in memory."""
    stream = _Body(_chunks(_packed(b"words " * 10 * MEBIBYTE, encoding)))
    response = _response(stream, encoding, 422)
    assert len(await read_bounded(response)) == MOST_ERROR_BYTES
    assert stream.read_bytes <= MOST_ERROR_BYTES + 1000
    assert stream.is_closed


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "gzip, br", "sk-secret"])
async def test_what_nobody_asked_for_is_refused(encoding: str) -> None:
    """Its size cannot be bounded. A header's own words, which may be a key, are not told."""
    with pytest.raises(httpx2.DecodingError, match="nobody asked for") as caught:
        await _read(b"x" * 100, encoding)
    assert "sk-secret" not in str(caught.value)
    assert await _read(b"x" * 100, encoding, status=429) == b""


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"whole" * 1000, mtime=0)[:-9]])
async def test_what_is_not_packed_as_it_says_is_told(body: bytes) -> None:
    """Or not to its end. An error is one all the same."""
    with pytest.raises(httpx2.DecodingError):
        await _read(body, "gzip")
    assert len(await _read(body, "gzip", status=500)) in {0, 5000}


async def test_what_unpacks_to_nothing_has_an_end() -> None:
    """Empty blocks could be sent for ever, and no byte would come of them."""
    head = zlib.compress(b"")[:2]
    stream = _Body([head, *([EMPTY_BLOCK * 10_000] * 1_000)])
    response = _response(stream, "deflate", 200)
    with pytest.raises(httpx2.DecodingError, match="unpacks to nothing"):
        await read_bounded(response)
    assert stream.read_bytes < 20 * MEBIBYTE


@pytest.mark.parametrize(("status", "kind"), [(200, AnswerBroken), (500, httpx2.RemoteProtocolError)])
async def test_a_connection_that_breaks_is_told(status: int, kind: type[Exception]) -> None:
    """Of a success in another way than of an error, for it may have been paid for."""

    def chunks() -> Iterable[bytes]:
        yield b"{"
        raise httpx2.ReadError("reset")

    response = _response(_Body(chunks()), None, status)
    with pytest.raises(httpx2.RemoteProtocolError) as caught:
        await read_bounded(response)
    assert type(caught.value) is kind


class _Server(httpx2.AsyncBaseTransport):
    """Answers with these headers and this body."""

    def __init__(self, headers: list[tuple[str, str]], body: bytes) -> None:
        self._headers, self._body = headers, body
        self.cookies_sent: list[str] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.cookies_sent.append(request.headers.get("cookie", ""))
        return httpx2.Response(200, headers=self._headers, stream=_Body(_chunks(self._body)), request=request)


async def test_cookies_are_not_kept() -> None:
    """A server that sets another one each time would make each request larger than the one before."""
    server = _Server([("set-cookie", f"c{number}=1") for number in range(100)], b"{}")
    async with httpx2.AsyncClient(transport=BoundedTransport(server)) as client:
        await client.post("http://model/")
        await client.post("http://model/")
        assert len(client.cookies.jar) == 0
    assert server.cookies_sent == ["", ""]


async def test_a_charset_is_not_believed() -> None:
    """JSON is UTF-8, and some of Python's codecs take minutes for a megabyte."""
    server = _Server([("content-type", "application/json; charset=punycode")], "\u00e9-1".encode())
    async with httpx2.AsyncClient(transport=BoundedTransport(server)) as client:
        assert (await client.post("http://model/")).text == "\u00e9-1"


async def test_a_list_of_models_may_be_longer() -> None:
    """Only `check` asks for it."""
    server = _Server([], bytes(3 * MEBIBYTE))
    async with httpx2.AsyncClient(transport=BoundedTransport(server)) as client:
        assert len((await client.get("http://model/")).content) == 3 * MEBIBYTE
        with pytest.raises(AnswerBroken):
            await client.post("http://model/")

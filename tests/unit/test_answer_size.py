"""How much of an answer is read, packed or not."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Mapping

import httpx2
import pytest

from consumer.llm.answer_size import AnswerBroken, bound_answer

MEBIBYTE = 2**20


class _Body(httpx2.AsyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), 1000):
            yield self._body[start : start + 1000]


def _packed(plain: bytes, encoding: str | None) -> bytes:
    kind = (encoding or "").strip().lower()
    if kind == "deflate":
        return zlib.compress(plain)
    return gzip.compress(plain, mtime=0) if kind.endswith("gzip") else plain


async def _read(body: bytes, encoding: str | None = None) -> bytes:
    headers: Mapping[str, str] = {} if encoding is None else {"content-encoding": encoding}
    response = httpx2.Response(200, headers=headers, stream=_Body(body))
    await bound_answer(response)
    return await response.aread()


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", " GZIP ", "identity", "", None])
async def test_an_answer_is_read_whole(encoding: str | None) -> None:
    """Up to the bound, which no completion comes near."""
    plain = b"a word, and another; " * 50_000
    assert await _read(_packed(plain, encoding), encoding) == plain


@pytest.mark.parametrize("encoding", ["gzip", "deflate", None])
async def test_what_is_larger_is_not_read(encoding: str | None) -> None:
    """However small it was when packed."""
    plain = bytes(17 * MEBIBYTE)
    body = _packed(plain, encoding)
    with pytest.raises(AnswerBroken, match="larger than any completion"):
        await _read(body, encoding)


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "zstd", "gzip, br"])
async def test_what_nobody_asked_for_is_refused(encoding: str) -> None:
    """Its size cannot be bounded."""
    with pytest.raises(AnswerBroken):
        await _read(b"x" * 100, encoding)


@pytest.mark.parametrize("body", [b"no gzip at all", gzip.compress(b"whole" * 1000, mtime=0)[:-9]])
async def test_what_is_not_packed_as_it_says_is_told(body: bytes) -> None:
    """Or not to its end."""
    with pytest.raises(httpx2.DecodingError):
        await _read(body, "gzip")

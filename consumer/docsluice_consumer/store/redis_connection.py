"""A connection to Redis whose answers are bounded in size and time. Needs the package `redis`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

_TIMEOUT_SECONDS = 1.0
_LEAST_BYTES = 64
"""The least memory of an element of an answer, however short it is on the wire."""


class Allowance:
    """How much of one exchange may still be read. An endless answer would take all memory."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = self._left = most_bytes

    @contextlib.asynccontextmanager
    async def exchange(self) -> AsyncIterator[None]:
        """Bound one exchange, in time as well.

        Raises:
            TimeoutError: it was not over in time.
        """
        self._left = self._most_bytes
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            yield

    def take(self, count: int) -> bool:
        """Take `count` bytes. Returns whether they may be read."""
        self._left -= max(count, _LEAST_BYTES)
        return self._left >= 0


def redis_at(url: str, *, allowance: Allowance, decode_responses: bool = False) -> Any:
    """A client of the Redis at `url`, which may hold a password.

    Exchanges share the allowance, so there is one at a time.
    """
    from redis._parsers import _AsyncRESP2Parser  # noqa: PLC0415 - an extra, needed only with Redis
    from redis.asyncio import Redis  # noqa: PLC0415
    from redis.asyncio.retry import Retry  # noqa: PLC0415
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.exceptions import InvalidResponse  # noqa: PLC0415

    class Parser(_AsyncRESP2Parser):  # of a private module: the package has no other place for a bound
        """Reads no more than the allowance."""

        async def _read(self, length: int) -> bytes:
            self._take(length)
            read: bytes = await super()._read(length)
            return read

        async def _readline(self) -> bytes:
            line: bytes = await super()._readline()
            self._take(len(line))
            return line

        def _take(self, count: int) -> None:
            if count < 0 or not allowance.take(count):
                raise InvalidResponse("an answer that is too large")

    return Redis.from_url(
        url,
        decode_responses=decode_responses,
        protocol=2,
        parser_class=Parser,
        socket_connect_timeout=_TIMEOUT_SECONDS,
        socket_timeout=_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),  # the caller decides whether to retry
    )

"""Polls the metrics of every replica in the background."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp

from docsluice_producer.command_line.numbers import printable
from docsluice_producer.metrics.finding import Finding, Look, finding
from docsluice_producer.metrics.sample import Sample, sample_of

PAUSE_SECONDS = 5.0
_TIMEOUT_SECONDS = 3.0
_LARGEST_PAGE_BYTES = 4 * 1024 * 1024
"""A replica with thousands of partitions has a smaller page."""
_CHUNK_BYTES = 64 * 1024


class MetricsPoller:
    """Reports what limits the consumers after each look, for the length of a block.

    An endpoint that does not answer, or answers with something else, is reported like anything else, and polled again.
    """

    def __init__(
        self, *, urls: Sequence[str], tell: Callable[[Finding], None], pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._urls = tuple(dict.fromkeys(urls))
        self._tell = tell
        self._pause_seconds = pause_seconds

    @asynccontextmanager
    async def looking(self) -> AsyncIterator[None]:
        """Look until the block ends. Without URLs, do nothing."""
        if not self._urls:
            yield
            return
        task = asyncio.create_task(self._keep_looking(), name="look-at-limits")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
        if not task.cancelled():
            task.result()

    async def _keep_looking(self) -> None:
        before: Look = {}
        async with asking() as session:
            while True:
                now = await self._look(session)
                self._tell(finding(before, now))
                before = now
                await asyncio.sleep(self._pause_seconds)

    async def _look(self, session: aiohttp.ClientSession) -> Look:
        answers = await asyncio.gather(*(ask(session, url) for url in self._urls))
        return dict(zip(self._urls, answers, strict=True))


def asking() -> aiohttp.ClientSession:
    """A session with short timeouts."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS))


async def ask(session: aiohttp.ClientSession, url: str) -> Sample | str:
    """A sample of one replica, or in words why there is none."""
    try:
        async with session.get(url) as response:
            if response.status != HTTPStatus.OK:
                return f"{named(url)} answers {response.status}"
            page = await _page(response)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return f"{named(url)} does not answer ({_why(error)})"
    sample = sample_of(page.decode(errors="replace"))
    return f"{named(url)} answers, and not as a consumer" if sample is None else sample


async def _page(response: aiohttp.ClientResponse) -> bytes:
    page = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
        page += chunk
        if len(page) > _LARGEST_PAGE_BYTES:
            return b""
    return bytes(page)


def named(url: str) -> str:
    """An endpoint's place, without a password."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] + ("" if parts.path == "/metrics" else parts.path)


def _why(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name is not known"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    if isinstance(cause, TimeoutError):
        return "no answer in time"
    return printable(str(cause)) or type(cause).__name__

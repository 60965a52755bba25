"""A TCP proxy that speaks enough Kafka to fail at the worst moment: when a request is done and nobody was told."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import Counter
from collections.abc import Collection, Coroutine, Iterator
from typing import Any, TypeVar

from tests.acceptance.faults.frames import Api, answered, read_frame, request_header

Answer = TypeVar("Answer")

_HOST = "127.0.0.1"
_COMMAND_SECONDS = 10.0
_STOP_SECONDS = 5.0


class Proxy:
    """Stands between clients and one broker. Its methods may be called from any thread.

    It runs on an event loop of its own, so that a scenario that is busy never slows down what it measures.
    """

    def __init__(self, *, port: int, upstream_port: int) -> None:
        self.port = port
        self.swallowed: Counter[Api] = Counter()
        self._upstream_port = upstream_port
        self._delay_seconds = 0.0
        self._armed: frozenset[Api] = frozenset()
        self._server: asyncio.Server | None = None
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kafka-proxy", daemon=True)

    def start(self) -> None:
        """Listen, and return when it does."""
        self._thread.start()
        self.accept()

    def stop(self) -> None:
        """Break every connection and end the thread."""
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()

    def accept(self) -> None:
        """Take connections (again)."""
        self._do(self._listen())

    def refuse(self) -> None:
        """Break every connection and take no new one until `accept`."""
        self._do(self._close())

    def cut_all(self) -> int:
        """Break every connection, and return how many those were. New ones are taken."""
        return self._do(self._cut())

    def delay(self, seconds: float) -> None:
        """From now on, keep every frame for so long, in both directions."""
        self._delay_seconds = seconds

    def swallow_next(self, apis: Collection[Api]) -> None:
        """Pass on the next such request, and break the connection instead of passing on the broker's answer.

        The broker has then done it and the client cannot know. `swallowed` counts how often that came about. Without
        `apis`, what was asked for and has not happened yet is taken back.
        """
        self._armed = frozenset(apis)

    def _do(self, command: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(command, self._loop).result(_COMMAND_SECONDS)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, _HOST, self.port, reuse_address=True)

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _end(self) -> None:
        await self._close()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=_STOP_SECONDS)

    async def _cut(self) -> int:
        links = list(self._links)
        for link in links:
            link.cut()
        return len(links)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream = await asyncio.open_connection(_HOST, self._upstream_port)
        except OSError:  # the broker is away, and a client here must see just that
            writer.transport.abort()
            return
        link = _Link(self, client=(reader, writer), broker=upstream)
        self._links.add(link)
        try:
            await link.carry()
        finally:
            self._links.discard(link)

    def take_armed(self, api_key: int) -> bool:
        """Whether the answer to this request is the one to be swallowed. Asked by the links, on the proxy's loop."""
        if api_key not in self._armed:
            return False
        self._armed = frozenset()
        return True

    async def rest(self) -> None:
        """Keep a frame for as long as was asked for."""
        if self._delay_seconds:
            await asyncio.sleep(self._delay_seconds)


_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    """One client's connection and its counterpart at the broker."""

    def __init__(self, proxy: Proxy, *, client: _Stream, broker: _Stream) -> None:
        self._proxy = proxy
        self._from_client, self._to_client = client
        self._from_broker, self._to_broker = broker
        self._to_swallow: dict[int, Api] = {}

    async def carry(self) -> None:
        """Pass frames in both directions until one side is gone."""
        ways = [asyncio.create_task(self._requests()), asyncio.create_task(self._responses())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        self.cut()
        await asyncio.gather(*ways, return_exceptions=True)

    def cut(self) -> None:
        """Break both halves at once, as a network does: what is in their buffers is gone."""
        self._to_client.transport.abort()
        self._to_broker.transport.abort()

    async def _requests(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await read_frame(self._from_client)
                header = request_header(frame)
                if self._proxy.take_armed(header.api_key):
                    self._to_swallow[header.correlation_id] = Api(header.api_key)
                await self._proxy.rest()
                self._to_broker.write(frame)
                await self._to_broker.drain()

    async def _responses(self) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                frame = await read_frame(self._from_broker)
                swallowed = self._to_swallow.get(answered(frame))
                if swallowed is not None:
                    self._proxy.swallowed[swallowed] += 1
                    return
                await self._proxy.rest()
                self._to_client.write(frame)
                await self._to_client.drain()


@contextlib.contextmanager
def proxy(*, port: int, upstream_port: int) -> Iterator[Proxy]:
    """A proxy on `port` for the length of a `with` block."""
    running = Proxy(port=port, upstream_port=upstream_port)
    running.start()
    try:
        yield running
    finally:
        running.stop()

"""Bounds the connections of the HTTP port in number, time and bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from docsluice_consumer.telemetry.logs import Throttle

log = structlog.get_logger(__name__)


class BoundedConnections:
    """Makes the protocols of a server, each inside its bounds.

    If there are too many, the oldest is closed for the newest. So a client that holds all of them keeps no probe out.
    """

    def __init__(
        self, *, protocol: Callable[[], asyncio.Protocol], most: int, most_seconds: float, most_bytes: int
    ) -> None:
        self._protocol = protocol
        self._most = most
        self.most_seconds = most_seconds
        self.most_bytes = most_bytes
        self._open: dict[_Connection, None] = {}
        self._complaints = Throttle(seconds=60.0)

    def __call__(self) -> asyncio.Protocol:
        """The protocol of one connection."""
        return _Connection(self._protocol(), self)

    def opened(self, connection: _Connection) -> None:
        """Count a connection, and make room for it."""
        self._open[connection] = None
        if len(self._open) <= self._most:
            return
        oldest = next(iter(self._open))
        self.closed(oldest)
        oldest.end()
        if (silenced := self._complaints.silenced("crowded")) is not None:
            log.warning(
                "http.crowded",
                connections=self._most,
                silenced=silenced,
                remedy="clients open connections to the HTTP port and do not use them; the oldest are closed",
            )

    def closed(self, connection: _Connection) -> None:
        """Stop counting a connection."""
        self._open.pop(connection, None)


class _Connection(asyncio.Protocol):
    """Passes everything on to the server's own protocol, until it lasts too long or sends too much."""

    def __init__(self, inner: asyncio.Protocol, bounds: BoundedConnections) -> None:
        self._inner = inner
        self._bounds = bounds
        self._bytes = 0
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, and start the deadline."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is one of TCP
        self._transport = transport
        self._timer = asyncio.get_running_loop().call_later(self._bounds.most_seconds, self.end)
        self._inner.connection_made(transport)
        self._bounds.opened(self)

    def data_received(self, data: bytes) -> None:
        """Pass data on, up to the bound."""
        self._bytes += len(data)
        if self._bytes > self._bounds.most_bytes:
            self.end()
        else:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """See `asyncio.Protocol`."""
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """End, and make room."""
        if self._timer is not None:
            self._timer.cancel()
        self._bounds.closed(self)
        self._inner.connection_lost(exc)

    def end(self) -> None:
        """Close the connection at once, whatever is still to be written."""
        if self._transport is not None:
            self._transport.abort()

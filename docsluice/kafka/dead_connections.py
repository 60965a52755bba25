"""Has the kernel give up a connection whose other end acknowledges nothing.

A firewall that has forgotten our connections drops what comes on them without a word. aiokafka notices it by a request
that times out after half a minute, one connection after another, and the group and its transactions wait for minutes.
It has no hook for the options of a socket. So the protocol that it makes each connection with, a name in its module, is
replaced, for all clients of the process.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiokafka.conn

UNACKNOWLEDGED_SECONDS = 10
"""More than a moment of bad network, and less than the session in the consumer group."""

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
"""None where the system has no such option, as macOS: there it takes aiokafka's half a minute."""


def give_up_dead_connections() -> None:
    """From now on the connections of all clients are closed when for so long nothing is acknowledged."""
    aiokafka.conn.AIOKafkaProtocol = _Protocol


class _Protocol(aiokafka.conn.AIOKafkaProtocol):  # type: ignore[misc]  # aiokafka ships no types
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connected: Any = transport.get_extra_info("socket")
        if _TCP_USER_TIMEOUT is not None:
            connected.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, UNACKNOWLEDGED_SECONDS * 1000)

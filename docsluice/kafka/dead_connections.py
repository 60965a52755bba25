"""Lets the kernel give up a connection whose other end acknowledges nothing.

A firewall that has forgotten our connections silently drops their packets. aiokafka notices it by a request that times
out after half a minute, one connection after another. The group and its transactions wait for minutes. It has no hook
for socket options. So the protocol class that it makes each connection with is replaced by name, for all clients of the
process.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import aiokafka.conn

UNACKNOWLEDGED_SECONDS = 10
"""Longer than a short network fault, and shorter than the session in the consumer group."""

_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
"""None if the system has no such option, as macOS. There it takes aiokafka's half a minute."""


def give_up_dead_connections() -> None:
    """Close connections of all clients, from now on, when nothing is acknowledged for `UNACKNOWLEDGED_SECONDS`."""
    aiokafka.conn.AIOKafkaProtocol = _Protocol


class _Protocol(aiokafka.conn.AIOKafkaProtocol):  # type: ignore[misc]  # aiokafka ships no types
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        connected: Any = transport.get_extra_info("socket")
        if _TCP_USER_TIMEOUT is not None:
            connected.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, UNACKNOWLEDGED_SECONDS * 1000)

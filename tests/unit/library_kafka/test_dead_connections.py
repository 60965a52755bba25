"""Connections whose other end is gone without a word."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiokafka.conn import AIOKafkaConnection

from docsluice.kafka.broker import Broker
from docsluice.kafka.dead_connections import UNACKNOWLEDGED_SECONDS


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the system has no such option")
async def test_a_connection_that_nobody_acknowledges_is_given_up_by_the_kernel() -> None:
    """A release of aiokafka that makes its connections in another way fails here."""
    arrived = asyncio.Event()

    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        await ended.wait()
        writer.close()

    ended = asyncio.Event()
    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        Broker(bootstrap_servers=f"{host}:{port}").client_arguments()
        connection = AIOKafkaConnection(host, port)
        connecting = asyncio.create_task(connection.connect())
        await arrived.wait()
        while connection._writer is None:
            await asyncio.sleep(0)
        connected = connection._writer.get_extra_info("socket")
        told = connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        ended.set()
    assert told == UNACKNOWLEDGED_SECONDS * 1000

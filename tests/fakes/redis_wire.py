"""A server that speaks Redis' protocol, and says to each command whatever a test has it say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeAlias

OK = b"+OK\r\n"
Says: TypeAlias = Callable[[Sequence[bytes]], bytes]
"""What is said to one command, its name first. Nothing is said where that is empty."""


def bulk(value: bytes | None) -> bytes:
    """A string as Redis tells it. Without one, that there is none."""
    return b"$-1\r\n" if value is None else b"$%d\r\n%s\r\n" % (len(value), value)


def array(*values: bytes) -> bytes:
    """A list of what is told already."""
    return b"*%d\r\n%s" % (len(values), b"".join(values))


@contextlib.asynccontextmanager
async def redis_that_says(says: Says) -> AsyncIterator[str]:
    """Its URL. What a client says to get to know the server is answered as it should be."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                command = await _command(reader)
                is_greeting = command[0].upper() in {b"CLIENT", b"SELECT", b"PING"}
                writer.write(OK if is_greeting else says(command))
                await writer.drain()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _command(reader: asyncio.StreamReader) -> list[bytes]:
    count = int((await reader.readuntil(b"\r\n"))[1:])
    parts = []
    for _ in range(count):
        size = int((await reader.readuntil(b"\r\n"))[1:])
        parts.append((await reader.readexactly(size + 2))[:-2])
    return parts

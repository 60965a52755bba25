"""The HTTP port in front of clients that open connections and do not use them as they should."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.runtime.open_files import MOST_HTTP_CONNECTIONS
from docsluice_consumer.telemetry.health import HealthServer
from docsluice_consumer.telemetry.loop_errors import LoopErrors
from docsluice_consumer.telemetry.metrics import Metrics
from tests.integration.wire import until


class Well:
    """A service of which nothing is to be said."""

    def why_not_live(self) -> str | None:
        return None

    def why_not_ready(self) -> str | None:
        return None


@contextlib.asynccontextmanager
async def _serving(
    *, most_connections: int = MOST_HTTP_CONNECTIONS, most_seconds: float = 60.0, metrics: Metrics | None = None
) -> AsyncIterator[int]:
    """Its port."""
    server = HealthServer(
        metrics=metrics or Metrics(),
        health=Well(),
        refresh=lambda: None,
        most_connections=most_connections,
        most_seconds=most_seconds,
    )
    try:
        yield await server.start(host="127.0.0.1", port=0)
    finally:
        await server.close()


async def _asked(port: int, request: bytes = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") -> bytes:
    """All that the server says until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.transport.abort()


async def _is_closed(reader: asyncio.StreamReader) -> bool:
    """Wait for it."""
    async with asyncio.timeout(30):
        with contextlib.suppress(ConnectionError):
            while await reader.read(65536):
                pass
    return True


@pytest.mark.parametrize("path", ["livez", "readyz", "metrics", "nowhere"])
async def test_each_connection_is_for_one_request(path: str) -> None:
    """And is closed behind the answer, also where the client has more to ask."""
    async with _serving() as port:
        request = f"GET /{path} HTTP/1.1\r\nHost: x\r\nConnection: keep-alive\r\n\r\n".encode()
        said = await _asked(port, request * 100)
    assert said.count(b"HTTP/1.1 ") == 1
    assert said.startswith(b"HTTP/1.1 404" if path == "nowhere" else b"HTTP/1.1 200")


@pytest.mark.parametrize("begun", [b"", b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_client_that_takes_its_time_is_left(begun: bytes) -> None:
    """Whether it says nothing, or a letter now and then."""
    async with _serving(most_seconds=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        closed = asyncio.create_task(_is_closed(reader))
        while not closed.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"x" if begun else b"")
            await asyncio.sleep(0.05)
        assert await closed
        writer.transport.abort()


async def test_a_client_that_does_not_read_is_left() -> None:
    """An answer that nobody takes is not kept for ever."""
    metrics = Metrics()
    for number in range(3000):
        metrics.expect_task(task="summary", model=model_ref(f"{'m' * 500}{number}"))
    async with _serving(most_seconds=0.3, metrics=metrics) as port:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")

            async def is_reset() -> bool:
                try:
                    client.send(b"x")
                except ConnectionError:
                    return True
                return False

            await until(is_reset, what="it is closed")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /livez HTTP/1.1\r\n" + b"X: y\r\n" * 100_000,
        b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nX: " + b"a" * 1_000_000,
        b"x" * 1_000_000,
        b"GET /livez HTTP/1.1\r\nHost: x\r\n" + (b"X: " + b"a" * 8000 + b"\r\n") * 100 + b"\r\n",
    ],
    ids=["headers", "path", "a header", "no HTTP", "large headers"],
)
async def test_a_request_that_is_too_large_is_not_read(request_: bytes) -> None:
    """The connection is closed, and the port serves others."""
    async with _serving() as port:
        with contextlib.suppress(ConnectionError):
            assert b"200 OK" not in await _asked(port, request_)
        assert (await _asked(port)).startswith(b"HTTP/1.1 200")


async def test_whoever_holds_all_connections_keeps_no_probe_out() -> None:
    """The oldest makes room for the newest. That is said once."""
    async with _serving(most_connections=8) as port:
        with capture_logs() as logs:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
            assert (await _asked(port)).startswith(b"HTTP/1.1 200")
            for reader, _ in idle[:22]:
                assert await _is_closed(reader)
            assert not any(reader.at_eof() for reader, _ in idle[-6:])
        for _, writer in idle:
            writer.transport.abort()
    assert [entry["event"] for entry in logs] == ["http.crowded"]


async def test_closing_does_not_wait_for_clients() -> None:
    """A stop ends in time, whatever is connected."""
    async with asyncio.timeout(30):
        async with _serving() as port:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
            idle[0][1].write(b"GET /metrics HTTP/1.1\r\nHost")
        for reader, writer in idle:
            assert await _is_closed(reader)
            writer.transport.abort()


@pytest.fixture
def _few_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("_few_files")
async def test_connections_that_cannot_be_taken_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """With what to do, and without a trace for each attempt, and when there are files again, all is as before."""
    asyncio.get_running_loop().set_exception_handler(LoopErrors())
    async with _serving() as port:
        assert (await _asked(port)).startswith(b"HTTP/1.1 200")
        clients = [socket.socket() for _ in range(20)]
        highest = max(client.fileno() for client in clients)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        held = []
        with contextlib.suppress(OSError):
            while True:
                held.append(os.dup(0))
        with capture_logs() as logs:
            for client in clients:
                client.settimeout(0)
                with contextlib.suppress(BlockingIOError):
                    client.connect(("127.0.0.1", port))
            enough = time.monotonic() + 2.5
            while time.monotonic() < enough:
                await asyncio.sleep(0.1)
        for handle in held:
            os.close(handle)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        assert (await _asked(port)).startswith(b"HTTP/1.1 200")
        for client in clients:
            client.close()
        await asyncio.sleep(1.1)  # asyncio listens again a second later, and complains where nobody does any more
    assert [entry["event"] for entry in logs] == ["http.cannot_accept"]
    assert "ulimit -n" in logs[0]["remedy"]
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_what_else_the_loop_complains_of_is_told_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    """A bug in a callback is one."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(LoopErrors())
    loop.call_soon(lambda: int("no number"))
    await asyncio.sleep(0)
    assert [record.name for record in caplog.records] == ["asyncio"]

"""What is done to a service at work from beside: to its HTTP port, its broker and its process."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import resource
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from tests.acceptance import programs
from tests.acceptance.hostile.case import Stage

_CLIENTS = 200
_DRIP_SECONDS, _AGAIN_SECONDS = 0.2, 1.0
_AWAY_SECONDS = 10.0

Client: TypeAlias = Callable[[asyncio.StreamWriter], Awaitable[None]]


async def says_nothing(_: asyncio.StreamWriter) -> None:
    """No header ever comes."""


async def says_half(writer: asyncio.StreamWriter) -> None:
    """Half a request, and no more."""
    writer.write(b"GET /metr")


async def closes_its_half(writer: asyncio.StreamWriter) -> None:
    """It will send no more, and does not go either."""
    writer.write_eof()


async def drips(writer: asyncio.StreamWriter) -> None:
    """One letter of an endless header after the other."""
    writer.write(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
    while not writer.is_closing():
        await asyncio.sleep(_DRIP_SECONDS)
        writer.write(b"x")
        await writer.drain()


def clients(client: Client) -> Callable[[Stage], Awaitable[Sequence[str]]]:
    """200 of them, each again a second after it was thrown out, until the documents have ended."""

    async def attack(stage: Stage) -> Sequence[str]:
        async with asyncio.TaskGroup() as group:
            again = [group.create_task(_again_and_again(client, stage)) for _ in range(_CLIENTS)]
            await stage.ended.wait()
            for task in again:
                task.cancel()
        return ()

    return attack


async def _again_and_again(client: Client, stage: Stage) -> None:
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", stage.port)
            try:
                async with asyncio.TaskGroup() as group:
                    acting = group.create_task(_quietly(client(writer)))
                    await _quietly(reader.read())
                    acting.cancel()
            finally:
                writer.transport.abort()
        await asyncio.sleep(_AGAIN_SECONDS)


async def _quietly(action: Awaitable[object]) -> None:
    with contextlib.suppress(OSError):
        await action


async def files_run_out(stage: Stage) -> Sequence[str]:
    """For ten seconds it can open no file and no connection, and clients knock at its port."""
    pid = stage.child.pid
    assert pid is not None
    knocking = asyncio.ensure_future(clients(says_half)(stage))
    await asyncio.sleep(_AGAIN_SECONDS)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    await asyncio.sleep(_AWAY_SECONDS)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    return await knocking


async def broker_goes_away(stage: Stage) -> Sequence[str]:
    """It is killed, and comes back ten seconds later with all that it had."""
    assert stage.broker is not None
    await asyncio.sleep(_AGAIN_SECONDS)
    await asyncio.to_thread(stage.broker.kill)
    await asyncio.sleep(_AWAY_SECONDS)
    await asyncio.to_thread(stage.broker.start)
    return ()


async def stops_and_starts(stage: Stage) -> Sequence[str]:
    """Told to stop with documents in hand, it says how many it gives back, and goes on when it is started again."""
    await asyncio.sleep(_AGAIN_SECONDS)
    stage.child.send_signal(signal.SIGTERM)
    code = await asyncio.to_thread(functools.partial(stage.child.wait, timeout_seconds=60))
    said = [json.loads(line) for line in stage.child.log_path.read_text().splitlines() if line.startswith("{")]
    released = [entry["released"] for entry in said if entry["event"] in {"service.draining", "service.drained"}]
    await asyncio.to_thread(programs.start, stage.child, stage.settings)
    problems = [f"exit code {code} after a SIGTERM"] if code else []
    if not any(released):
        problems.append(f"the log tells of no record that was given back: {released}")
    return problems

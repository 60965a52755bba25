"""`docsluice-producer` as a process of its own, with pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping

from tests.integration.wire import WATCHDOG_SECONDS


@contextlib.asynccontextmanager
async def producer(*arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[Process]:
    """The program as a process of its own, with pipes; killed if a test leaves it running."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "producer",
        *arguments,
        env={**os.environ, **(environment or {})},
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        async with asyncio.timeout(WATCHDOG_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def run(
    *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the program."""
    async with producer(*arguments, environment=environment) as process:
        out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def said(process: Process, words: str) -> str:
    """The first line on standard error that holds these words."""
    assert process.stderr is not None
    while line := (await process.stderr.readline()).decode():
        if words in line:
            return line
    raise AssertionError(f"ended without saying {words!r}")

"""`docsluice-producer` as a process of its own, with pipes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Mapping

from tests.integration.forked_program import ForkedProgram, forked, ran
from tests.integration.wire import WATCHDOG_SECONDS


@contextlib.asynccontextmanager
async def producer(*arguments: str, environment: Mapping[str, str] | None = None) -> AsyncIterator[ForkedProgram]:
    """The program as a process of its own, with pipes. Killed if a test leaves it running."""
    settings = {**os.environ, **(environment or {})}
    async with forked("producer", *arguments, environment=settings) as process, asyncio.timeout(WATCHDOG_SECONDS):
        yield process


async def run(
    *arguments: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the program."""
    settings = {**os.environ, **(environment or {})}
    ended = await ran("producer", *arguments, data=stdin, environment=settings)
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


async def said(process: ForkedProgram, words: str) -> str:
    """The first line on standard error that holds these words."""
    while line := (await process.stderr.readline()).decode():
        if words in line:
            return line
    raise AssertionError(f"ended without saying {words!r}")

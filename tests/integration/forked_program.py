"""Our programs as processes that start at once: forks of a server that has imported them already.

A fork has its own arguments, environment, folder, pipes, signals and exit code, as if a shell had started it. It saves
the second that Python needs to import a program.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import importlib
import io
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
import time
from asyncio.streams import FlowControlMixin
from collections.abc import AsyncIterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import BinaryIO

from docsluice_local.leash import PR_SET_PDEATHSIG
from docsluice_local.process import Child
from tests.integration.wire import WATCHDOG_SECONDS

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(
    [
        "docsluice.cli.dispatch",
        "docsluice.cli.program",
        "docsluice_consumer.commands.service_commands",
        "docsluice_consumer.check.check",
        "docsluice_consumer.service",
        "docsluice_producer.commands",
        "docsluice_producer.dead_letters.commands",
    ]
)

_one_at_a_time = threading.Lock()
"""An exit code can be read once. Of two threads that ask for it together, one would be told 255."""


class ForkedProgram:
    """One of our programs at work. It offers the part of `asyncio.subprocess.Process` that tests use."""

    def __init__(self, program: str, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        their_input, self._input = _forks.Pipe(duplex=False)
        self._output, their_output = _forks.Pipe(duplex=False)
        self._errors, their_errors = _forks.Pipe(duplex=False)
        self._theirs = (their_input, their_output, their_errors)
        self._process = _forks.Process(target=_become, args=(program, arguments, dict(environment), *self._theirs))
        self._transports: list[asyncio.BaseTransport] = []
        self._ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Start it in the current folder."""
        await asyncio.to_thread(self._process.start)
        for end in self._theirs:
            end.close()
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._take_exit_code)
        self.stdin = await self._writer(self._input)
        self.stdout = await self._reader(self._output)
        self.stderr = await self._reader(self._errors)

    @property
    def returncode(self) -> int | None:
        """The exit code, negative if a signal ended it. None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """Wait for its end. Returns the exit code."""
        return await asyncio.shield(self._ended)

    async def communicate(self, data: bytes = b"") -> tuple[bytes, bytes]:
        """Write `data` to its standard input, close that, and return the rest of its output and of its errors."""
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self._feed(data))
        await self.wait()
        return out, err

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self.returncode is None and self._process.pid is not None:
            os.kill(self._process.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def close(self) -> None:
        """Kill it if it still runs, and close the pipes."""
        self.kill()
        await self.wait()
        for transport in self._transports:
            transport.close()

    async def _feed(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.stdin.write(data)
            await self.stdin.drain()
        self.stdin.close()

    def _take_exit_code(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        assert self._process.exitcode is not None
        self._ended.set_result(self._process.exitcode)

    async def _writer(self, end: Connection) -> asyncio.StreamWriter:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_write_pipe(FlowControlMixin, _file(end, "wb"))
        self._transports.append(transport)
        return asyncio.StreamWriter(transport, protocol, None, loop)

    async def _reader(self, end: Connection) -> asyncio.StreamReader:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), _file(end, "rb")
        )
        self._transports.append(transport)
        return reader


@contextlib.asynccontextmanager
async def forked(program: str, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[ForkedProgram]:
    """Run `docsluice-{program}` for the length of the block. Killed if a test leaves it running."""
    running = ForkedProgram(program, arguments, environment)
    await running.start()
    try:
        yield running
    finally:
        await running.close()


async def ran(
    program: str, *arguments: str, data: bytes = b"", environment: Mapping[str, str]
) -> subprocess.CompletedProcess[bytes]:
    """Run `docsluice-{program}` to its end with `data` at its standard input."""
    async with asyncio.timeout(WATCHDOG_SECONDS), forked(program, *arguments, environment=environment) as running:
        out, err = await running.communicate(data)
        return subprocess.CompletedProcess([program, *arguments], await running.wait(), out, err)


class ForkedChild(Child):
    """`docsluice-{program}` as a child with a log file. Its parent is the server of forks, which ends with us."""

    def __init__(self, program: str, *arguments: str, log_path: Path, environment: Mapping[str, str]) -> None:
        super().__init__(name=program, command=[program, *arguments], log_path=log_path, environment=environment)

    def _spawn(self) -> subprocess.Popen[bytes]:
        self.log_path.parent.mkdir(parents=True, exist_ok=True)
        program, *arguments = self._command
        return _Forked(self.log_path, program, tuple(arguments), self._environment)


class _Forked(subprocess.Popen[bytes]):
    """The part of `Popen` that a `Child` uses."""

    def __init__(self, *arguments: object) -> None:
        self._process = _forks.Process(target=_become_child, args=arguments)
        with _one_at_a_time:
            self._process.start()  # it asks the others' exit codes too
        assert self._process.pid is not None
        self.pid = self._process.pid
        self.args = ()
        with contextlib.suppress(ProcessLookupError):
            while os.getpgid(self.pid) != self.pid:  # before that, signals to its group reach nobody
                time.sleep(0.001)

    def __del__(self) -> None:
        """Nothing is left to close."""

    def poll(self) -> int | None:
        with _one_at_a_time:
            self.returncode = self._process.exitcode
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        multiprocessing.connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired(self.args, timeout)
        return code


def _file(end: Connection, mode: str) -> io.FileIO:
    """The same end as a file."""
    with end:
        return io.FileIO(os.dup(end.fileno()), mode)


def _become_child(log_path: Path, program: str, arguments: tuple[str, ...], environment: dict[str, str]) -> None:
    """Turn the fork into the program, as a `Child` starts one: leashed, in its own session, with its words in a log."""
    os.setsid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    with Path(os.devnull).open("rb") as nothing, log_path.open("ab") as log:
        _become(program, arguments, environment, nothing, log, log)


def _become(
    program: str, arguments: tuple[str, ...], environment: dict[str, str], *standard: Connection | BinaryIO
) -> None:
    """Turn the fork into the program."""
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    for number, end in enumerate(standard):
        os.dup2(end.fileno(), number)
    for end in standard:
        end.close()
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.argv = [f"docsluice-{program}", *arguments]
    sys.exit(importlib.import_module(f"docsluice_{program}.__main__").main())

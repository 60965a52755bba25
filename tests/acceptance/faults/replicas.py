"""Consumers as processes of their own, and the supervisor that starts one again when it ends by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import docsluice_consumer
from docsluice_local.process import Child, free_port
from tests.integration.forked_program import ForkedChild

ROOT = Path(docsluice_consumer.__file__).parents[2]
"""The checkout whose consumer is on trial."""

_READY_SECONDS = 90.0
_EXIT_SECONDS = 90.0
_LOOK_SECONDS = 0.2
_ANSWER_SECONDS = 10.0
_RESTART_SECONDS = 1.0
_MOST_RESTARTS = 10
_CALLS = "docsluice_llm_requests_total{"
_SLOTS = 'docsluice_admission_limit{constraint="concurrency"}'
_FREE_SLOTS = 'docsluice_admission_available{constraint="concurrency"}'


class Replica:
    """One consumer with a name that stays the same through all its restarts."""

    def __init__(self, *, name: str, settings: Mapping[str, str], log_path: Path, is_forked: bool = False) -> None:
        self.name = name
        self.wanted = False
        """Whether somebody may expect it to run."""
        self.in_flight_at_kills = 0
        """Calls that were out, or answered and not kept yet, by its own account right before each `kill -9`."""
        self.slots_at_kills = 0
        """How many there could have been: between the look and the kill, some more may have gone out."""
        self._port = free_port()
        environment = {
            **settings,
            "PYTHONPATH": str(ROOT),
            "DOCSLUICE_GROUP_INSTANCE_ID": name,
            "DOCSLUICE_HTTP_HOST": "127.0.0.1",
            "DOCSLUICE_HTTP_PORT": str(self._port),
        }
        command = [sys.executable, "-m", "docsluice_consumer", "run"]
        self.child = (
            ForkedChild("consumer", "run", log_path=log_path, environment=environment)
            if is_forked
            else Child(name=name, command=command, log_path=log_path, environment=environment)
        )

    async def start(self) -> None:
        """Start it, and do not wait for it."""
        await asyncio.to_thread(self.child.start)
        self.wanted = True

    async def start_and_wait(self) -> None:
        """Start it, and return when it is ready.

        Raises:
            ChildFailedError: it ended instead, or was not ready in time.
        """
        await asyncio.to_thread(self.child.start, is_ready=self.is_ready, timeout_seconds=_READY_SECONDS)
        self.wanted = True

    async def kill(self) -> None:
        """`kill -9`, after a look at what is in flight."""
        self.wanted = False
        await asyncio.to_thread(self._look_and_kill)

    def _look_and_kill(self) -> None:
        lines = self._metrics() if self.child.running else None
        self.child.kill()
        if lines is not None:  # one that is still starting has nothing in flight
            slots = _sum_of(_SLOTS, lines)
            self.in_flight_at_kills += slots - _sum_of(_FREE_SLOTS, lines)
            self.slots_at_kills += slots

    async def terminate(self) -> int:
        """SIGTERM, and wait for its end.

        Raises:
            TimeoutExpired: it did not end.
        """
        self.wanted = False
        self.child.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.child.wait, timeout_seconds=_EXIT_SECONDS)

    def freeze(self) -> None:
        """SIGSTOP: it is still there, and does nothing."""
        self.child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: to itself, no time has passed."""
        self.child.send_signal(signal.SIGCONT)

    def is_ready(self) -> bool:
        """Whether `/readyz` says so."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def calls(self) -> int | None:
        """How many calls it has had answered, from its metrics. None when it does not say."""
        lines = self._metrics()
        return None if lines is None else _sum_of(_CALLS, lines)

    def _metrics(self) -> list[str] | None:
        """The lines of its metrics. None when it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=_ANSWER_SECONDS) as response:
                return list(response.read().decode().splitlines())
        except (urllib.error.URLError, OSError):
            return None

    def last_words(self) -> str:
        """The log's last line that says something is wrong, else its last line."""
        lines = self.child.log_tail().splitlines()
        bad = [line for line in lines if '"critical"' in line or '"error"' in line or not line.startswith("{")]
        return _short((bad or lines or [""])[-1])


class Replicas:
    """All consumers of one scenario."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas = list(replicas)
        self._dismissed = False
        self.ended_by_themselves: list[str] = []
        """A sentence for each time that a replica ended though nobody had asked it to."""

    def __iter__(self) -> Iterator[Replica]:
        return iter(self._replicas)

    def any_running(self, draws: random.Random) -> Replica | None:
        """One of those that run, at random."""
        running = [replica for replica in self._replicas if replica.wanted and replica.child.running]
        return draws.choice(running) if running else None

    async def start(self) -> None:
        """Start all, and return when all are ready.

        Raises:
            ChildFailedError: one ended instead.
        """
        await asyncio.gather(*(replica.start_and_wait() for replica in self._replicas))

    async def terminate(self) -> list[int]:
        """SIGTERM to all, and their exit codes."""
        running = [replica for replica in self._replicas if replica.child.running]
        return list(await asyncio.gather(*(replica.terminate() for replica in running)))

    async def kill(self) -> None:
        """`kill -9` to all."""
        for replica in self._replicas:
            await replica.kill()

    async def supervise(self) -> None:
        """Start again what ends by itself, as any supervisor would, and write it down. Runs until `dismiss`."""
        while not self._dismissed:
            await asyncio.sleep(_LOOK_SECONDS)
            for replica in self._replicas:
                if replica.wanted and not replica.child.running:
                    await self._revive(replica)

    def dismiss(self) -> None:
        """From now on, an ended replica stays ended."""
        self._dismissed = True
        for replica in self._replicas:
            replica.wanted = False

    async def _revive(self, replica: Replica) -> None:
        code = await asyncio.to_thread(replica.child.wait)
        self.ended_by_themselves.append(f"{replica.name} ended with {code}: {replica.last_words()}")
        if len(self.ended_by_themselves) > _MOST_RESTARTS:
            replica.wanted = False
            return
        await asyncio.sleep(_RESTART_SECONDS)
        if replica.wanted and not replica.child.running:
            await replica.start()


@contextlib.asynccontextmanager
async def supervised(replicas: Replicas) -> AsyncIterator[Replicas]:
    """Watch over them for the length of the block, and leave none running after it."""
    watching = asyncio.create_task(replicas.supervise(), name="supervise")
    try:
        yield replicas
    finally:
        replicas.dismiss()
        await asyncio.gather(watching, return_exceptions=True)
        await replicas.kill()


def _sum_of(prefix: str, lines: Sequence[str]) -> int:
    """The sum of all samples that begin so."""
    return round(sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(prefix)))


def _short(line: str) -> str:
    """A log line's event and error."""
    try:
        said = json.loads(line)
    except ValueError:
        return line.strip()[:300]
    return " ".join(str(said[name]) for name in ("event", "error", "exception") if name in said)[:300]

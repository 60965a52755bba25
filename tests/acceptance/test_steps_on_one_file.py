"""Two processes keep their steps in one file: one is killed again and again, or the file is spoilt in their hands."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from docsluice_consumer.store import stored_values
from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_local.process import Child
from tests.acceptance.steps_writer import MOST_BYTES, step_of
from tests.fakes.step_contracts import DAY, fingerprint

ROOT = Path(__file__).parents[2]
SURVIVORS = 5000
LIVES = 5
EACH = 1000
"""So many steps are put by the one that goes on, and would be by the other in each of its runs."""
_ALL = SURVIVORS + LIVES * EACH


def _command(path: Path, numbers: range) -> list[str]:
    arguments = (path, _acknowledged(path, numbers), numbers.start, len(numbers))
    return [sys.executable, "-m", "tests.acceptance.steps_writer", *map(str, arguments)]


def _writer(path: Path, numbers: range) -> Child:
    return Child(
        name=f"writer {numbers}",
        command=_command(path, numbers),
        log_path=path.parent / f"writer-{numbers.start}.log",
        environment={"PYTHONPATH": str(ROOT)},
    )


def _acknowledged(path: Path, numbers: range) -> Path:
    return path.parent / f"acknowledged-{numbers.start}"


def _told(path: Path, numbers: range) -> list[int]:
    """Which of them the writer has been told are kept."""
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in _acknowledged(path, numbers).read_text().split()]
    return []


async def test_a_kill_loses_no_step_that_was_put(tmp_path: Path) -> None:
    """And spoils none: of ten thousand, all of the one that goes on are there, of the other all that it was told."""
    path = tmp_path / "state" / "steps.sqlite3"
    path.parent.mkdir()
    survivor = _writer(path, range(SURVIVORS))
    try:
        await asyncio.to_thread(survivor.start)
        told = [await _killed(path, range(first, first + EACH)) for first in range(SURVIVORS, _ALL, EACH)]
        assert await asyncio.to_thread(survivor.wait, timeout_seconds=60) == 0, survivor.log_tail()
    finally:
        survivor.kill()
    assert sorted(_told(path, range(SURVIVORS))) == list(range(SURVIVORS))
    assert any(len(numbers) < EACH for numbers in told), "killed too late to prove anything"
    await _all_there(path, [*range(SURVIVORS), *(number for numbers in told for number in numbers)])
    _all_well(path)


async def _killed(path: Path, numbers: range) -> list[int]:
    """Put them in a process that is killed somewhere in the middle of it. Gives those that it was told are kept."""
    enough, victim = random.randrange(1, EACH * 9 // 10), _writer(path, numbers)
    try:
        await asyncio.to_thread(victim.start)
        async with asyncio.timeout(60):
            while len(_told(path, numbers)) < enough:
                assert victim.running or len(_told(path, numbers)) >= enough, victim.log_tail()
                await asyncio.sleep(0.001)
    finally:
        victim.kill()
    return _told(path, numbers)


async def _all_there(path: Path, numbers: list[int]) -> None:
    store = SqliteStore(path=path, max_bytes=MOST_BYTES, max_age_seconds=DAY)
    got = await asyncio.gather(*(store.get(fingerprint(number)) for number in numbers))
    await store.close()
    assert [number for number, step in zip(numbers, got, strict=True) if step != step_of(number)] == []


def _all_well(path: Path) -> None:
    """The file, and each entry of it, also those of which nobody was told."""
    expected = {fingerprint(number): step_of(number) for number in range(_ALL)}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        entries = connection.execute("select fingerprint, step from steps").fetchall()
    assert [name for name, written in entries if stored_values.step_of(written) != expected[name]] == []
    assert not path.with_name("steps.sqlite3.damaged").exists()


def _deleted(path: Path) -> None:
    path.unlink()


def _damaged(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        # Or all of it would be in the log, and nobody the worse for what becomes of the file.
        assert connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0
    path.write_bytes(b"no database at all, and longer than a header of one would be. " * 5000)


@pytest.mark.parametrize(("fault", "events"), [(_deleted, []), (_damaged, ["store.damaged"])])
async def test_a_new_file_is_everybodys(tmp_path: Path, fault: Callable[[Path], None], events: list[str]) -> None:
    """The old one is open in another process still, which does nothing: then it goes on, with the new file."""
    path, theirs, ours = tmp_path / "steps.sqlite3", range(200), range(100, 300)
    async with _idle_writer(path, theirs) as writer:
        fault(path)
        store = SqliteStore(path=path, max_bytes=MOST_BYTES, max_age_seconds=DAY)
        with capture_logs() as logs:
            await asyncio.gather(*(store.put(fingerprint(number), step_of(number)) for number in ours))
            assert await _known(store) == set(ours)
            await _write_again(writer)
            assert await _known(store) == {*theirs, *ours}
        said, _ = await writer.communicate(b"")
        assert (writer.returncode, said) == (0, b"")
        await store.close()
    assert [line["event"] for line in logs] == events
    await _all_there(path, [*theirs, *ours])


@contextlib.asynccontextmanager
async def _idle_writer(path: Path, numbers: range) -> AsyncIterator[asyncio.subprocess.Process]:
    """One that has put them, and waits with the file open."""
    writer = await asyncio.create_subprocess_exec(
        *_command(path, numbers), env={**os.environ, "PYTHONPATH": str(ROOT)}, stdin=PIPE, stdout=PIPE
    )
    try:
        await _has_put(writer)
        yield writer
    finally:
        with contextlib.suppress(ProcessLookupError):
            writer.kill()
        await writer.wait()


async def _write_again(writer: asyncio.subprocess.Process) -> None:
    assert writer.stdin is not None
    writer.stdin.write(b"again\n")
    await _has_put(writer)


async def _has_put(writer: asyncio.subprocess.Process) -> None:
    assert writer.stdout is not None
    async with asyncio.timeout(60):
        assert await writer.stdout.readline() == b"all put\n"


async def _known(store: SqliteStore) -> set[int]:
    """Which of the first few are there."""
    got = await asyncio.gather(*(store.get(fingerprint(number)) for number in range(400)))
    return {number for number, step in enumerate(got) if step == step_of(number)}

"""Two processes keep their steps in one file, and one of them is killed."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import sqlite3
import sys
from pathlib import Path

from consumer.store.sqlite_steps import SqliteSteps
from consumer.store.steps import PaidStep
from deploy.local.process import Child
from tests.acceptance.steps_writer import MOST_BYTES, step_of
from tests.fakes.step_contracts import DAY, fingerprint

ROOT = Path(__file__).parents[2]
EACH = 5000


def _writer(path: Path, first: int) -> Child:
    command = [sys.executable, "-m", "tests.acceptance.steps_writer"]
    return Child(
        name=f"writer {first}",
        command=[*command, str(path), str(_acknowledged(path, first)), str(first), str(EACH)],
        log_path=path.parent / f"writer-{first}.log",
        environment={"PYTHONPATH": str(ROOT)},
    )


def _acknowledged(path: Path, first: int) -> Path:
    return path.parent / f"acknowledged-{first}"


def _numbers(path: Path, first: int) -> list[int]:
    """What a writer has been told is kept."""
    with contextlib.suppress(FileNotFoundError):
        return [int(line) for line in _acknowledged(path, first).read_text().split()]
    return []


async def test_a_kill_loses_no_step_that_was_put(tmp_path: Path) -> None:
    """And spoils none: of ten thousand, all of the one that goes on are there, of the other all that it was told."""
    path, killed_after = tmp_path / "state" / "steps.sqlite3", random.randrange(1, EACH * 3 // 4)
    path.parent.mkdir()
    survivor, victim = _writer(path, 0), _writer(path, EACH)
    try:
        await asyncio.gather(*(asyncio.to_thread(child.start) for child in (survivor, victim)))
        async with asyncio.timeout(60):
            while len(_numbers(path, EACH)) < killed_after:
                assert victim.running, victim.log_tail()
                await asyncio.sleep(0.002)
        victim.send_signal(signal.SIGKILL)
        assert await asyncio.to_thread(victim.wait, timeout_seconds=60) == -signal.SIGKILL
        assert await asyncio.to_thread(survivor.wait, timeout_seconds=60) == 0, survivor.log_tail()
    finally:
        for child in (survivor, victim):
            child.kill()
    assert sorted(_numbers(path, 0)) == list(range(EACH))
    told = _numbers(path, EACH)
    assert killed_after <= len(told) < EACH, "killed too late to prove anything"
    await _all_there(path, [*range(EACH), *told])
    _all_well(path)


async def _all_there(path: Path, numbers: list[int]) -> None:
    store = SqliteSteps(path=path, max_bytes=MOST_BYTES, max_age_seconds=DAY)
    got = await asyncio.gather(*(store.get(fingerprint(number)) for number in numbers))
    await store.close()
    lost = [number for number, step in zip(numbers, got, strict=True) if step != step_of(number)]
    assert lost == []


def _all_well(path: Path) -> None:
    """The file, and each entry of it, also those of which nobody was told."""
    expected = {fingerprint(number): step_of(number) for number in range(2 * EACH)}
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
        entries = connection.execute("select fingerprint, step from steps").fetchall()
    assert [name for name, written in entries if PaidStep.read(written) != expected[name]] == []
    assert not path.with_name("steps.sqlite3.damaged").exists()

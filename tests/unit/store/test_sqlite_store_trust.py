"""A file of steps on a disk that does not answer, laid there by somebody else, or holding what nobody has put there."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_consumer.store.step_store import NotBelieved, StoreAway, StoreUnusable
from tests.fakes.step_contracts import DAY, PLENTY, fingerprint, paid
from tests.fakes.step_files import fill, looked_into, opened


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "steps.sqlite3"


# A disk that does not answer


class StuckClock:
    """A clock that is asked in the store's thread, and does not answer until it is told to."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self) -> float:
        self.answers.wait(timeout=60)
        return 1_800_000_000.0


async def _kept(store: SqliteStore) -> None:
    """Put a step, however long a busy machine takes: the store's deadline is for a disk that hangs."""
    while True:
        with contextlib.suppress(StoreAway):
            return await store.put(fingerprint("a"), paid())


async def test_a_disk_that_does_not_answer_is_a_store_that_is_away(path: Path) -> None:
    """Nobody waits longer than the deadline, and no more work is piled up. When it answers, all goes on."""
    clock = StuckClock()
    store = SqliteStore(path=path, max_bytes=PLENTY, max_age_seconds=DAY, clock=clock, answer_seconds=0.1)
    await _kept(store)
    clock.answers.clear()
    asked = [store.get(fingerprint("a")), store.put(fingerprint("b"), paid("b")), store.get(fingerprint("c"))]
    for _ in range(3):
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert [str(end) for end in ends] == ["no answer within 0.1 seconds"] * 3
        assert {type(end) for end in ends} == {StoreAway}
        asked = [store.get(fingerprint(number)) for number in range(3)]
        assert store._thread._jobs.qsize() == 0
    for one in asked:
        one.close()
    clock.answers.set()
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(StoreAway):
                assert await store.get(fingerprint("b")) == paid("b"), "it is kept though nobody waited for it"
                break
            await asyncio.sleep(0.01)
    await store.close()


async def test_closing_does_not_wait_for_a_disk_that_does_not_answer(path: Path) -> None:
    """Nor does the process's end: the thread is left behind."""
    clock = StuckClock()
    store = SqliteStore(path=path, max_bytes=PLENTY, max_age_seconds=DAY, clock=clock, answer_seconds=0.1)
    await _kept(store)
    clock.answers.clear()
    with pytest.raises(StoreAway):
        await store.get(fingerprint("a"))
    async with asyncio.timeout(20):
        await store.close()
    assert [thread.daemon for thread in threading.enumerate() if thread.name == "steps"] == [True]
    clock.answers.set()


def test_a_process_ends_whose_disk_does_not_answer(tmp_path: Path) -> None:
    """With its own exit code, and without a signal that nobody can catch."""
    program = """
import asyncio, pathlib, sys, threading
from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_consumer.store.step_store import StoreAway

async def main():
    clock = lambda: threading.Event().wait() and 0.0
    store = SqliteStore(
        path=pathlib.Path(sys.argv[1]), max_bytes=10**6, max_age_seconds=1.0, clock=clock, answer_seconds=0.1
    )
    try:
        await store.get("a")
    except StoreAway:
        print("away", flush=True)
    await store.close()

asyncio.run(main())
sys.exit(7)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "steps.sqlite3"], capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (7, b"away\n", b"")


# Ours alone


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
async def test_nothing_is_written_through_a_link(tmp_path: Path, suffix: str) -> None:
    """Somebody else may have laid it there: the store cannot be used, and what the link leads to is untouched."""
    path, elsewhere = tmp_path / "steps.sqlite3", tmp_path / "elsewhere"
    elsewhere.write_bytes(b"")
    if suffix:
        async with opened(path) as store:
            await store.put(fingerprint("a"), paid())
    path.with_name(path.name + suffix).symlink_to(elsewhere)
    async with opened(path) as store:
        with pytest.raises(StoreUnusable, match=rf"^steps.sqlite3{suffix} is a symbolic link"):
            await store.put(fingerprint("a"), paid())
    assert elsewhere.read_bytes() == b""


async def test_a_pipe_in_its_place(path: Path) -> None:
    """To open it would wait for ever."""
    os.mkfifo(path)
    async with opened(path) as store:
        with pytest.raises(StoreUnusable, match=r"^steps.sqlite3 is no file$"):
            await store.get(fingerprint("a"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_a_file_of_another_user_is_refused(path: Path) -> None:
    """What is in it is that user's word, and what is written into it that user's to read."""
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
    os.chown(path, 12345, -1)
    async with opened(path) as store:
        with pytest.raises(StoreUnusable, match=r"belongs to another user \(number 12345\)"):
            await store.get(fingerprint("a"))


async def test_the_folder_is_made_for_us_alone(tmp_path: Path) -> None:
    """One that is there stays as it is, for others may use it."""
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    for folder, mode in ((tmp_path / "new", 0o700), (there, 0o755)):
        async with opened(folder / "steps.sqlite3") as store:
            await store.put(fingerprint("a"), paid())
        assert stat.S_IMODE(folder.stat().st_mode) == mode


# Damage that SQLite itself takes for something else


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(18, b"\x07", id="it looks like one that may only be read"),
        pytest.param(47, b"\x63", id="of a format that is not known"),
        pytest.param(59, b"\x02", id="in another encoding"),
    ],
)
async def test_a_byte_of_the_header_is_damage_too(path: Path, place: int, value: bytes) -> None:
    """A store that waits for a person would wait for ever."""
    await fill(path)
    with path.open("r+b") as file:
        file.seek(place)
        file.write(value)
    async with opened(path) as store:
        await store.put(fingerprint(1), paid("again"))
        assert await store.get(fingerprint(1)) == paid("again")


async def test_our_own_table_with_another_name_is_damage(path: Path) -> None:
    """Somebody else's table would be left alone, but this file says of itself that it is ours."""
    await fill(path)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"written_at real", b"writted_at real"))
    with capture_logs() as logs:
        async with opened(path) as store:
            assert await store.get(fingerprint(1)) is None
            await store.put(fingerprint(1), paid("again"))
            assert await store.get(fingerprint(1)) == paid("again")
    assert [line["event"] for line in logs] == ["store.damaged"]


@pytest.mark.parametrize(
    "change",
    [
        "step = 'text'",
        "step = 5",
        "step = zeroblob(20000000)",
        "step = randomblob(10)",
    ],
)
async def test_a_column_of_another_kind_is_not_believed(path: Path, change: str) -> None:
    """Nor is it read into memory when it is larger than any step."""
    await fill(path)
    with looked_into(path) as connection:
        connection.execute(f"update steps set {change} where fingerprint = ?", (fingerprint(1),))  # noqa: S608
    async with opened(path) as store:
        with pytest.raises(NotBelieved):
            await store.get(fingerprint(1))
        assert await store.get(fingerprint(2)) == paid("answer 2")
        await store.put(fingerprint(1), paid("again"))
        assert await store.get(fingerprint(1)) == paid("again")


@pytest.mark.parametrize("written_at", ["'soon'", "9e999", "-9e999", "x'ff'"])
async def test_a_time_that_is_none_is_too_old(path: Path, written_at: str) -> None:
    """It goes with what is too old, and stops nothing."""
    await fill(path)
    with looked_into(path) as connection:
        connection.execute(f"update steps set written_at = {written_at}")  # noqa: S608
    async with opened(path) as store:
        assert await store.get(fingerprint(1)) is None
        await store.put(fingerprint(1), paid("again"))
        assert await store.get(fingerprint(1)) == paid("again")
    with looked_into(path) as connection:
        assert connection.execute("select count(*) from steps").fetchone() == (1,)

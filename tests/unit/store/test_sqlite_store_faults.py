"""A file of steps that is damaged, locked, full, or not there."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from docsluice_consumer.store import sqlite_file
from docsluice_consumer.store.sqlite_file import SqliteFile
from docsluice_consumer.store.step_store import StoreAway, StoreUnusable
from tests.fakes.step_contracts import fingerprint, paid
from tests.fakes.step_files import fill, in_its_thread, looked_into, opened

RUBBISH = b"no database at all, and longer than a header of one would be. " * 500


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "steps.sqlite3"


def touch(path: Path) -> None:
    """Change every entry a little, so that no open connection has its pages cached any more."""
    with looked_into(path) as connection:
        connection.execute("update steps set written_at = written_at + 0.001")
        assert connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0] == 0


# Damage


def _overwritten(path: Path) -> None:
    path.write_bytes(RUBBISH)


def _short(path: Path) -> None:
    path.write_bytes(b"short")


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def _spoilt(path: Path) -> None:
    """All but the first page."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


DAMAGES: list[Callable[[Path], None]] = [_overwritten, _short, _cut, _spoilt]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_found_at_opening(path: Path, damage: Callable[[Path], None]) -> None:
    """The file is kept under another name, that is said once, and a new one begun. What it held is unknown."""
    await fill(path)
    damage(path)
    damaged = path.read_bytes()
    with capture_logs() as logs:
        async with opened(path) as store:
            assert await store.get(fingerprint(1)) is None
            await store.put(fingerprint(1), paid("again"))
            assert await store.get(fingerprint(1)) == paid("again")
        async with opened(path) as store:
            assert await store.get(fingerprint(1)) == paid("again")
    assert [(line["event"], line["set_aside"]) for line in logs] == [("store.damaged", "steps.sqlite3.damaged")]
    assert path.with_name("steps.sqlite3.damaged").read_bytes() == damaged
    assert sorted(found.name for found in path.parent.iterdir()) == ["steps.sqlite3", "steps.sqlite3.damaged"]


@pytest.mark.parametrize("is_put", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_found_while_running(path: Path, damage: Callable[[Path], None], *, is_put: bool) -> None:
    """No caller notices, whether of a put or a get."""
    await fill(path)
    async with opened(path) as store:
        assert await store.get(fingerprint(1)) == paid("answer 1")
        touch(path)
        damage(path)
        with capture_logs() as logs:
            if is_put:
                await asyncio.gather(*(store.put(fingerprint(n), paid("again")) for n in range(500)))
            got = await asyncio.gather(*(store.get(fingerprint(n)) for n in range(500)))
            assert got == [paid("again") if is_put else None] * 500
            await store.put(fingerprint(1), paid("then"))
            assert await store.get(fingerprint(1)) == paid("then")
    assert [line["event"] for line in logs] == ["store.damaged"]
    with looked_into(path) as connection:
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)


async def test_a_second_damage_is_one_more(path: Path) -> None:
    """Of the files that are set aside the last one is kept, or they would fill the disk."""
    async with opened(path) as store:
        with capture_logs() as logs:
            for n in range(3):
                await store.put(fingerprint(n), paid())
                touch(path)
                path.write_bytes(RUBBISH + bytes([n]))
        assert await store.get(fingerprint("a")) is None
    assert len(logs) == 2
    assert path.with_name("steps.sqlite3.damaged").read_bytes() == RUBBISH + bytes([2])


@pytest.mark.parametrize("damage", DAMAGES)
async def test_all_who_have_it_open_find_the_damage_at_once(path: Path, damage: Callable[[Path], None]) -> None:
    """One of them sets it aside. No one sets aside the new one, and what each puts is there for all."""
    for trial in range(5):
        await fill(path)
        async with contextlib.AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(opened(path)) for _ in range(4)]
            for store in stores:
                assert await store.get(fingerprint(1)) is not None
            touch(path)
            damage(path)
            with capture_logs() as logs:
                await asyncio.gather(
                    *(store.put(fingerprint(f"{trial} {n}"), paid(n)) for n, store in enumerate(stores))
                )
                for store in stores:
                    got = await asyncio.gather(*(store.get(fingerprint(f"{trial} {n}")) for n in range(4)))
                    assert got == [paid(n) for n in range(4)]
        assert [line["event"] for line in logs] == ["store.damaged"]
        async with opened(path) as store:
            assert await store.get(fingerprint(f"{trial} 0")) == paid(0)
        path.unlink()


async def test_who_comes_late_leaves_the_new_file_alone(path: Path) -> None:
    """One that has the damaged file open closes it, long after another has begun a new one: nothing is lost by that."""
    await fill(path)
    async with opened(path) as store:
        async with opened(path) as late:
            for one in (store, late):
                assert await one.get(fingerprint(1)) is not None
            touch(path)
            _spoilt(path)
            with capture_logs():
                await store.put(fingerprint("new"), paid())
            assert path.with_name("steps.sqlite3-wal").stat().st_size > 0
        assert path.with_name("steps.sqlite3-wal").stat().st_size > 0
        async with opened(path) as third:
            assert await third.get(fingerprint("new")) == paid()
        await store.put(fingerprint("newer"), paid())
    async with opened(path) as store:
        assert await store.get(fingerprint("new")) == paid()
        assert await store.get(fingerprint("newer")) == paid()


async def test_who_comes_late_goes_on_with_the_new_file(path: Path) -> None:
    """It need not meet the damage itself."""
    async with opened(path) as store, opened(path) as late:
        for one in (store, late):
            await one.put(fingerprint("old"), paid())
        touch(path)
        path.write_bytes(RUBBISH)
        with capture_logs() as logs:
            await store.put(fingerprint("new"), paid())
            assert await late.get(fingerprint("new")) == paid()
            assert await late.get(fingerprint("old")) is None
    assert len(logs) == 1


async def test_a_file_that_somebody_deletes_is_begun_anew(path: Path) -> None:
    """While it is open, also with what lies beside it, and with the folder."""
    async with opened(path) as store:
        for pattern in ("*.sqlite3", "*"):
            await store.put(fingerprint("a"), paid())
            for found in path.parent.glob(pattern):
                found.unlink()
            assert await store.get(fingerprint("a")) is None
            await store.put(fingerprint("b"), paid())
            async with opened(path) as other:
                assert await other.get(fingerprint("b")) == paid()


async def test_a_log_without_its_file_spoils_nothing(path: Path) -> None:
    """A person who deletes the file may leave what lies beside it."""
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
        beside = {found: found.read_bytes() for found in path.parent.glob("*-*")}
    path.unlink()
    for found, content in beside.items():
        found.write_bytes(content)
    assert len(beside) == 2
    with capture_logs() as logs:
        async with opened(path) as store:
            assert await store.get(fingerprint("a")) is None
            await store.put(fingerprint("b"), paid())
    assert logs == []


# Away, and back again


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "BUSY_SECONDS", 0.05)


@pytest.mark.usefixtures("_impatient")
async def test_while_another_process_writes_and_writes_nothing_can_be_put(path: Path) -> None:
    """It can be got, and put when the other has done."""
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
        with looked_into(path) as other:
            other.execute("begin immediate")
            with pytest.raises(StoreAway, match=r"^it is locked by another process$"):
                await store.put(fingerprint("b"), paid())
            assert await store.get(fingerprint("a")) == paid()
            other.execute("rollback")
        await store.put(fingerprint("b"), paid())
        assert await store.get(fingerprint("b")) == paid()


@pytest.mark.usefixtures("_impatient")
async def test_a_file_that_somebody_keeps_for_himself(path: Path) -> None:
    """It is locked for getting, too."""
    with looked_into(path) as other:
        other.execute("begin exclusive")
        other.execute("create table own (a)")
        async with opened(path) as store:
            for _ in range(2):
                with pytest.raises(StoreAway, match=r"^it is locked by another process$"):
                    await store.get(fingerprint("a"))
            other.execute("commit")
            assert await store.get(fingerprint("a")) is None


@pytest.mark.usefixtures("_impatient")
async def test_whoever_opens_it_waits_for_another_who_does(path: Path) -> None:
    """Not for ever."""
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        async with opened(path) as store:
            with pytest.raises(StoreAway, match=r"^it is locked by another process$"):
                await store.get(fingerprint("a"))
            fcntl.flock(handle, fcntl.LOCK_UN)
            assert await store.get(fingerprint("a")) is None
    finally:
        os.close(handle)


@contextlib.contextmanager
def _no_file_larger_than(size: int) -> Iterator[None]:
    """The system refuses to write on, as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_disk_that_takes_no_more(path: Path) -> None:
    """It can still be got what is there, and put, when there is room again."""
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
        with _no_file_larger_than(500_000):
            with pytest.raises(StoreAway, match=r"^the disk (fails|is full)$"):
                await store.put(fingerprint("b"), paid("x" * 1_000_000))
            assert await store.get(fingerprint("a")) == paid()
            assert await store.get(fingerprint("b")) is None
        await store.put(fingerprint("b"), paid("x" * 1_000_000))
        assert await store.get(fingerprint("b")) == paid("x" * 1_000_000)


@pytest.mark.parametrize(
    ("pragma", "words"),
    [("pragma max_page_count = 1", "the disk is full"), ("pragma query_only = on", "it cannot be written to")],
)
async def test_what_sqlite_says_is_told_in_a_few_words(path: Path, pragma: str, words: str) -> None:
    """The connection that has failed is not used again: the next one may find the disk well."""
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
        await in_its_thread(store, lambda connection: connection.execute(pragma).fetchall())
        with pytest.raises(StoreAway, match=f"^{words}$"):
            await store.put(fingerprint("b"), paid("x" * 100_000))
        await store.put(fingerprint("b"), paid("y" * 100_000))
        assert await store.get(fingerprint("a")) == paid()
        assert await store.get(fingerprint("b")) == paid("y" * 100_000)


@pytest.mark.parametrize(("free_blocks", "words"), [(7, "the disk is full"), (8, "the disk fails")])
async def test_a_disk_without_room_for_the_shared_memory_is_full(
    path: Path, monkeypatch: pytest.MonkeyPatch, free_blocks: int, words: str
) -> None:
    """SQLite calls it an error of the disk, which would send a person to look at the hardware."""

    def no_room(connection: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
        raise error

    file = SqliteFile(path=path, opening=(), mark="", aside=path.with_name("aside"), say_damaged=print)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free_blocks, f_frsize=4096))
    with pytest.raises(StoreAway, match=f"^{words}$"):
        file.do(no_room)


async def test_a_place_where_no_file_can_be(tmp_path: Path) -> None:
    """It is said in a few words, without the path, and tried again each time."""
    for folder, obstacle in ((tmp_path / "file", tmp_path / "file"), (tmp_path / "file" / "x", tmp_path / "file")):
        obstacle.write_text("not a folder")
        async with opened(folder / "steps.sqlite3") as store:
            for _ in range(2):
                with pytest.raises(StoreUnusable, match=r"^(not a directory|file exists)$"):
                    await store.put(fingerprint("a"), paid())
            obstacle.unlink()
            await store.put(fingerprint("a"), paid())
            assert await store.get(fingerprint("a")) == paid()
        for found in folder.iterdir():
            found.unlink()
        folder.rmdir()
        if obstacle.exists():
            obstacle.rmdir()


async def test_a_folder_in_its_place(path: Path) -> None:
    """It is no file, and no damaged one either."""
    path.mkdir()
    async with opened(path) as store:
        with pytest.raises(StoreUnusable, match=r"^steps.sqlite3 is no file$"):
            await store.get(fingerprint("a"))
        path.rmdir()
        assert await store.get(fingerprint("a")) is None


async def test_a_table_that_is_not_ours_is_left_alone(path: Path) -> None:
    """Somebody else's database is neither damaged nor to be set aside."""
    with looked_into(path) as connection:
        connection.execute("create table steps (other text)")
    async with opened(path) as store:
        with pytest.raises(StoreUnusable, match=re.escape("no such column")):
            await store.get(fingerprint("a"))
    with looked_into(path) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("steps",)]


async def test_a_table_that_somebody_drops_is_made_again(path: Path) -> None:
    """One caller gets an error, the next one does not."""
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
        with looked_into(path) as connection:
            connection.execute("drop table steps")
        with pytest.raises(StoreAway, match="no such table"):
            await store.get(fingerprint("a"))
        await store.put(fingerprint("a"), paid())
        assert await store.get(fingerprint("a")) == paid()


async def test_a_bug_is_no_failure_of_the_store(path: Path) -> None:
    """It is raised as what it is, and nobody is left waiting."""
    async with opened(path) as store:
        store._file.get = None  # type: ignore[assignment,method-assign]
        with pytest.raises(TypeError):
            await store.get(fingerprint("a"))
        await store.put(fingerprint("a"), paid())

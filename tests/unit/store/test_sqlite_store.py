"""Steps in one SQLite file: what is kept of them, how much, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice_consumer.store.memory_store import MemoryStore
from docsluice_consumer.store.sqlite_store import SqliteStore
from docsluice_consumer.store.step_store import PaidStep, StepStore
from tests.examples import examples
from tests.fakes.step_contracts import (
    DAY,
    PLENTY,
    AgingStepStoreContract,
    LastingStepStoreContract,
    SetClock,
    fingerprint,
    paid,
)
from tests.fakes.step_files import in_its_thread, looked_into

MIB = 1024 * 1024


class TestSqliteSteps(AgingStepStoreContract, LastingStepStoreContract):
    """The whole contract."""

    _path: Path

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self._path = tmp_path / "state" / "steps.sqlite3"

    def opened(self) -> StepStore:
        return SqliteStore(path=self._path, max_bytes=PLENTY, max_age_seconds=DAY, clock=self.clock)

    async def spoil(self, store: StepStore, fingerprint: str, written: bytes) -> None:
        with looked_into(self._path) as connection:
            connection.execute("update steps set step = ? where fingerprint = ?", (written, fingerprint))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "steps.sqlite3"


@contextlib.asynccontextmanager
async def opened(path: Path, *, max_bytes: int = PLENTY, clock: SetClock | None = None) -> AsyncIterator[SqliteStore]:
    """A store for the length of the block."""
    store = SqliteStore(path=path, max_bytes=max_bytes, max_age_seconds=DAY, clock=clock or SetClock())
    try:
        yield store
    finally:
        await store.close()


def count(path: Path) -> int:
    """Of entries in the file."""
    with looked_into(path) as connection:
        found: int = connection.execute("select count(*) from steps").fetchone()[0]
    return found


def live_bytes(path: Path) -> int:
    """Of pages that are in use."""
    with looked_into(path) as connection:
        pages, free, size = (
            connection.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
    return int((pages - free) * size)


async def test_nothing_is_on_the_disk_before_it_is_used(tmp_path: Path) -> None:
    """Then the folder too, and after closing nothing but the file."""
    folder = tmp_path / "there" / "and there"
    async with opened(folder / "steps.sqlite3") as store:
        assert list(tmp_path.iterdir()) == []
        assert await store.get(fingerprint("a")) is None
        assert (folder / "steps.sqlite3").exists()
    assert [found.name for found in folder.iterdir()] == ["steps.sqlite3"]


async def test_only_its_owner_may_read_it(path: Path) -> None:
    """Answers are made of documents."""
    before = os.umask(0)
    try:
        async with opened(path) as store:
            await store.put(fingerprint("a"), paid())
            modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["steps.sqlite3", "steps.sqlite3-wal", "steps.sqlite3-shm"], 0o600)


async def test_a_mode_that_a_person_has_set_is_left(path: Path) -> None:
    """A group's right to read may be for a backup."""
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
    path.chmod(0o640)
    async with opened(path) as store:
        assert await store.get(fingerprint("a")) == paid()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


async def test_puts_of_one_moment_are_one_transaction(path: Path) -> None:
    """Or each would pay for one of its own."""
    said: list[str] = []
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
        await in_its_thread(store, lambda connection: connection.set_trace_callback(said.append))
        await asyncio.gather(*(store.put(fingerprint(n), paid()) for n in range(200)))
        await asyncio.gather(*(store.get(fingerprint(n)) for n in range(200)))
        await in_its_thread(store, lambda connection: connection.set_trace_callback(None))
    assert said.count("commit") == 1
    assert len([line for line in said if "json_each" in line]) == 1


async def test_it_is_never_larger_than_it_may_be(path: Path) -> None:
    """While twenty times as much is put, of all sizes. The latest is there, the first is not."""
    written = n = 0
    async with opened(path, max_bytes=MIB) as store:
        while written < 20 * MIB:
            steps = [paid("x" * (k * k * 7919 % (60_000 if k % 50 == 0 else 3_000))) for k in range(n, n + 100)]
            await asyncio.gather(*(store.put(fingerprint(n + k), step) for k, step in enumerate(steps)))
            written, n = written + sum(len(step.written()) for step in steps), n + len(steps)
            assert live_bytes(path) <= MIB
            assert path.stat().st_size <= 2 * MIB
            assert await store.get(fingerprint(n - 1)) == steps[-1]
        assert await store.get(fingerprint(0)) is None
        assert path.with_name("steps.sqlite3-wal").stat().st_size <= 16 * MIB
        with looked_into(path) as connection:
            ids = [one for (one,) in connection.execute("select id from steps order by id")]
            assert ids == list(range(ids[0], n + 1)), "those put first have gone first"
        assert live_bytes(path) > MIB * 0.8


async def test_what_is_put_again_is_put_last(path: Path) -> None:
    """It is not among the oldest any more."""
    async with opened(path, max_bytes=MIB) as store:
        for n in range(3000):
            await store.put(fingerprint(n), paid("x" * 1000))
            if n % 100 == 0:
                await store.put(fingerprint("again"), paid(n))
        assert await store.get(fingerprint("again")) == paid(2900)
        assert await store.get(fingerprint(2000)) is None


async def test_a_bound_that_was_lowered_is_met_in_time(path: Path) -> None:
    """A little at a time, so that callers need not wait for it. Nobody has to put anything for it."""
    async with opened(path) as store:
        await asyncio.gather(*(store.put(fingerprint(n), paid("x" * 500)) for n in range(5000)))
    assert live_bytes(path) > 4 * MIB
    async with opened(path, max_bytes=MIB) as store:
        assert await store.get(fingerprint(4999)) == paid("x" * 500)
        assert count(path) > 3000
        async with asyncio.timeout(20):
            while live_bytes(path) > MIB:
                await asyncio.sleep(0.01)
        assert await store.get(fingerprint(4999)) == paid("x" * 500)


async def test_what_is_larger_than_the_store_drives_nothing_out(path: Path) -> None:
    """It is not kept, and neither is a store too small for anything a trap."""
    async with opened(path, max_bytes=MIB) as store:
        await store.put(fingerprint("a"), paid())
        await store.put(fingerprint("large"), paid("x" * MIB))
        assert await store.get(fingerprint("large")) is None
        assert await store.get(fingerprint("a")) == paid()
    async with opened(path, max_bytes=5000) as store:
        await store.put(fingerprint("b"), paid())
        assert await store.get(fingerprint("b")) is None


async def test_what_is_too_old_is_deleted(path: Path) -> None:
    """When anything is asked, and no more than that."""
    clock = SetClock()
    async with opened(path, clock=clock) as store:
        for name in ("old", "young"):
            await asyncio.gather(*(store.put(fingerprint(f"{name} {n}"), paid()) for n in range(2500)))
            clock.now += DAY * 0.75
        assert await store.get(fingerprint("old 0")) is None
        async with asyncio.timeout(20):
            while count(path) > 2500:
                await asyncio.sleep(0.01)
        assert await store.get(fingerprint("young 0")) == paid()
        clock.now += DAY
        await store.put(fingerprint("last"), paid())
        async with asyncio.timeout(20):
            while count(path) > 1:
                await asyncio.sleep(0.01)
        assert await store.get(fingerprint("last")) == paid()


@pytest.mark.parametrize("times", [10, 25])
async def test_the_log_beside_it_is_bounded(path: Path, times: int) -> None:
    """It grows while somebody reads and reads. When they have done, it is cut."""
    log = path.with_name("steps.sqlite3-wal")
    async with opened(path) as store:
        await store.put(fingerprint("a"), paid())
        with looked_into(path) as reader:
            reader.execute("begin")
            reader.execute("select * from steps").fetchall()
            for n in range(times):
                await store.put(fingerprint("a"), paid(str(n % 10) * MIB))
            assert log.stat().st_size > times * MIB
            reader.execute("commit")
        for n in range(3):
            await store.put(fingerprint("b"), paid(n))
        assert log.stat().st_size <= 4 * MIB
        assert await store.get(fingerprint("b")) == paid(2)


NAMES = st.integers(0, 5)
ANSWERS = st.text(max_size=20)
TURNS = st.lists(
    st.one_of(
        st.just("reopen"),
        st.lists(st.tuples(NAMES, st.one_of(st.none(), ANSWERS)), min_size=1, max_size=8),
    ),
    max_size=15,
)
"""Each is what is asked at once: puts of answers, and gets (None), or closing the store and opening it again."""


@given(turns=TURNS)
@settings(max_examples=examples(60))
def test_it_is_like_a_dict(turns: list[str | list[tuple[int, str | None]]]) -> None:
    """Whatever is asked in whatever order, and at once: a file, and memory as long as it is not closed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "steps.sqlite3"
        asyncio.run(_compare(turns, lambda: SqliteStore(path=path, max_bytes=PLENTY, max_age_seconds=DAY), lasts=True))
    asyncio.run(_compare(turns, lambda: MemoryStore(max_bytes=PLENTY, max_age_seconds=DAY), lasts=False))


async def _compare(
    turns: list[str | list[tuple[int, str | None]]], opened: Callable[[], StepStore], *, lasts: bool
) -> None:
    store, model = opened(), dict[int, PaidStep]()
    for turn in turns:
        if isinstance(turn, str):
            await store.close()
            store, model = opened(), model if lasts else {}
            continue
        may_be = {name: [model.get(name)] for name, _ in turn}
        for name, answer in turn:
            if answer is not None:
                model[name] = paid(answer)
                may_be[name].append(model[name])
        got = await asyncio.gather(*(_asked(store, name, answer) for name, answer in turn))
        assert all(step in may_be[name] for (name, answer), step in zip(turn, got, strict=True) if answer is None)
        assert {name: await store.get(fingerprint(name)) for name in model} == model
    await store.close()


async def _asked(store: StepStore, name: int, answer: str | None) -> PaidStep | None:
    if answer is None:
        return await store.get(fingerprint(name))
    await store.put(fingerprint(name), paid(answer))
    return None

"""What was spent, on disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from unittest.mock import Mock

import pytest
import structlog

from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.side_tasks import budget_journal
from docsluice_consumer.side_tasks.budget_journal import BudgetJournal
from docsluice_consumer.store.ledger import Ledger
from docsluice_consumer.store.stored_values import Entry
from tests.fakes.timer import settled

ENTRIES = [("hour", 3600.0, Decimal("0.123456789")), ("day", 0.0, Decimal(5))]


def _journal(
    budget: Budget, ledger: Ledger, *, stop_because: Callable[[BaseException], None] = lambda _: None
) -> BudgetJournal:
    return BudgetJournal(budget=budget, ledger=ledger, stop_because=stop_because)


def test_what_is_written_is_read_by_the_next_process(tmp_path: Path) -> None:
    """To the last digit. Later entries take the place of earlier ones."""
    first = Ledger(folder=tmp_path / "state", member="g/a")
    first.write([("hour", 0.0, Decimal(1))])
    first.write(ENTRIES)
    first.close()
    again = Ledger(folder=tmp_path / "state", member="g/a")
    assert sorted(again.read()) == sorted(ENTRIES)
    again.close()


def test_members_do_not_see_one_another(tmp_path: Path) -> None:
    """Two processes on one machine share the file and nothing in it."""
    one, other = (Ledger(folder=tmp_path, member=member) for member in ("g/a", "g/b"))
    one.write(ENTRIES)
    assert other.read() == []
    one.close()
    other.close()


@pytest.mark.parametrize("rubbish", [b"no database at all, and longer than a header of one would be" * 10, b"short"])
def test_a_damaged_file_is_set_aside(tmp_path: Path, rubbish: bytes) -> None:
    """It is kept, a new one is begun, and the service starts."""
    (tmp_path / "spending.sqlite3").write_bytes(rubbish)
    ledger = Ledger(folder=tmp_path, member="m")
    assert ledger.read() == []
    ledger.write(ENTRIES)
    ledger.close()
    assert (tmp_path / "spending.damaged").read_bytes() == rubbish


def test_a_folder_that_cannot_be_written_to_is_a_settings_error(tmp_path: Path) -> None:
    """The line names the variable."""
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="DOCSLUICE_STATE_DIR"):
        Ledger(folder=tmp_path / "file" / "state", member="m").read()


async def test_a_budget_survives_its_process(tmp_path: Path) -> None:
    """What one process has spent, the next one of that name does not spend again."""
    for spent_before in (0, 3, 6):
        budget = Budget(usd_per_day=Decimal(100))
        journal = _journal(budget, Ledger(folder=tmp_path, member="m"))
        await journal.start()
        assert [one.usd for one in budget.spent(now=time.time())] == [spent_before]
        budget.settle(Decimal(0), Decimal(3), now=time.time())
        await journal.close()


async def test_it_is_written_down_while_it_is_spent(tmp_path: Path) -> None:
    """A process that is killed has had no time for a last word."""
    budget = Budget(usd_per_day=Decimal(100))
    journal = _journal(budget, Ledger(folder=tmp_path, member="m"))
    await journal.start()
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    reader = Ledger(folder=tmp_path, member="m")
    async with asyncio.timeout(20):
        while [usd for _, _, usd in reader.read()] != [Decimal(3)]:
            await asyncio.sleep(0.02)
    reader.close()
    await journal.close()


async def test_a_start_that_fails_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read is not written over, whether the disk failed or a stop came first."""
    for fault in (ConfigurationError(["not ours to read"]), asyncio.CancelledError()):
        ledger = Ledger(folder=tmp_path, member="m")
        ledger.write([("hour", time.time() // 3600 * 3600, Decimal(9))])
        journal = _journal(Budget(usd_per_hour=Decimal(10)), ledger)
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "read", Mock(side_effect=fault))
            with pytest.raises(type(fault)):
                await journal.start()
        await journal.close()
        again = Ledger(folder=tmp_path, member="m")
        assert [usd for _, _, usd in again.read()] == [9]
        again.close()


def test_two_processes_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Each writes over what the other has spent: that is said, once. Alone, nothing is said."""
    one, other = (Ledger(folder=tmp_path, member="g/") for _ in range(2))
    with structlog.testing.capture_logs() as logs:
        assert one.read() == other.read() == []
        one.write([("hour", 0.0, Decimal(1))])
        one.write([("hour", 0.0, Decimal(2)), ("day", 0.0, Decimal(2))])
        assert logs == []
        for usd in (3, 4):
            other.write([("hour", 0.0, Decimal(usd))])
            one.write([("hour", 0.0, Decimal(usd))])
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("ledger.shared", "warning")] * 2
    one.close()
    other.close()


async def test_a_disk_that_fails_stops_nothing(tmp_path: Path) -> None:
    """The budget is kept in memory all the same."""
    ledger = Ledger(folder=tmp_path, member="m")
    budget = Budget(usd_per_day=Decimal(100))
    journal = _journal(budget, ledger)
    await journal.start()
    with sqlite3.connect(tmp_path / "spending.sqlite3") as connection:
        connection.execute("drop table spent")
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    await journal.close()
    assert [one.usd for one in budget.spent(now=time.time())] == [3]


async def test_a_journal_that_dies_stops_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on nothing would be remembered, and nobody would know. The file is closed all the same."""
    monkeypatch.setattr(budget_journal, "_WRITE_SECONDS", 0.0)
    ledger, budget = Ledger(folder=tmp_path, member="m"), Budget(usd_per_day=Decimal(100))
    deaths: list[BaseException] = []
    journal = _journal(budget, ledger, stop_because=deaths.append)
    await journal.start()
    bug = TypeError("a bug")
    monkeypatch.setattr(ledger, "write", Mock(side_effect=bug))
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    async with asyncio.timeout(20):
        while not deaths:
            await asyncio.sleep(0)
    assert deaths == [bug]
    with pytest.raises(TypeError):
        await journal.close()
    assert not (tmp_path / "spending.sqlite3-wal").exists(), "SQLite removes it when the file is closed"


async def test_a_stop_in_the_middle_of_writing_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second writer beside the first would take its rows for somebody else's, and all that was spent is written."""
    monkeypatch.setattr(budget_journal, "_WRITE_SECONDS", 0.0)
    ledger, budget = Ledger(folder=tmp_path, member="g"), Budget(usd_per_day=Decimal(100))
    began, go_on, write = threading.Event(), threading.Event(), ledger.write

    def slow_write(entries: Sequence[Entry]) -> None:
        began.set()
        go_on.wait(timeout=20)
        write(entries)

    monkeypatch.setattr(ledger, "write", slow_write)
    journal = _journal(budget, ledger)
    with structlog.testing.capture_logs() as logs:
        await journal.start()
        budget.settle(Decimal(0), Decimal(3), now=time.time())
        async with asyncio.timeout(20):
            while not began.is_set():
                await asyncio.sleep(0)
        budget.settle(Decimal(0), Decimal(4), now=time.time())
        closing = asyncio.create_task(journal.close())
        await settled()
        go_on.set()
        await closing
    assert logs == []
    assert [usd for _, _, usd in Ledger(folder=tmp_path, member="g").read()] == [7]


# What is read back is not believed unseen


def _row(path: Path, **columns: object) -> None:
    """Have the ledger's row hold this instead, as SQLite's own shell could."""
    with contextlib.closing(sqlite3.connect(path / "spending.sqlite3", isolation_level=None)) as connection:
        for column, value in columns.items():
            connection.execute(f"update spent set {column} = ?", (value,))  # noqa: S608 - our own names


NOT_BELIEVED: list[dict[str, object]] = [
    {"usd": "NaN"},
    {"usd": "sNaN"},
    {"usd": "Infinity"},
    {"usd": "-1"},
    {"usd": "1e999"},
    {"usd": "1e-999999"},
    {"usd": "9" * 10_000},
    {"usd": "a lot"},
    {"usd": b"5"},
    {"usd": ""},
    {"began_at": "yesterday"},
    {"began_at": b"\xff"},
    {"began_at": float("inf")},
    {"began_at": -3600.0},
    {"began_at": 1e300},
    {"window": "week"},
    {"window": b"hour"},
]


@pytest.mark.parametrize("columns", NOT_BELIEVED, ids=str)
async def test_a_row_that_nobody_wrote_is_not_believed(tmp_path: Path, columns: dict[str, object]) -> None:
    """It counts as not there, which is said once. The budget can be spent, and is kept from then on."""
    ledger = Ledger(folder=tmp_path, member="m")
    ledger.write([("hour", time.time() // 3600 * 3600, Decimal(9))])
    ledger.close()
    _row(tmp_path, **columns)
    budget = Budget(usd_per_hour=Decimal(10))
    journal = _journal(budget, Ledger(folder=tmp_path, member="m"))
    with structlog.testing.capture_logs() as logs:
        await journal.start()
    assert [entry["event"] for entry in logs] == ["ledger.row_refused"]
    assert budget.wait_seconds(Decimal(10), now=time.time()) == 0
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    await journal.close()
    assert ("hour", Decimal(3)) in [(window, usd) for window, _, usd in Ledger(folder=tmp_path, member="m").read()]


async def test_text_that_is_none_is_not_believed(tmp_path: Path) -> None:
    """Bytes that are not UTF-8, where SQLite says that there is text."""
    ledger = Ledger(folder=tmp_path, member="m")
    ledger.write(ENTRIES)
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "spending.sqlite3", isolation_level=None)) as connection:
        connection.execute("update spent set usd = cast(x'ff' as text), window = cast(x'ff' || window as text)")
    with structlog.testing.capture_logs() as logs:
        assert Ledger(folder=tmp_path, member="m").read() == []
    assert [entry["event"] for entry in logs] == ["ledger.row_refused"]


def test_damage_that_comes_while_it_runs_loses_nothing(tmp_path: Path) -> None:
    """The file is set aside, and what is known is written into a new one."""
    ledger = Ledger(folder=tmp_path, member="m")
    ledger.write(ENTRIES)
    with contextlib.closing(sqlite3.connect(tmp_path / "spending.sqlite3", isolation_level=None)) as connection:
        connection.execute("update spent set began_at = began_at")  # nobody knows its pages by heart any more
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()
    (tmp_path / "spending.sqlite3").write_bytes(b"no database at all, and longer than a header of one would be" * 100)
    with structlog.testing.capture_logs() as logs:
        ledger.write(ENTRIES)
    assert [entry["event"] for entry in logs] == ["ledger.damaged"]
    assert sorted(Ledger(folder=tmp_path, member="m").read()) == sorted(ENTRIES)
    ledger.close()


# A disk that does not answer


class Stuck(Ledger):
    """A ledger on a disk that does not answer until it is told to."""

    def __init__(self, *, folder: Path) -> None:
        super().__init__(folder=folder, member="m")
        self.answers = threading.Event()

    def read(self) -> list[Entry]:
        self.answers.wait(timeout=60)
        return super().read()

    def write(self, entries: Sequence[Entry]) -> None:
        self.answers.wait(timeout=60)
        super().write(entries)


async def test_a_start_waits_for_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    """It is said once, and why, and when it answers the start goes on."""
    Ledger(folder=tmp_path, member="m").write([("hour", time.time() // 3600 * 3600, Decimal(9))])
    ledger, pauses, budget = Stuck(folder=tmp_path), 0, Budget(usd_per_hour=Decimal(10))

    async def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        assert journal.why_waiting == "no answer within 0.01 seconds"
        if pauses == 3:
            ledger.answers.set()
        await asyncio.sleep(0.01)

    journal = BudgetJournal(budget=budget, ledger=ledger, stop_because=lambda _: None, answer_seconds=0.01, sleep=pause)
    with structlog.testing.capture_logs() as logs:
        await journal.start()
    assert [entry["event"] for entry in logs] == ["ledger.away"]
    assert journal.why_waiting is None
    assert [one.usd for one in budget.spent(now=time.time())] == [9]
    await journal.close()


async def test_a_stop_does_not_wait_for_a_disk_that_does_not_answer(tmp_path: Path) -> None:
    """What was spent last is forgotten, which is said. The thread is left behind, and nobody waits for it."""
    ledger, budget = Stuck(folder=tmp_path), Budget(usd_per_hour=Decimal(10))
    ledger.answers.set()
    journal = BudgetJournal(budget=budget, ledger=ledger, stop_because=lambda _: None, answer_seconds=0.05)
    await journal.start()
    ledger.answers.clear()
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    with structlog.testing.capture_logs() as logs:
        await journal.close()
    assert [(entry["event"], entry["error"]) for entry in logs] == [("ledger.failing", "no answer within 0.05 seconds")]
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "ledger")
    ledger.answers.set()


# Ours alone


def test_it_is_readable_for_its_owner_only(tmp_path: Path) -> None:
    """Whatever the umask: it tells what an account spends. The folder is ours alone, too."""
    before = os.umask(0)
    try:
        ledger = Ledger(folder=tmp_path / "state", member="m")
        ledger.write(ENTRIES)
        modes = {found.name: stat.S_IMODE(found.stat().st_mode) for found in (tmp_path / "state").iterdir()}
        ledger.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(["spending.sqlite3", "spending.sqlite3-wal", "spending.sqlite3-shm"], 0o600)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_a_file_of_an_earlier_release_is_closed_to_others(tmp_path: Path) -> None:
    """It was made readable for all."""
    Ledger(folder=tmp_path, member="m").write(ENTRIES)
    for found in tmp_path.iterdir():
        found.chmod(0o644)
    Ledger(folder=tmp_path, member="m").read()
    assert {stat.S_IMODE(found.stat().st_mode) & 0o007 for found in tmp_path.iterdir()} == {0}


@pytest.mark.parametrize("mode", [0o000, 0o004, 0o060])
def test_a_file_that_its_owner_may_not_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Root may. SQLite would then make its log, which holds the same, readable for all."""
    path = tmp_path / "spending.sqlite3"
    path.touch()
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=r"spending.sqlite3 gives its owner no rights; chmod it to 600"):
        Ledger(folder=tmp_path, member="m").read()
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm"])
@pytest.mark.parametrize("is_there", [True, False])
def test_nothing_is_written_through_a_link(tmp_path: Path, suffix: str, *, is_there: bool) -> None:
    """Somebody else may have laid it there. The line names the setting, and what the link leads to is untouched."""
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    if suffix:
        Ledger(folder=state, member="m").write(ENTRIES)
    state.mkdir(exist_ok=True)
    if is_there:
        elsewhere.write_bytes(b"")
    (state / f"spending.sqlite3{suffix}").unlink(missing_ok=True)
    (state / f"spending.sqlite3{suffix}").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match=r"^DOCSLUICE_STATE_DIR: .*is a symbolic link"):
        Ledger(folder=state, member="m").read()
    assert (elsewhere.read_bytes() if is_there else elsewhere.exists()) in (b"", False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize("name", ["spending.sqlite3", "spending.sqlite3-wal"])
def test_a_file_of_another_user_is_refused(tmp_path: Path, name: str) -> None:
    """What is in it is that user's word, and what is written into it that user's to read."""
    ledger = Ledger(folder=tmp_path, member="m")
    ledger.write(ENTRIES)
    os.chown(tmp_path / name, 12345, -1)
    with pytest.raises(ConfigurationError, match=r"^DOCSLUICE_STATE_DIR: .*belongs to another user \(number 12345\)"):
        Ledger(folder=tmp_path, member="m").read()
    ledger.close()

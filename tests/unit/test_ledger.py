"""What was spent, on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from unittest.mock import Mock

import pytest
import structlog

from consumer import budgeting
from consumer.admission.budget import Budget
from consumer.budgeting import BudgetKeeper
from consumer.errors import ConfigurationError
from consumer.store.ledger import Ledger

ENTRIES = [("hour", 3600.0, Decimal("0.123456789")), ("day", 0.0, Decimal(5))]


def _keeper(
    budget: Budget, ledger: Ledger, *, stop_because: Callable[[BaseException], None] = lambda _: None
) -> BudgetKeeper:
    return BudgetKeeper(budget=budget, ledger=ledger, stop_because=stop_because)


def test_what_is_written_is_read_by_the_next_process(tmp_path: Path) -> None:
    """To the last digit; later entries take the place of earlier ones."""
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
        Ledger(folder=tmp_path / "file" / "state", member="m")


async def test_a_budget_survives_its_process(tmp_path: Path) -> None:
    """What one process has spent, the next one of that name does not spend again."""
    for spent_before in (0, 3, 6):
        budget = Budget(usd_per_day=Decimal(100))
        keeper = _keeper(budget, Ledger(folder=tmp_path, member="m"))
        await keeper.start()
        assert [one.usd for one in budget.spent(now=time.time())] == [spent_before]
        budget.settle(Decimal(0), Decimal(3), now=time.time())
        await keeper.close()


async def test_it_is_written_down_while_it_is_spent(tmp_path: Path) -> None:
    """A process that is killed has had no time for a last word."""
    budget = Budget(usd_per_day=Decimal(100))
    keeper = _keeper(budget, Ledger(folder=tmp_path, member="m"))
    await keeper.start()
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    reader = Ledger(folder=tmp_path, member="m")
    async with asyncio.timeout(20):
        while [usd for _, _, usd in reader.read()] != [Decimal(3)]:
            await asyncio.sleep(0.02)
    reader.close()
    await keeper.close()


async def test_a_start_that_fails_forgets_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be read is not written over, whether the disk failed or a stop came first."""
    for fault in (sqlite3.OperationalError("disk I/O error"), asyncio.CancelledError()):
        ledger = Ledger(folder=tmp_path, member="m")
        ledger.write([("hour", time.time() // 3600 * 3600, Decimal(9))])
        keeper = _keeper(Budget(usd_per_hour=Decimal(10)), ledger)
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "read", Mock(side_effect=fault))
            with pytest.raises(type(fault)):
                await keeper.start()
        await keeper.close()
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
    keeper = _keeper(budget, ledger)
    await keeper.start()
    with sqlite3.connect(tmp_path / "spending.sqlite3") as connection:
        connection.execute("drop table spent")
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    await keeper.close()
    assert [one.usd for one in budget.spent(now=time.time())] == [3]


async def test_a_keeper_that_dies_stops_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From then on nothing would be remembered, and nobody would know; the file is closed all the same."""
    monkeypatch.setattr(budgeting, "_WRITE_SECONDS", 0.0)
    ledger, budget = Ledger(folder=tmp_path, member="m"), Budget(usd_per_day=Decimal(100))
    deaths: list[BaseException] = []
    keeper = _keeper(budget, ledger, stop_because=deaths.append)
    await keeper.start()
    bug = TypeError("a bug")
    monkeypatch.setattr(ledger, "write", Mock(side_effect=bug))
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    async with asyncio.timeout(20):
        while not deaths:
            await asyncio.sleep(0)
    assert deaths == [bug]
    with pytest.raises(TypeError):
        await keeper.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        ledger.read()


def test_a_close_waits_for_the_thread_that_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop may come in the middle of it; the second writer would take the first one's rows for somebody else's."""
    ledger = Ledger(folder=tmp_path, member="g")
    ledger.read()
    looks: list[int] = []
    go_on, look = threading.Event(), ledger._notice_others

    def slow_look() -> None:
        looks.append(len(looks))
        go_on.wait(timeout=10)
        look()

    monkeypatch.setattr(ledger, "_notice_others", slow_look)
    with structlog.testing.capture_logs() as logs:
        writers = [threading.Thread(target=ledger.write, args=(ENTRIES,)) for _ in range(2)]
        for writer in writers:
            writer.start()
        writers[1].join(timeout=0.1)
        assert looks == [0]
        go_on.set()
        for writer in writers:
            writer.join()
    ledger.close()
    assert looks == [0, 1]
    assert logs == []

"""What was spent, on disk."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from decimal import Decimal
from pathlib import Path

import pytest

from consumer.admission.budget import Budget
from consumer.budgeting import BudgetKeeper
from consumer.errors import ConfigurationError
from consumer.store.ledger import Ledger

ENTRIES = [("hour", 3600.0, Decimal("0.123456789")), ("day", 0.0, Decimal(5))]


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
        keeper = BudgetKeeper(budget=budget, ledger=Ledger(folder=tmp_path, member="m"))
        await keeper.start()
        assert [one.usd for one in budget.spent(now=time.time())] == [spent_before]
        budget.settle(Decimal(0), Decimal(3), now=time.time())
        await keeper.close()


async def test_it_is_written_down_while_it_is_spent(tmp_path: Path) -> None:
    """A process that is killed has had no time for a last word."""
    budget = Budget(usd_per_day=Decimal(100))
    keeper = BudgetKeeper(budget=budget, ledger=Ledger(folder=tmp_path, member="m"))
    await keeper.start()
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    reader = Ledger(folder=tmp_path, member="m")
    async with asyncio.timeout(20):
        while [usd for _, _, usd in reader.read()] != [Decimal(3)]:
            await asyncio.sleep(0.02)
    reader.close()
    await keeper.close()


async def test_a_disk_that_fails_stops_nothing(tmp_path: Path) -> None:
    """The budget is kept in memory all the same."""
    ledger = Ledger(folder=tmp_path, member="m")
    budget = Budget(usd_per_day=Decimal(100))
    keeper = BudgetKeeper(budget=budget, ledger=ledger)
    await keeper.start()
    with sqlite3.connect(tmp_path / "spending.sqlite3") as connection:
        connection.execute("drop table spent")
    budget.settle(Decimal(0), Decimal(3), now=time.time())
    await keeper.close()
    assert [one.usd for one in budget.spent(now=time.time())] == [3]

"""What was spent, on disk, so that a restart begins no new budget. One file for all processes of a machine.

Each member of each group has rows of its own, for each is given its own share of the budget.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TypeAlias

import structlog

from consumer.errors import ConfigurationError

log = structlog.get_logger(__name__)

_FILE = "spending.sqlite3"
_BUSY_SECONDS = 5.0
_SCHEMA = """
create table if not exists spent (
    member text not null, window text not null, began_at real not null, usd text not null,
    primary key (member, window)
) without rowid
"""


Entry: TypeAlias = tuple[str, float, Decimal]
"""A window's name, when it began (seconds since the epoch), and the dollars spent in it."""


class Ledger:
    """Reads at the start, and writes what has changed. A damaged file is set aside and begun anew, and said.

    Another process of the same name would write over what this one has spent; that is noticed, and said once.

    Its methods block for a disk's time: call them from a thread.

    Raises:
        ConfigurationError: from the constructor, when the folder cannot be written to.
    """

    def __init__(self, *, folder: Path, member: str) -> None:
        self._path = folder / _FILE
        self._member = member
        self._rows: dict[str, Entry] | None = None
        self._is_shared = False
        self._one_at_a_time = threading.Lock()  # whoever closes it may come while another thread still writes
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = self._opened()
        except (OSError, sqlite3.OperationalError) as error:
            raise ConfigurationError(
                [f"DOCSLUICE_STATE_DIR: cannot write to {folder} ({error}); it keeps what was spent, for the budget"]
            ) from error

    def read(self) -> list[Entry]:
        """What this member had spent when it was last written."""
        self._rows = self._present_rows()
        return list(self._rows.values())

    def write(self, entries: Sequence[Entry]) -> None:
        """Keep this instead of what was there."""
        with self._one_at_a_time:
            self._notice_others()
            with self._connection:
                self._connection.executemany(
                    "insert or replace into spent values (?, ?, ?, ?)",
                    [(self._member, window, began_at, str(usd)) for window, began_at, usd in entries],
                )
            self._rows = {**(self._rows or {}), **{entry[0]: entry for entry in entries}}

    def close(self) -> None:
        """Close the file."""
        with self._one_at_a_time:
            self._connection.close()

    def _present_rows(self) -> dict[str, Entry]:
        rows = self._connection.execute("select window, began_at, usd from spent where member = ?", (self._member,))
        found = {}
        for window, began_at, usd in rows:
            with contextlib.suppress(InvalidOperation):
                found[window] = (window, began_at, Decimal(usd))
        return found

    def _notice_others(self) -> None:
        """What is there is not what was left there: somebody else writes to the same rows."""
        if self._is_shared or self._rows is None or self._present_rows() == self._rows:
            return
        self._is_shared = True
        log.warning(
            "ledger.shared",
            remedy="another process with the same DOCSLUICE_STATE_DIR and group writes over what this one has spent; "
            "give each replica a DOCSLUICE_GROUP_INSTANCE_ID or a folder of its own",
        )

    def _opened(self) -> sqlite3.Connection:
        try:
            return self._connected()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError as error:
            aside = self._path.with_suffix(".damaged")
            self._path.replace(aside)
            log.error(  # noqa: TRY400 - the trace of a damaged file tells nobody anything
                "ledger.damaged", error=str(error), set_aside=aside.name, remedy="the budget begins anew"
            )
            return self._connected()

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=_BUSY_SECONDS, check_same_thread=False)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            connection.execute(_SCHEMA)
            connection.execute("select count(*) from spent").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

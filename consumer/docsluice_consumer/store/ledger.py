"""What was spent, on disk, so that a restart begins no new budget. One file for all processes of a machine.

Each member of each group has its own rows, because each has its own share of the budget.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import structlog

from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.store.sqlite_file import SqliteFile, transaction
from docsluice_consumer.store.step_store import NotBelieved, StoreUnusable
from docsluice_consumer.store.stored_values import Entry, spent_of

log = structlog.get_logger(__name__)

_FILE = "spending.sqlite3"
_ASIDE = "spending.damaged"
_MARK = "member text not null, window text not null, began_at real not null, usd text not null"
_SCHEMA = f"create table if not exists spent ({_MARK}, primary key (member, window)) without rowid"
_PROBE = "select count(*) from spent"
# A damaged column may hold any type, and bytes that are no text. Only valid rows are taken out of the file.
_READ = """
select iif(typeof(window) = 'text', cast(window as blob), null),
    iif(typeof(began_at) in ('real', 'integer'), began_at, null),
    iif(typeof(usd) = 'text', cast(usd as blob), null)
from spent where member = ?
"""
_WRITE = "insert or replace into spent values (?, ?, ?, ?)"


class Ledger:
    """Reads at the start, and writes what has changed. A damaged file is replaced, and the log says so.

    A row that is not as we write it counts as missing. Another process of the same name would overwrite this one's
    spending. Both are noticed and logged once.

    Its methods block for a disk's time, and are called from one thread.
    """

    def __init__(self, *, folder: Path, member: str) -> None:
        aside = folder / _ASIDE
        self._rows: dict[str, Entry] | None = None

        def say_damaged(error: str) -> None:
            self._rows = None  # the new file has no rows, and nobody else has removed them
            log.error("ledger.damaged", error=error, set_aside=aside.name, remedy="the budget begins anew")

        self._file = SqliteFile(
            path=folder / _FILE, opening=(_SCHEMA, _PROBE), mark=_MARK, aside=aside, say_damaged=say_damaged
        )
        self._folder = folder
        self._member = member
        self._is_shared = False
        self._has_refused = False

    def read(self) -> list[Entry]:
        """What this member had spent when it was last written.

        Raises:
            StoreAway: it cannot be read now.
            ConfigurationError: only a person can fix that.
        """
        try:
            self._rows = self._file.do(self._present_rows)
        except StoreUnusable as problem:
            raise ConfigurationError(
                [f"DOCSLUICE_STATE_DIR: cannot use {self._folder} ({problem}); it keeps what was spent, for the budget"]
            ) from None
        return list(self._rows.values())

    def write(self, entries: Sequence[Entry]) -> None:
        """Replace what was there.

        Raises:
            StoreAway: it cannot be written now.
        """

        def write(connection: sqlite3.Connection) -> None:
            self._notice_others(connection)
            with transaction(connection):
                connection.executemany(
                    _WRITE, [(self._member, window, began_at, str(usd)) for window, began_at, usd in entries]
                )

        self._file.do(write)
        self._rows = {**(self._rows or {}), **{entry[0]: entry for entry in entries}}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _present_rows(self, connection: sqlite3.Connection) -> dict[str, Entry]:
        found = {}
        for window, began_at, usd in connection.execute(_READ, (self._member,)).fetchall():
            try:
                entry = spent_of((_text(window), began_at, _text(usd)))
            except NotBelieved as problem:
                self._say_refused(problem)
            else:
                found[entry[0]] = entry
        return found

    def _say_refused(self, problem: NotBelieved) -> None:
        if self._has_refused:
            return
        self._has_refused = True
        log.error(
            "ledger.row_refused",
            reason=f"it holds {problem}",
            remedy="the budget of that hour or day begins anew; somebody has changed the file, or the disk is failing",
        )

    def _notice_others(self, connection: sqlite3.Connection) -> None:
        """Notice rows that differ from what we wrote: another process writes to them."""
        if self._is_shared or self._rows is None or self._present_rows(connection) == self._rows:
            return
        self._is_shared = True
        log.warning(
            "ledger.shared",
            remedy="another process with the same DOCSLUICE_STATE_DIR and group writes over what this one has spent; "
            "give each replica a DOCSLUICE_GROUP_INSTANCE_ID or a folder of its own",
        )


def _text(told: object) -> str | None:
    """Decode text that was read as bytes, because it may not be UTF-8."""
    return told.decode("utf-8", errors="replace") if isinstance(told, bytes) else None

"""The file behind the steps of a machine: bounded in size and in age.

Rows are numbered as they are put, so the lowest number is the oldest entry, whatever the clock has done meanwhile.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import structlog

from docsluice_consumer.store.sqlite_file import BUSY_SECONDS, Damaged, SqliteFile, beside, size_of, transaction
from docsluice_consumer.store.stored_values import MOST_STEP_BYTES

log = structlog.get_logger(__name__)

_WAL_BYTES = 4 * 1024 * 1024
"""The write-ahead log is emptied at about this size, and truncated to it."""
_MOST_WAL_BYTES = 4 * _WAL_BYTES
"""From this size on, emptying does not wait for a moment without readers."""
_ROWS = 32
"""Rows deleted in one transaction. Other processes wait a millisecond for it, no more."""
_ROUNDS = 32
"""Rounds of deleting at a time. New requests are then served first."""

# Another version of this table gets another name, so that both releases can use one file.
_MARK = "fingerprint text not null unique, written_at real not null, step blob not null"
_SCHEMA = f"create table if not exists steps (id integer primary key, {_MARK})"
_PROBE = "select id, fingerprint, written_at, step from steps order by id limit 1"
# A damaged column may hold any type, and NULL.
_GET = """
select asked.value, iif(typeof(step) = 'blob' and length(step) <= ?, step, zeroblob(0))
from json_each(?) as asked cross join steps on fingerprint = asked.value
where abs(? - written_at) <= ?
"""
_PUT = "insert or replace into steps (fingerprint, written_at, step) values (?, ?, ?)"
_STATE = """
select page_count, freelist_count, page_size,
    (select coalesce(abs(? - written_at), 9e999) from steps order by id limit 1)
from pragma_page_count, pragma_freelist_count, pragma_page_size
"""
_OLDEST = """
select id, coalesce(length(step), 0), coalesce(abs(? - written_at), 9e999) from steps order by id limit ?
"""
_DELETE = "delete from steps where id <= ?"

Entry: TypeAlias = tuple[str, bytes]
"""A fingerprint, and the written step."""


class StepTable:
    """Entries by fingerprint.

    All its methods raise `StoreAway`, block for a disk's time, and are called from one thread. An entry older than
    `max_age_seconds`, or as far in the future, counts as missing. `max_bytes` bounds the pages in use. The log beside
    the file comes on top.
    """

    def __init__(self, *, path: Path, max_bytes: int, max_age_seconds: float, clock: Callable[[], float]) -> None:
        aside = beside(path, ".damaged")

        def say_damaged(error: str) -> None:
            log.error("store.damaged", error=error, set_aside=aside.name, remedy="steps that it held are asked again")

        opening = (f"pragma journal_size_limit = {_WAL_BYTES}", _SCHEMA, _PROBE)
        self._file = SqliteFile(path=path, opening=opening, mark=_MARK, aside=aside, say_damaged=say_damaged)
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep all of them in one transaction, the later in place of the earlier."""
        now = self._clock()
        rows = [(fingerprint, now, step) for fingerprint, step in entries if len(step) <= self._max_bytes]

        def write(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.executemany(_PUT, rows)

        self._file.do(write)

    def get(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """The entries that exist. An entry that is no bytes, or larger than any step, is empty."""
        arguments = (MOST_STEP_BYTES, json.dumps(fingerprints), self._clock(), self._max_age_seconds)
        return self._file.do(lambda connection: dict(connection.execute(_GET, arguments).fetchall()))

    def trim(self) -> bool:
        """Delete some of what is too old or too much, oldest first. Returns whether there is more."""
        return self._file.do(self._trimmed)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _trimmed(self, connection: sqlite3.Connection) -> bool:
        self._bound_log(connection)
        for _ in range(_ROUNDS):
            if not self._is_due(connection):
                return False
            with transaction(connection):
                deleted = self._delete_some(connection)
            if not deleted:
                return False
        return True

    def _delete_some(self, connection: sqlite3.Connection) -> int:
        """Delete some rows in a transaction, so that no other process deletes the same."""
        too_many, last = self._size_and_age(connection)[0] - self._max_bytes, None
        for number, size, age in connection.execute(_OLDEST, (self._clock(), _ROWS)).fetchall():
            if too_many <= 0 and age <= self._max_age_seconds:
                break
            too_many, last = too_many - size, number
        return 0 if last is None else connection.execute(_DELETE, (last,)).rowcount

    def _is_due(self, connection: sqlite3.Connection) -> bool:
        size, age = self._size_and_age(connection)
        return size > self._max_bytes or age > self._max_age_seconds

    def _size_and_age(self, connection: sqlite3.Connection) -> tuple[int, float]:
        """Bytes of the pages in use, and seconds since the oldest entry was written."""
        pages, free, page_bytes, age = connection.execute(_STATE, (self._clock(),)).fetchone()
        if not 0 <= free <= pages:
            raise Damaged("it has more free pages than pages")  # trimming by that would empty it every time
        return (pages - free) * page_bytes, age or 0.0

    def _bound_log(self, connection: sqlite3.Connection) -> None:
        """Bound the log. SQLite empties it in a moment without readers. If none comes by itself, try each time."""
        if size_of(beside(self._file.path, "-wal")) > _MOST_WAL_BYTES:
            connection.execute("pragma busy_timeout = 0")  # it is retried soon
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
            connection.execute(f"pragma busy_timeout = {BUSY_SECONDS * 1000:.0f}")

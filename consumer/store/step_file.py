"""The file behind the steps of a machine: SQLite, for several processes at once, bounded, and begun anew when damaged.

Rows are numbered as they are put, so the lowest number is the oldest entry, whatever the clock has done meanwhile.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

import structlog

from consumer.reach import in_words
from consumer.store.steps import StoreAway, StoreUnusable

log = structlog.get_logger(__name__)

_BUSY_SECONDS = 2.0
_WAL_BYTES = 4 * 1024 * 1024
"""The log of what was written is emptied when it has about this much, and cut to it."""
_MOST_WAL_BYTES = 4 * _WAL_BYTES
"""From here on it is not left to chance whether a moment without readers comes."""
_ROWS = 32
"""Deleted in one transaction: others wait a millisecond for it, no more."""
_ROUNDS = 32
"""Of deleting at a time: who has asked meanwhile is then served first."""

# Another form of this table would have another name: releases that know either then live on one file.
_SCHEMA = """
create table if not exists steps (
    id integer primary key, fingerprint text not null unique, written_at real not null, step blob not null
)
"""
_PROBE = "select id, fingerprint, written_at, step from steps order by id limit 1"
_GET = """
select fingerprint, cast(step as blob) from json_each(?) as asked cross join steps on fingerprint = asked.value
where abs(? - written_at) <= ?
"""
_PUT = "insert or replace into steps (fingerprint, written_at, step) values (?, ?, ?)"
_STATE = """
select (page_count - freelist_count) * page_size, (select abs(? - written_at) from steps order by id limit 1)
from pragma_page_count, pragma_freelist_count, pragma_page_size
"""
_OLDEST = "select id, length(step), abs(? - written_at) from steps order by id limit ?"
_DELETE = "delete from steps where id <= ?"

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LASTING = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
"""No table of ours in it, or no right to it."""
_LASTING_OS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_WORDS = {
    sqlite3.SQLITE_BUSY: "it is locked by another process",
    sqlite3.SQLITE_LOCKED: "it is locked by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}

Entry: TypeAlias = tuple[str, bytes]
"""A fingerprint, and the step as it was written."""
_Identity: TypeAlias = tuple[int, int]
_Found = TypeVar("_Found")


class StepFile:
    """Entries by fingerprint. Opened when first used, and anew after every failure.

    All its methods raise `StoreAway`, block for a disk's time, and are called from one thread. An entry that is older
    than `max_age_seconds`, or as far in the future, counts as not there. `max_bytes` are those of pages in use; the log
    beside the file comes on top.
    """

    def __init__(self, *, path: Path, max_bytes: int, max_age_seconds: float, clock: Callable[[], float]) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_seconds
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._identity: _Identity | None = None

    def put(self, entries: Sequence[Entry]) -> None:
        """Keep all of them in one transaction, the later in place of the earlier."""
        now = self._clock()
        rows = [(fingerprint, now, step) for fingerprint, step in entries if len(step) <= self._max_bytes]

        def write(connection: sqlite3.Connection) -> None:
            with _transaction(connection):
                connection.executemany(_PUT, rows)

        self._do(write)

    def get(self, fingerprints: Sequence[str]) -> dict[str, bytes]:
        """Those that are there."""
        arguments = (json.dumps(fingerprints), self._clock(), self._max_age_seconds)
        return self._do(lambda connection: dict(connection.execute(_GET, arguments).fetchall()))

    def trim(self) -> bool:
        """Delete what is too old, and the oldest of what is too much; some of it at a time. Whether there is more."""
        return self._do(self._trimmed)

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                # SQLite may be about to delete the log by its name, which must not become another file's meanwhile.
                stack.enter_context(_held(self._path.parent))
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _do(self, work: Callable[[sqlite3.Connection], _Found]) -> _Found:
        try:
            try:
                return work(self._opened())
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._give_up(error)
                return work(self._opened())
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise (StoreUnusable if _is_lasting(error) else StoreAway)(_why(error)) from None

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and _identity(self._path) != self._identity:
            self.close()  # another process has set it aside, or somebody has taken it away
        if self._connection is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with _held(self._path.parent):
                try:
                    self._connection = _connected(self._path)
                except sqlite3.DatabaseError as error:
                    if not _is_damage(error):
                        raise
                    _set_aside(self._path, error)
                    self._connection = _connected(self._path)
                self._identity = _identity(self._path)
        return self._connection

    def _give_up(self, error: sqlite3.DatabaseError) -> None:
        """Set the file aside, unless another process has done so already: then the name is that of its new one.

        The file is closed only afterwards. SQLite deletes the log of a file that it closes by its name, unless it sees
        that the file itself goes by another name now; and while it is open no other file has its number.
        """
        try:
            with _held(self._path.parent):
                if _identity(self._path) == self._identity:
                    _set_aside(self._path, error)
        finally:
            self.close()

    def _trimmed(self, connection: sqlite3.Connection) -> bool:
        self._bound_log(connection)
        for _ in range(_ROUNDS):
            if not self._is_due(connection):
                return False
            with _transaction(connection):
                deleted = self._delete_some(connection)
            if not deleted:
                return False
        return True

    def _delete_some(self, connection: sqlite3.Connection) -> int:
        """In a transaction: no other process can be about to delete the same."""
        too_many, last = self._size_and_age(connection)[0] - self._max_bytes, 0
        for number, size, age in connection.execute(_OLDEST, (self._clock(), _ROWS)).fetchall():
            if too_many <= 0 and age <= self._max_age_seconds:
                break
            too_many, last = too_many - size, number
        return connection.execute(_DELETE, (last,)).rowcount

    def _is_due(self, connection: sqlite3.Connection) -> bool:
        size, age = self._size_and_age(connection)
        return size > self._max_bytes or age > self._max_age_seconds

    def _size_and_age(self, connection: sqlite3.Connection) -> tuple[int, float]:
        """Bytes of the pages in use, and seconds since the oldest entry was written."""
        size, age = connection.execute(_STATE, (self._clock(),)).fetchone()
        return size, age or 0.0

    def _bound_log(self, connection: sqlite3.Connection) -> None:
        """SQLite empties it in a moment in which nobody reads; where that never comes by itself, try at each turn."""
        if _size_of(_beside(self._path, "-wal")) > _MOST_WAL_BYTES:
            connection.execute("pragma busy_timeout = 0")  # it is tried again soon
            connection.execute("pragma wal_checkpoint(truncate)").fetchall()
            connection.execute(f"pragma busy_timeout = {_BUSY_SECONDS * 1000:.0f}")


def _connected(path: Path) -> sqlite3.Connection:
    """With the folder held."""
    if not path.exists():
        # A log without its file is of one that is no more, and would spoil the new one.
        for suffix in ("-wal", "-shm"):
            _beside(path, suffix).unlink(missing_ok=True)
        # Readable by us alone, as SQLite then makes what lies beside it: answers are made of documents.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        connection.execute("pragma journal_mode = wal").fetchall()
        connection.execute("pragma synchronous = normal")
        connection.execute(f"pragma journal_size_limit = {_WAL_BYTES}").fetchall()
        connection.execute(_SCHEMA)
        connection.execute(_PROBE).fetchall()
    except BaseException:
        connection.close()
        raise
    return connection


def _set_aside(path: Path, error: sqlite3.DatabaseError) -> None:
    """With the folder held. What is left beside it is removed when the new file is begun."""
    aside = _beside(path, ".damaged")
    path.replace(aside)
    log.error("store.damaged", error=str(error), set_aside=aside.name, remedy="steps that it held are asked again")


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Keep other processes from opening or setting aside meanwhile."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("rollback")
        raise


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _identity(path: Path) -> _Identity | None:
    """What tells a file from another that goes by its name later; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_damage(error: sqlite3.Error) -> bool:
    return _code(error) in _DAMAGE


def _is_lasting(error: sqlite3.Error | OSError) -> bool:
    """Whether only a person can mend it."""
    return isinstance(error, _LASTING_OS) or (isinstance(error, sqlite3.Error) and _code(error) in _LASTING)


def _code(error: sqlite3.Error) -> int:
    """Of SQLite's two codes the one that is not about where it has happened; 0 for what Python itself has raised."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _why(error: sqlite3.Error | OSError) -> str:
    """In a few words, without paths."""
    match error:
        case BlockingIOError():
            return _WORDS[sqlite3.SQLITE_BUSY]
        case OSError():
            return in_words(error)
        case _:
            return _WORDS.get(_code(error), str(error))

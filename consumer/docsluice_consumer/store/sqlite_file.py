"""A SQLite file for several processes at once: ours alone, opened when first used, and replaced when damaged."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from docsluice.network.network_errors import in_words
from docsluice_consumer.runtime.open_files import why_no_file
from docsluice_consumer.store.private_files import (
    NotPrivate,
    make_private_file,
    make_private_folder,
    see_that_it_is_private,
)
from docsluice_consumer.store.step_store import StoreAway, StoreUnusable

BUSY_SECONDS = 2.0
_OURS = b"docs"
"""The mark in the header of our files. A file with it and without our tables is damaged, and not somebody else's."""
_OPENING = ("pragma journal_mode = wal", "pragma synchronous = normal")
_SIDE_FILES = ("-wal", "-shm")
_SIDE_BYTES = 32 * 1024
"""The smallest file of shared memory."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_LASTING = frozenset({sqlite3.SQLITE_ERROR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM})
"""Codes that mean a missing table of ours, or a missing right."""
_LASTING_OS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError)
_WORDS = {
    sqlite3.SQLITE_BUSY: "it is locked by another process",
    sqlite3.SQLITE_LOCKED: "it is locked by another process",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_IOERR: "the disk fails",
    sqlite3.SQLITE_READONLY: "it cannot be written to",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
}
_OF_A_DATABASE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""The second is raised if SQLite's own message quotes damaged bytes."""
_PAGE_BYTES = 4096
_PAGE_SIZE, _WRITE_VERSION, _APPLICATION_ID = slice(16, 18), slice(18, 19), slice(68, 72)
_WRITE_VERSIONS = frozenset({b"", b"\1", b"\2"})
"""SQLite treats a file with any other version as read-only."""

_Identity: TypeAlias = tuple[int, int]
_Found = TypeVar("_Found")


class Damaged(sqlite3.DatabaseError):
    """Damage that we notice. SQLite itself would go on."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


class SqliteFile:
    """The file at `path`, opened when first used, and again after every failure.

    Its methods block for a disk's time, and are called from one thread. `opening` are the statements that each opening
    begins with. They create the tables, and fail if existing ones are not ours. `mark` are words in them that no other
    program's table has. A damaged file is set aside as `aside`, and `say_damaged` is called.
    """

    def __init__(
        self, *, path: Path, opening: Sequence[str], mark: str, aside: Path, say_damaged: Callable[[str], None]
    ) -> None:
        self.path = path
        self._mark = mark.encode()
        self._opening = opening
        self._aside = aside
        self._say_damaged = say_damaged
        self._connection: sqlite3.Connection | None = None
        self._identity: _Identity | None = None

    def do(self, work: Callable[[sqlite3.Connection], _Found]) -> _Found:
        """Do some work with the open file. If the file is damaged, do it once more with a new one.

        Raises:
            StoreAway: it cannot be done now.
            StoreUnusable: only a person can fix that.
        """
        try:
            try:
                return work(self._opened())
            except _OF_A_DATABASE as error:
                if not _is_damage(error, self.path):
                    raise
                self._give_up(error)
                return work(self._opened())
        except NotPrivate as problem:
            self.close()
            raise StoreUnusable(str(problem)) from None
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            self.close()
            raise (StoreUnusable if _is_lasting(error) else StoreAway)(_why(error, self.path.parent)) from None

    def close(self) -> None:
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                # SQLite may be about to delete the log by its name, which must not become another file's.
                stack.enter_context(_locked(self.path.parent))
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is not None and _identity(self.path) != self._identity:
            self.close()  # another process has set it aside, or somebody has removed it
        if self._connection is None:
            make_private_folder(self.path.parent)
            with _locked(self.path.parent):
                try:
                    self._connection = self._connected()
                except _OF_A_DATABASE as error:
                    if not (_is_damage(error, self.path) or self._is_ours_no_more(error)):
                        raise
                    self._set_aside(error)
                    self._connection = self._connected()
                self._identity = _identity(self.path)
        return self._connection

    def _connected(self) -> sqlite3.Connection:
        """Open the file. The folder is locked."""
        for suffix in _SIDE_FILES:
            see_that_it_is_private(beside(self.path, suffix))
        if not self.path.exists() and not self.path.is_symlink():
            # A log without its file belongs to a removed file, and would spoil the new one.
            for suffix in _SIDE_FILES:
                beside(self.path, suffix).unlink(missing_ok=True)
        # SQLite creates the files beside it with the same rights.
        is_new = make_private_file(self.path)
        if _is_cut(self.path):
            raise Damaged("the file ends in the middle of a page")
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.text_factory = _as_text
        try:
            if is_new:
                connection.execute(f"pragma application_id = {int.from_bytes(_OURS, 'big')}")
            for statement in (*_OPENING, *self._opening):
                connection.execute(statement).fetchall()
        except BaseException:
            connection.close()
            raise
        return connection

    def _is_ours_no_more(self, error: Exception) -> bool:
        """Whether our own file cannot be opened, or lacks our tables.

        Two marks show that it is ours, because either may be damaged.
        """
        first = _first_page(self.path)
        return _code(error) == sqlite3.SQLITE_ERROR and (first[_APPLICATION_ID] == _OURS or self._mark in first)

    def _give_up(self, error: Exception) -> None:
        """Set the file aside, unless another process has done so already. The name is then that of the new file.

        The file is closed only afterwards. SQLite deletes the log of a file that it closes by its name, unless it sees
        that the file has another name now. And while the file is open, no other file has its number.
        """
        try:
            with _locked(self.path.parent):
                if _identity(self.path) == self._identity:
                    self._set_aside(error)
        finally:
            self.close()

    def _set_aside(self, error: Exception) -> None:
        """Rename the file. The folder is locked. What is left beside it is removed when the new file is begun."""
        self.path.replace(self._aside)
        self._say_damaged(str(error))


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit everything that is done in the block, or nothing."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("rollback")
        raise


def beside(path: Path, suffix: str) -> Path:
    """The file beside `path` with this suffix."""
    return path.with_name(path.name + suffix)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock the folder, so that other processes neither open the file nor set it aside."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        deadline = time.monotonic() + BUSY_SECONDS
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


def _identity(path: Path) -> _Identity | None:
    """What tells a file from a later one of the same name. None if there is no file."""
    try:
        found = path.lstat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_damage(error: Exception, path: Path) -> bool:
    code = _code(error)
    if code == sqlite3.SQLITE_READONLY:
        return _first_page(path)[_WRITE_VERSION] not in _WRITE_VERSIONS
    return code in _DAMAGE or isinstance(error, UnicodeDecodeError)


def _is_cut(path: Path) -> bool:
    """Whether a part of the file's last page is missing, and no log holds it.

    SQLite reads the missing part as zeros. If an index ended there, it finds wrong rows.
    """
    page_bytes = int.from_bytes(_first_page(path)[_PAGE_SIZE], "big")
    return page_bytes > 1 and size_of(path) % page_bytes > 0 and not size_of(beside(path, "-wal"))


def _as_text(column: bytes) -> str:
    """Decode text, even damaged text. Python would raise an error that does not mention damage."""
    return column.decode(errors="replace")


def size_of(path: Path) -> int:
    """The size of a file in bytes. 0 if it does not exist."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _first_page(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_PAGE_BYTES)
    except OSError:
        return b""


def _is_full(folder: Path) -> bool:
    """Whether the disk has no room for the files that SQLite keeps beside ours. It calls that an error of the disk."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _SIDE_BYTES


def _is_lasting(error: Exception) -> bool:
    """Whether only a person can fix it."""
    return isinstance(error, _LASTING_OS) or (isinstance(error, sqlite3.Error) and _code(error) in _LASTING)


def _code(error: Exception) -> int:
    """SQLite's primary code. 0 for an error that Python itself has raised."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _why(error: Exception, folder: Path) -> str:
    """The reason in a few words, without paths."""
    match error:
        case sqlite3.Error() if _code(error) == sqlite3.SQLITE_IOERR and _is_full(folder):
            return _WORDS[sqlite3.SQLITE_FULL]
        case BlockingIOError():
            return _WORDS[sqlite3.SQLITE_BUSY]
        case OSError():
            return in_words(error)
        case _:
            return why_no_file(error) or _WORDS.get(_code(error), str(error))

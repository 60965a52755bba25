"""Files that only this user may read, and that nobody else has planted for us to write through."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

_FILE_MODE, _FOLDER_MODE = 0o600, 0o700
_OTHERS = 0o007
"""The rights that are taken away. A person may have let a group read the file, for a backup."""
_ROOT = 0


class NotPrivate(Exception):
    """A file or folder that is not ours to use. The message says which and why, without its path."""


def make_private_folder(folder: Path) -> None:
    """Create the folder for us alone, or check that only we or root can have put it there. An existing mode stays.

    Raises:
        NotPrivate: it belongs to somebody else, or is reached through a link of somebody else's.
        OSError: it cannot be made.
    """
    folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    us = os.geteuid()
    for found in (folder.lstat(), folder.stat()):
        if us != _ROOT and found.st_uid not in {us, _ROOT}:
            raise NotPrivate(f"its folder belongs to another user (number {found.st_uid})")


def make_private_file(path: Path) -> bool:
    """Create the file, empty and for us alone. Or check that it is ours, and take the rights of others away.

    Returns whether it was created. It is checked without opening it: closing it would end SQLite's locks.

    Raises:
        NotPrivate: it is a link, no file, somebody else's, or a file without rights for its owner.
        OSError: it cannot be made.
    """
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, _FILE_MODE)
    except FileExistsError:
        see_that_it_is_private(path)
        return False
    try:
        with contextlib.suppress(OSError):  # as below
            os.fchmod(handle, _FILE_MODE)  # whatever the umask is
    finally:
        os.close(handle)
    return True


def see_that_it_is_private(path: Path) -> None:
    """Do the same for a file that may not exist.

    Raises:
        NotPrivate: as above.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if stat.S_ISLNK(found.st_mode):
        raise NotPrivate(f"{path.name} is a symbolic link; put the file itself there, or name its own place")
    if not stat.S_ISREG(found.st_mode):
        raise NotPrivate(f"{path.name} is no file")
    if found.st_uid != os.geteuid():
        raise NotPrivate(f"{path.name} belongs to another user (number {found.st_uid}); change its owner, or delete it")
    if not found.st_mode & stat.S_IRWXU:
        # Root could use it, and SQLite would make what lies beside a file of mode 0 readable for all.
        raise NotPrivate(f"{path.name} gives its owner no rights; chmod it to 600, or delete it")
    if found.st_mode & _OTHERS:
        with contextlib.suppress(OSError):  # some file systems know no modes
            path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)

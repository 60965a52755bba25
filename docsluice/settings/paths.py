"""Paths that settings name, and why a file cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def at_home(path: Path) -> Path:
    """Replace a path's `~` by the home folder: no shell has expanded a file's or a flag's text.

    Raises:
        ValueError: a sentence without the path, which may be a key that was set by mistake.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~ and a user that there is not; write the path in full") from None


def why_unreadable(path: Path) -> str | None:
    """Why a file cannot be read, in the system's words. None if it can. A pipe counts as readable, without waiting."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.strerror
    try:
        return "Is a directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)


def why_nowhere() -> str | None:
    """What is wrong with the working folder, as a sentence. None if nothing."""
    try:
        Path.cwd()
    except OSError as error:
        return f"the working folder cannot be used ({error.strerror}): start in one that is there"
    return None

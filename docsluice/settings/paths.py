"""Paths that settings name, and why a file cannot be read."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def at_home(path: Path) -> Path:
    """The path with a home folder for its `~`: no shell has looked at what stands in a file or in a flag.

    Raises:
        ValueError: a sentence that does not hold the path, which may be a key that was set by mistake.
    """
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError("begins with ~ and a user that there is not; write the path in full") from None


def why_unreadable(path: Path) -> str | None:
    """In the system's words. None where it can be read. A pipe is taken to be readable, and nobody is waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.strerror
    try:
        return "Is a directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else None
    finally:
        os.close(descriptor)


def why_nowhere() -> str | None:
    """What is wrong with the folder that the process runs in, as a sentence. None when nothing is."""
    try:
        Path.cwd()
    except OSError as error:
        return f"the working folder cannot be used ({error.strerror}): start in one that is there"
    return None

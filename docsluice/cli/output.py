"""What a program says to the person at the terminal, and how a command ends early."""

from __future__ import annotations

import errno
import sys
from contextvars import ContextVar

from docsluice.text.printable import harmless

PROGRAM = ContextVar("PROGRAM", default="docsluice")
"""The name under which we were called."""


_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def is_lost_output(error: BaseException) -> bool:
    """Whether the reader of our output has gone, or its disk is full."""
    return isinstance(error, BrokenPipeError) or (isinstance(error, OSError) and error.errno in _NO_ROOM)


class CommandFailed(Exception):
    """Ends the command. Each of the lines goes to standard error."""

    def __init__(self, *lines: str, exit_code: int = 1) -> None:
        super().__init__(*lines)
        self.lines = lines
        self.exit_code = exit_code


class WrongArguments(CommandFailed):
    """Arguments that make no sense together. The line is followed by a word on where to look."""

    def __init__(self, line: str) -> None:
        super().__init__(line, exit_code=2)


def say(line: str) -> None:
    """Print a line on standard error, under the program's name."""
    print(harmless(f"{PROGRAM.get()}: {line}"), file=sys.stderr)  # noqa: T201 - the person who started us reads it

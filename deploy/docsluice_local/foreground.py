"""What the commands have in common that run something in the foreground: how it is told to end, and how it fails."""

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from docsluice.cli.output import CommandFailed
from docsluice.network.urls import LARGEST_PORT

Port = Annotated[int, Parameter(metavar="PORT", validator=Number(gte=0, lte=LARGEST_PORT))]


@contextlib.contextmanager
def until_terminated() -> Iterator[None]:
    """For the length of the block, SIGTERM does what Ctrl-C does: everything inside it is ended in order."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def faults_told(*, address: str = "") -> Iterator[None]:
    """End the command with a line, and no traceback, where a part is not installed, fails, or cannot listen."""
    try:
        yield
    except BrokenPipeError:  # of standard output
        raise
    except RuntimeError as failure:
        raise CommandFailed(str(failure)) from None
    except OSError as failure:
        cannot = f"cannot listen on {address} (--port takes another): {failure.strerror}"
        raise CommandFailed(cannot if address else str(failure)) from None


def ended_by_signal() -> asyncio.Event:
    """An event of the running loop that SIGTERM and Ctrl-C set."""
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    return ended

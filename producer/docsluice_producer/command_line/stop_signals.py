"""Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_EXIT_CODE_BASE = 128


@dataclass(slots=True)
class Stop:
    """Whether a signal has come, and which."""

    signal: int | None = None

    @property
    def exit_code(self) -> int | None:
        """128 plus the signal's number, as shells have it. None before a signal."""
        return None if self.signal is None else _EXIT_CODE_BASE + self.signal


@contextmanager
def stop_on_signals(ask: Callable[[], None]) -> Iterator[Stop]:
    """For the length of the block, the first signal calls `ask`, and a second one cancels the task that entered it."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    stop = Stop()

    def received(number: int) -> None:
        if stop.signal is None:
            stop.signal = number
            ask()
        elif task is not None:
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, received, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

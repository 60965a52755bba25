"""The progress of a redrive or a drop: a bar on a terminal, else a line now and then."""

import asyncio
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn

_LINE_SECONDS = 10.0
_REFRESH_SECONDS = 0.1


class Progression:
    """Shows progress on standard error. The bar is over the offsets of the topic."""

    def __init__(self, *, status: Console, offsets: int) -> None:
        self._status = status
        self._loop = asyncio.get_running_loop()
        self._shown_at = self._told_at = self._loop.time()
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=status,
            transient=True,
            disable=not status.is_terminal,
        )
        self._task = self._bar.add_task("", total=offsets)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def advance(self, text: str, *, passed: int) -> None:
        """Show how far the reading has come, with a few words on the work."""
        now = self._loop.time()
        if now - self._shown_at >= _REFRESH_SECONDS:
            self._shown_at = now
            self._bar.update(self._task, completed=passed, description=text)
        if not self._status.is_terminal and now - self._told_at >= _LINE_SECONDS:
            self._told_at = now
            self._status.print(f"{text} so far")

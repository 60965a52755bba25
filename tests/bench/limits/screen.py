"""The table as it grows, with a line below it that says what is going on."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tests.bench.limits.row import COLUMNS, Result

_WIDTH = 180  # where nobody says how wide the screen is


class Screen:
    """On a terminal the table grows. Elsewhere each row is a line of its own first, and the table comes at the end."""

    def __init__(self) -> None:
        self.console = Console()
        if not self.console.is_terminal:
            self.console = Console(width=_WIDTH)
        self._table = Table(*COLUMNS)
        self._began = time.monotonic()
        self._doing = ""
        self._status = ""

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Draw for the length of the block, and leave the table standing."""
        if not self.console.is_terminal:
            try:
                yield
            finally:  # after an interrupt, a long run shows what it has found so far
                self.console.print(self._table)
            return
        with Live(get_renderable=self._render, console=self.console, refresh_per_second=4) as live:
            yield
            self._doing = self._status = ""
            live.refresh()

    def begin(self, name: str) -> None:
        """The row of this name is being played."""
        self._doing, self._status, self._began = name, "", time.monotonic()
        if not self.console.is_terminal:
            self.console.print(f"{name} …", markup=False)

    def say(self, status: str) -> None:
        """How far it is."""
        self._status = status

    def add(self, name: str, result: Result) -> None:
        """The row has been played."""
        self._add(result.cells(name))

    def add_failure(self, name: str, problem: str) -> None:
        """The row could not be played to its end."""
        self._add([name, *["-"] * (len(COLUMNS) - 2), f"FAILED: {problem}"])

    def _add(self, cells: list[str]) -> None:
        self._table.add_row(*(Text(cell) for cell in cells))
        if not self.console.is_terminal:
            seconds = time.monotonic() - self._began
            self.console.print(f"  {' | '.join(cells[1:])} ({seconds:.0f} s)", markup=False, highlight=False)

    def _render(self) -> Group:
        seconds = f"{time.monotonic() - self._began:.0f} s"
        below = f"{self._doing}, {seconds}: {self._status}" if self._doing else ""
        return Group(self._table, Text(below, overflow="ellipsis", no_wrap=True))

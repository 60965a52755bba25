"""What `send` shows: a progress bar, each problem as it is found, and a summary."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from docsluice.documents.rows import BadRow, Document, Note, Place, Row
from docsluice_producer.command_line.numbers import printable
from docsluice_producer.sending.repeated import RepeatedIds
from docsluice_producer.sending.unchanged import Unchanged

_SHOWN_ON_TERMINAL = 50
_REFRESH_SECONDS = 0.1
_POST_SECONDS = 10.0


class Report:
    """Counts and shows. The bar and the problems go to standard error, the summary to standard output.

    A terminal shows the first 50 bad rows and counts the rest. A file or a pipe gets every one of them. Documents that
    `unchanged` skips are counted there, and not as `read`.
    """

    def __init__(self, *, total_bytes: int | None) -> None:
        self.read = 0
        self.bad = 0
        self.refused = 0
        self.repeated = RepeatedIds()
        self.unchanged: Unchanged | None = None
        self._console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(binary_units=True),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._bar = self._progress.add_task("reading", total=total_bytes)
        self._read_bytes = 0
        self._shown_at = 0.0
        self._posted_at = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    @property
    def problems(self) -> int:
        """Rows that are not and will not be in the topic."""
        return self.bad + self.refused

    def say(self, line: str) -> None:
        """Print one line."""
        self._console.print(printable(line))

    def sift(self, row: Row) -> Document | None:
        """Count and return a document to send. Show any other row."""
        match row:
            case Document():
                self._read_bytes += row.input_bytes
                if self.unchanged is not None and self.unchanged.passes_over(row):
                    return None
                self.read += 1
                self.repeated.add(row.document_id)
                return row
            case BadRow():
                self.bad += 1
                self._read_bytes += row.input_bytes
                self._problem(row.place, row.problem)
            case Note():
                self.say(f"{row.place}: {row.text}")
        return None

    def refused_document(self, place: Place, problem: str) -> None:
        """Show a document that the broker will not take."""
        self.refused += 1
        self._problem(place, problem)

    def pass_bytes(self, size: int) -> None:
        """Count bytes that an earlier run has read."""
        self._read_bytes += size

    def advance(self, text: str) -> None:
        """Move the bar to what has been read."""
        now = time.monotonic()
        if now - self._shown_at >= _REFRESH_SECONDS:
            self._shown_at = now
            self._progress.update(self._bar, completed=self._read_bytes, description=text)

    def keep_posted(self, text: Callable[[], str]) -> None:
        """Show the progress of the preparation: in the bar or, without one, in a line now and then."""
        now = time.monotonic()
        if self._console.is_terminal:
            if now - self._shown_at >= _REFRESH_SECONDS:
                self.advance(text())
        elif now - self._posted_at >= _POST_SECONDS:
            self._posted_at = now
            self.say(text())

    def _problem(self, place: Place, problem: str) -> None:
        if not self._console.is_terminal or self.problems <= _SHOWN_ON_TERMINAL:
            self._console.print(printable(f"{place}: {problem}"), style="red")
        elif self.problems == _SHOWN_ON_TERMINAL + 1:
            self.say("more bad rows are counted, not shown; with 2>problems.txt all of them are written there")

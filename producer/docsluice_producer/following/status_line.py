"""What limits the consumers, below the outcomes."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from docsluice_producer.metrics.finding import Finding


class StatusLine:
    """The last line of a terminal. In a file it is written whenever the limiting cause changes.

    Print everything else with `aside` or `say`. `status` and `screen` write to the same stream. `screen` breaks lines
    at its edge, so the number of lines to erase is known.
    """

    def __init__(self, *, status: Console, screen: Console) -> None:
        self._status = status
        self._screen = screen
        self._finding: Finding | None = None
        self._live: Live | None = None

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Erase the line at the end of the block."""
        try:
            yield
        finally:
            self._take_away()
            self._finding = None

    def show(self, finding: Finding) -> None:
        """Show a finding from now on."""
        before, self._finding = self._finding, finding
        if not self._screen.is_interactive:
            if before is None or before.cause != finding.cause:
                self._status.print(finding.sentence)
        elif self._live is None:
            self._put(finding)
        else:
            self._live.update(_line(finding), refresh=True)

    def say(self, line: str) -> None:
        """Print a line above."""
        with self.aside():
            self._status.print(line)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Erase the line while something is printed, and put it below that."""
        was_there = self._live is not None
        self._take_away()
        try:
            yield
        finally:
            if was_there and self._finding is not None:
                self._put(self._finding)

    def _put(self, finding: Finding) -> None:
        # Always a new one: a restarted Live erases what was printed in its place.
        self._live = Live(
            _line(finding),
            console=self._screen,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start(refresh=True)

    def _take_away(self) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()


def _line(finding: Finding) -> Text:
    return Text(finding.sentence, style="dim")

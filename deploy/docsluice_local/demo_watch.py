"""The demo's live view: results as they come, and what the consumer's metrics say meanwhile."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import broker_session
from docsluice.kafka.reader import Reader, Start
from docsluice.outcomes.outcome import Outcome, Unreadable, outcome_of
from docsluice_local.demo_lines import ENOUGH, estimate_of, lines_of
from docsluice_producer.following.tables import Table as OutcomeTable
from docsluice_producer.following.tables import open_table
from docsluice_producer.following.tally import Tally
from docsluice_producer.metrics.finding import Finding
from docsluice_producer.metrics.metrics_poller import MetricsPoller

_TOPICS = ("documents.results", "documents.dlq")
_LOOK_SECONDS = 1.0
_MOST_SECONDS_WITHOUT_PROGRESS = 600.0
_OPEN_SECONDS = 30.0


class NoProgressError(RuntimeError):
    """Nothing has ended for too long."""


@dataclass
class Watch:
    """Follows the outcomes of `expected` documents, writes them to `results` and shows the progress."""

    console: Console
    bootstrap_servers: str
    metrics_url: str
    results: Path
    expected: int
    outcomes: list[Outcome] = field(default_factory=list)
    tally: Tally = field(default_factory=Tally)
    limits: str = ""
    _causes: Sequence[str] = ()
    _ended_at: list[float] = field(default_factory=list)

    async def until_done(self, check_alive: Callable[[], None]) -> None:
        """Return when every document has ended. `check_alive` raises when that can no longer happen.

        Raises:
            NoProgressError: nothing has ended for ten minutes.
        """
        poller = MetricsPoller(urls=[self.metrics_url], tell=self._note_limits, pause_seconds=_LOOK_SECONDS)
        broker = Broker(bootstrap_servers=self.bootstrap_servers)
        with (
            broker_session(broker, wait_seconds=_OPEN_SECONDS, say=self.console.print) as session,
            closing(open_table(self.results)) as table,
        ):
            reader = Reader(session=session, topics=_TOPICS, start=Start(from_beginning=True))
            await reader.open()
            try:
                async with poller.looking():
                    with Live(console=self.console, refresh_per_second=4, transient=True) as live:
                        await self._follow(reader, table, live, check_alive)
            finally:
                await reader.close()

    async def _follow(self, reader: Reader, table: OutcomeTable, live: Live, check_alive: Callable[[], None]) -> None:
        progressed = time.monotonic()
        while self.tally.documents < self.expected:
            check_alive()
            for record in await reader.fetch(timeout_ms=20):
                outcome = outcome_of(record)
                if not isinstance(outcome, Unreadable) and self.tally.add(outcome):
                    progressed = time.monotonic()
                    self.outcomes.append(outcome)
                    table.write(outcome)
                    self._print(outcome, live.console)
            if time.monotonic() - progressed > _MOST_SECONDS_WITHOUT_PROGRESS:
                raise NoProgressError(f"no document has ended for {_MOST_SECONDS_WITHOUT_PROGRESS:.0f} seconds")
            live.update(self._view())

    def _note_limits(self, finding: Finding) -> None:
        self.limits, self._causes = finding.sentence, finding.cause

    def _print(self, outcome: Outcome, console: Console) -> None:
        ended = self.tally.documents
        self._ended_at.append(time.monotonic())
        lines = lines_of(outcome, number=ended, expected=self.expected, width=console.width)
        for line in lines:
            console.print(line, soft_wrap=True)
        if ended == ENOUGH and ended < self.expected:
            console.print(", ".join((f"… {self._estimate()}", *filter(None, self._causes))))

    def _estimate(self) -> str:
        return estimate_of(self._ended_at, expected=self.expected)

    def _view(self) -> Group:
        tally = self.tally
        figures = Table.grid(padding=(0, 2))
        done = f"{tally.results} of {self.expected}  {self._estimate()}"
        figures.add_row("done", done, "failed", str(tally.dead_letters))
        rate = tally.documents_per_hour
        figures.add_row("documents an hour", f"{rate:,.0f}" if rate else "…", "cost", f"${tally.cost_usd:.6f}")
        tokens = tally.usage
        figures.add_row(
            "tokens in",
            f"{tokens.input_tokens:,} ({tokens.cached_tokens:,} cached)",
            "out",
            f"{tokens.output_tokens:,}",
        )
        return Group(ProgressBar(total=self.expected, completed=tally.documents), figures, Text(self.limits))

"""`docsluice follow`: results and dead letters as they come."""

import asyncio
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from docsluice.kafka.broker import Broker
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.stop_signals import Stop, stop_on_signals
from docsluice_producer.following.display import (
    console,
    outcome_text,
    repeat_text,
    time_up_text,
    totals_text,
    unreadable_text,
)
from docsluice_producer.following.outcome import FetchedRecord, Unreadable, outcome_of
from docsluice_producer.following.reader import Reader, Start
from docsluice_producer.following.status_line import StatusLine
from docsluice_producer.following.tables import Table, json_line, open_table
from docsluice_producer.following.tally import Tally
from docsluice_producer.kafka.broker_session import broker_session
from docsluice_producer.metrics.metrics_poller import MetricsPoller

_FETCH_MS = 20
_SHOWN_ON_TERMINAL = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What to follow and until when. None means without end, or none."""

    broker: Broker
    topics: tuple[str, ...]
    start: Start
    wait_seconds: float
    until: int | None = None
    timeout_seconds: float | None = None
    to: Path | None = None
    as_json: bool = False
    metrics_urls: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{' and '.join(self.topics)} on {self.broker.bootstrap_servers} {self.start}"


async def follow(following: Following) -> int:
    """Show every outcome until enough documents have ended, the time is up or a signal comes. Returns the exit code.

    Raises:
        WrongUsage: the file to write to cannot be opened.
        NotWritten: the file takes no more.
        BrokerAway: no broker was there to begin with.
        BrokerRefused: it does not let us read.
    """
    status = console(stderr=True)
    wait_seconds = min(following.wait_seconds, following.timeout_seconds or following.wait_seconds)
    tally, status_line = Tally(), StatusLine(status=status, screen=console(stderr=True, soft_wrap=False))
    with ExitStack() as stack:
        table = stack.enter_context(closing(open_table(following.to))) if following.to else None
        session = stack.enter_context(broker_session(following.broker, wait_seconds=wait_seconds, say=status_line.say))
        deadline = _deadline(following)
        reader = Reader(session=session, topics=following.topics, start=following.start)
        await reader.open()
        status.print(f"following {following}; Ctrl-C ends it")
        show = Show(tally=tally, table=table, as_json=following.as_json, status=status)
        poller = MetricsPoller(urls=following.metrics_urls, tell=status_line.show)
        with stop_on_signals(lambda: None) as stop:
            try:
                with status_line.standing():
                    async with poller.looking():
                        await _follow(reader, show, status_line, stop, until=following.until, deadline=deadline)
            finally:
                await reader.close()
                (status if following.as_json else show.out).print(totals_text(tally))
    if stop.exit_code is not None:
        return stop.exit_code
    if tally.documents == following.until:
        return Exit.DONE
    status.print(time_up_text(tally, until=following.until, seconds=following.timeout_seconds or 0))
    return Exit.DONE if following.until is None else Exit.TIME_UP


async def _follow(
    reader: Reader, show: "Show", status_line: StatusLine, stop: Stop, *, until: int | None, deadline: float
) -> None:
    clock = asyncio.get_running_loop().time
    while stop.signal is None and clock() < deadline:
        records = await reader.fetch(timeout_ms=_FETCH_MS)
        if not records:
            continue
        with status_line.aside():
            for record in records:
                show.record(record)
                if show.tally.documents == until:
                    return


class Show:
    """Counts each record and shows it on the terminal, as JSON lines, or in a file."""

    def __init__(self, *, tally: Tally, table: Table | None, as_json: bool, status: Console) -> None:
        self.tally = tally
        self.out = console()
        self._status = status
        self._table = table
        self._as_json = as_json

    def record(self, record: FetchedRecord) -> None:
        """Show one record. A repeat is noted, and neither written nor counted as an outcome."""
        outcome = outcome_of(record)
        if isinstance(outcome, Unreadable):
            self.tally.add_unreadable(outcome)
            self._unreadable(outcome)
            return
        if not self.tally.add(outcome):
            (self._status if self._as_json else self.out).print(repeat_text(outcome))
            return
        if self._table is not None:
            self._table.write(outcome)
        if self._as_json:
            print(json_line(outcome), flush=True)
        else:
            self.out.print(outcome_text(outcome))

    def _unreadable(self, unreadable: Unreadable) -> None:
        """Name the record. A foreign topic must not fill the terminal."""
        told = self.tally.unreadable + self.tally.of_other_versions
        if not self._status.is_terminal or told <= _SHOWN_ON_TERMINAL:
            self._status.print(unreadable_text(unreadable))
        elif told == _SHOWN_ON_TERMINAL + 1:
            self._status.print("more of these are counted, not shown; 2>problems.txt writes all of them there")


def _deadline(following: Following) -> float:
    if following.timeout_seconds is None:
        return float("inf")
    return asyncio.get_running_loop().time() + following.timeout_seconds

"""`docsluice follow`: results and dead letters as they come."""

import asyncio
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import BrokerSession, broker_session
from docsluice.kafka.clients import connected, left
from docsluice.kafka.reader import Reader, Start
from docsluice.kafka.topic_reading import OffsetRange, RangeReading, range_consumer
from docsluice.outcomes.outcome import FetchedRecord, Unreadable, outcome_of
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.stop_signals import Stop, stop_on_signals
from docsluice_producer.following.completion import Completion
from docsluice_producer.following.display import (
    console,
    outcome_text,
    repeat_text,
    time_up_text,
    totals_text,
    unreadable_text,
    waiting_text,
)
from docsluice_producer.following.status_line import StatusLine
from docsluice_producer.following.tables import Table, json_line, open_table
from docsluice_producer.following.tally import Tally
from docsluice_producer.following.wanted import ALL, Wanted
from docsluice_producer.metrics.metrics_poller import MetricsPoller

_FETCH_MS = 20
_SHOWN_ON_TERMINAL = 50
_COMPLETE_SECONDS = 1.0
"""From one look at what the group has committed to the next."""


@dataclass(frozen=True, slots=True)
class Documents:
    """The documents of an input topic, which a group analyzes."""

    topic: str
    group_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """What to follow and until when. None means without end, or none."""

    broker: Broker
    topics: tuple[str, ...]
    start: Start
    wait_seconds: float
    until: int | None = None
    until_complete: Documents | None = None
    wanted: Wanted = ALL
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
        show = Show(tally=tally, table=table, as_json=following.as_json, status=status, wanted=following.wanted)
        completion = await _completion(following, session)
        end = End(deadline=_deadline(following), until=following.until, completion=completion)
        reader = Reader(session=session, topics=following.topics, start=following.start)
        await reader.open()
        status.print(f"following {following}; Ctrl-C ends it")
        poller = MetricsPoller(urls=following.metrics_urls, tell=status_line.show)
        with stop_on_signals(lambda: None) as stop:
            try:
                with status_line.standing():
                    async with poller.looking():
                        await _follow(reader, show, status_line, stop, end)
                if end.is_complete:
                    await _read_up_to_the_end(reader, show, session)
            finally:
                await reader.close()
                (status if following.as_json else show.out).print(totals_text(tally))
    if stop.exit_code is not None:
        return stop.exit_code
    if end.is_complete or tally.documents == following.until:
        return Exit.DONE
    status.print(time_up_text(tally, until=following.until, seconds=following.timeout_seconds or 0))
    return Exit.DONE if following.until is None and following.until_complete is None else Exit.TIME_UP


async def _completion(following: Following, session: BrokerSession) -> Completion | None:
    """What `--until-complete` waits for, if it was given."""
    documents = following.until_complete
    if documents is None:
        return None
    completion = Completion(session=session, topic=documents.topic, group_id=documents.group_id)
    await completion.begin()
    remaining = await completion.remaining()
    session.say(waiting_text(remaining, topic=documents.topic, group_id=documents.group_id))
    return completion


@dataclass(slots=True, kw_only=True)
class End:
    """When there is nothing left to wait for."""

    deadline: float
    until: int | None
    completion: Completion | None
    is_complete: bool = False
    _look_at: float = 0.0

    async def has_come(self) -> bool:
        """Whether the time is up, or every document has ended."""
        now = asyncio.get_running_loop().time()
        if self.completion is not None and now >= self._look_at:
            self._look_at = now + _COMPLETE_SECONDS
            self.is_complete = await self.completion.remaining() == 0
        return self.is_complete or now >= self.deadline


async def _follow(reader: Reader, show: "Show", status_line: StatusLine, stop: Stop, end: End) -> None:
    while stop.signal is None and not await end.has_come():
        records = await reader.fetch(timeout_ms=_FETCH_MS)
        if not records:
            continue
        with status_line.aside():
            for record in records:
                show.record(record)
                if show.tally.documents == end.until:
                    return


async def _read_up_to_the_end(reader: Reader, show: "Show", session: BrokerSession) -> None:
    """Show what has been published and was not read yet. The group had committed before, so nothing more will come."""
    consumer = await connected(range_consumer(session.broker))
    try:
        ends = await session.with_retries(lambda: consumer.end_offsets(list(reader.positions)))
        reading = RangeReading(consumer, OffsetRange(first=reader.positions, end=ends))
        while not reading.is_over:
            for record in await reading.next():
                show.record(record)
    finally:
        await left(consumer)


class Show:
    """Counts each record and shows it on the terminal, as JSON lines, or in a file."""

    def __init__(
        self, *, tally: Tally, table: Table | None, as_json: bool, status: Console, wanted: Wanted = ALL
    ) -> None:
        self.tally = tally
        self.out = console()
        self._status = status
        self._table = table
        self._as_json = as_json
        self._wanted = wanted

    def record(self, record: FetchedRecord) -> None:
        """Show one record. A repeat is noted, and neither written nor counted as an outcome."""
        outcome = outcome_of(record)
        if isinstance(outcome, Unreadable):
            self.tally.add_unreadable(outcome)
            self._unreadable(outcome)
            return
        if not self._wanted.includes(outcome):
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

"""`docsluice-producer dead-letters redrive`: records sent once more, each with its mark in one transaction."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from rich.console import Console

from producer.dead_letters.batches import Batches
from producer.dead_letters.counts import Counts
from producer.dead_letters.journal import Entry, Journal, Outgoing
from producer.dead_letters.letter import Letter
from producer.dead_letters.link import Link
from producer.dead_letters.marks import Mark, State
from producer.dead_letters.progress import Progression
from producer.dead_letters.question import Letters, Question, letters_for_looking
from producer.dead_letters.redriving import Forecast, Sorting, redriven_headers
from producer.dead_letters.scan import Scan
from producer.dead_letters.selection import Selection
from producer.exits import Exit
from producer.faults import ProducerFault
from producer.following.display import console
from producer.printable import counted
from producer.stopping import stop_on_signals

_IN_A_TRANSACTION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """What to send again, and where. `most_replays` None: however often it was sent again before."""

    question: Question
    topic: str
    per_second: int
    most_replays: int | None

    def sorting(self) -> Sorting:
        """Which of the dead letters go back."""
        return Sorting(topic=self.topic, most_replays=self.most_replays)


async def dry_run(asked: Redrive) -> int:
    """Say what would be sent and what it may cost, write nothing, and return the exit code.

    Raises:
        BrokerAway, BrokerRefused: the broker, or one of the topics, is not there.
    """
    status, out = console(stderr=True), console()
    counts, forecast, sorting = Counts(), Forecast(), asked.sorting()
    with asked.question.link(status.print) as link:
        # What the real one would end with is to be known from this.
        await link.topics(dead_letter_topic=asked.question.topic, topic=asked.topic)
        async with letters_for_looking(asked.question, link) as letters:
            with stop_on_signals(lambda: None) as stop:
                async for letter in letters.until(lambda: stop.signal is not None):
                    if sorting.sends(letter):
                        counts.add(letter)
                        forecast.add(letter)
                    if counts.total == asked.question.limit:
                        break
    out.print(f"dry run: {counted(counts.total, 'dead letter')} would be sent to {asked.topic}")
    for line in [*counts.lines, *forecast.sentences, *sorting.remarks, *letters.selection.remarks]:
        out.print(line)
    return stop.exit_code or Exit.DONE


async def redrive(asked: Redrive) -> int:
    """Send every dead letter that is meant, sum up, and return the exit code.

    Raises:
        BrokerAway, BrokerRefused: the broker, or one of the topics, was not there to begin with.
    """
    question, status, out = asked.question, console(stderr=True), console()
    sorting, stopping, fault = asked.sorting(), asyncio.Event(), None
    async with AsyncExitStack() as stack:
        link = stack.enter_context(question.link(status.print))
        topics = await link.topics(dead_letter_topic=question.topic, topic=asked.topic)
        journal = await stack.enter_async_context(Journal(link=link, dead_letter_topic=question.topic))
        scan = await stack.enter_async_context(Scan(link=link, topic=question.topic, partitions=topics[question.topic]))
        work = _Work(asked, link=link, journal=journal, scan=scan, partitions=topics[asked.topic])
        letters = Letters(
            scan=scan,
            stretch=await scan.stretch(since=question.since),
            states=journal,
            selection=Selection(wanted=question.wanted, say=status.print),
        )
        stop = stack.enter_context(stop_on_signals(stopping.set))
        try:
            await work.do(letters, sorting, stopping, status)
        except ProducerFault as error:
            fault = error
        except asyncio.CancelledError:
            if stop.signal is None:
                raise
            # Asked to stop twice: the transaction under way is left to the broker, which ends it.
    if fault is not None:
        status.print(f"stopped: {fault}")
    out.print(f"redriven {counted(journal.written, 'dead letter')} to {asked.topic}")
    for line in [*work.remarks, *sorting.remarks, *letters.selection.remarks]:
        out.print(line)
    if stop.exit_code is not None:
        return stop.exit_code
    return Exit.FAULT if fault is not None or work.refused else Exit.DONE


class _Work:
    """The sending itself. `refused` counts what the topic does not take."""

    def __init__(self, asked: Redrive, *, link: Link, journal: Journal, scan: Scan, partitions: Sequence[int]) -> None:
        self.refused = 0
        self._asked = asked
        self._link = link
        self._journal = journal
        self._scan = scan
        self._partitions = partitions

    @property
    def remarks(self) -> list[str]:
        """What was not taken."""
        if not self.refused:
            return []
        return [f"{counted(self.refused, 'dead letter')} larger than {self._asked.topic} takes: left as they are"]

    async def do(self, letters: Letters, sorting: Sorting, stopping: asyncio.Event, status: Console) -> None:
        """Send all of them, or as many as are sent before `stopping`."""
        asked, chosen = self._asked, 0
        batches = Batches(write=self._write, most=_IN_A_TRANSACTION, per_second=asked.per_second, stopping=stopping)
        with Progression(status=status, offsets=letters.stretch.offsets) as progression:
            async for letter in letters.until(stopping.is_set):
                if sorting.sends(letter):
                    chosen += 1
                    await batches.add(self._entry(letter))
                progression.advance(f"{self._journal.written:,} redriven", passed=self._scan.passed)
                if chosen == asked.question.limit:
                    break
            await batches.flush()

    async def _write(self, entries: Sequence[Entry]) -> None:
        for entry in await self._journal.write(entries):
            self.refused += 1
            size = len(entry.outgoing.value) if entry.outgoing else 0
            self._link.say(
                f"{entry.mark.place}: {size:,} bytes, more than the broker takes for {self._asked.topic}"
                " (its setting max.message.bytes)"
            )

    def _entry(self, letter: Letter) -> Entry:
        record = letter.record
        partition = letter.origin_partition
        outgoing = Outgoing(
            topic=self._asked.topic,
            # Where it was read: the others of its key are there, whatever partitioner its producer has.
            partition=partition if partition in self._partitions else None,
            key=record.key,
            value=record.value or b"",
            headers=redriven_headers(record.headers, replays=letter.replays + 1),
        )
        return Entry(mark=Mark(letter.place, record.timestamp, State.REDRIVEN), outgoing=outgoing)

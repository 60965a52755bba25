"""`docsluice dead-letters redrive`: records are sent once more, each with its mark in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from docsluice.kafka.transactions import ProducerRecord
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.command_line.stop_signals import stop_on_signals
from docsluice_producer.dead_letters.counts import Counts
from docsluice_producer.dead_letters.handling import handling
from docsluice_producer.dead_letters.journal import Entry, Journal
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.marks import Mark, State
from docsluice_producer.dead_letters.originals import Originals
from docsluice_producer.dead_letters.query import DeadLetterQuery, letters_for_looking
from docsluice_producer.dead_letters.redriving import Forecast, Sorting, redriven_headers
from docsluice_producer.dead_letters.selection import Selection
from docsluice_producer.dead_letters.stub import stub_of
from docsluice_producer.following.display import console

_IN_A_TRANSACTION = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Redrive:
    """What to send again, and where. `most_replays` None sets no limit."""

    query: DeadLetterQuery
    topic: str
    per_second: int
    most_replays: int | None

    def sorting(self) -> Sorting:
        """Decides which dead letters go back."""
        return Sorting(topic=self.topic, most_replays=self.most_replays)


async def dry_run(asked: Redrive) -> int:
    """Say what would be sent and what it may cost, write nothing, and return the exit code.

    Raises:
        BrokerAway, BrokerRefused: the broker, or one of the topics, is not there.
    """
    status, out = console(stderr=True), console()
    counts, forecast, sorting = Counts(), Forecast(), asked.sorting()
    # The dry run must show how the real one would end, so the topic must be there for it, too.
    async with letters_for_looking(asked.query, status.print, topic=asked.topic) as letters:
        with stop_on_signals(lambda: None) as stop:
            async for letter in letters.until(lambda: stop.signal is not None):
                if sorting.sends(letter):
                    counts.add(letter)
                    forecast.add(letter)
                if counts.total == asked.query.limit:
                    break
    out.print(f"dry run: {counted(counts.total, 'dead letter')} would be sent to {asked.topic}")
    for line in [*counts.lines, *forecast.sentences, *sorting.remarks, *letters.selection.remarks]:
        out.print(line)
    return stop.exit_code or Exit.DONE


async def redrive(asked: Redrive) -> int:
    """Send every meant dead letter, print the totals, and return the exit code.

    Raises:
        BrokerAway, BrokerRefused: the broker, or one of the topics, was not there to begin with.
    """
    status, out, sorting = console(stderr=True), console(), asked.sorting()
    selection = Selection(wanted=asked.query.wanted, say=status.print)
    async with handling(asked.query, selection, status=status, topic=asked.topic) as handled:
        partitions = handled.topics[asked.topic]
        async with Originals(session=handled.session, topic=asked.topic, partitions=partitions) as originals:
            sending = _Sending(handled.journal, originals, asked.topic, partitions, status)

            async def entry_of(letter: Letter) -> Entry | None:
                return await sending.entry(letter) if sorting.sends(letter) else None

            await handled.each(
                entry_of, write=sending.write, most=_IN_A_TRANSACTION, per_second=asked.per_second, done="redriven"
            )
    out.print(f"redriven {counted(handled.journal.written, 'dead letter')} to {asked.topic}")
    for line in [*sending.remarks, *sorting.remarks, *selection.remarks]:
        out.print(line)
    return handled.exit_code or (Exit.FAULT if sending.refused or sending.gone else Exit.DONE)


class _Sending:
    """Turns dead letters into records of the topic that they go back to.

    `refused` counts records that the topic does not take, `gone` those whose original is lost.
    """

    def __init__(
        self, journal: Journal, originals: Originals, topic: str, partitions: Sequence[int], status: Console
    ) -> None:
        self.refused = self.gone = 0
        self._journal = journal
        self._originals = originals
        self._topic = topic
        self._partitions = partitions
        self._status = status

    @property
    def remarks(self) -> list[str]:
        """What was not sent."""
        lines = []
        if self.refused:
            lines.append(f"{counted(self.refused, 'dead letter')} larger than {self._topic} takes: left as they are")
        if self.gone:
            lines.append(f"{counted(self.gone, 'dead letter')} without their record, which is gone: left as they are")
        return lines

    async def write(self, entries: Sequence[Entry]) -> None:
        """Send the entries, and name those that are not taken."""
        for entry in await self._journal.write(entries):
            self.refused += 1
            size = len(entry.outgoing.value or b"") if entry.outgoing else 0
            self._status.print(
                f"{entry.mark.place}: {size:,} bytes, more than the broker takes for {self._topic}"
                " (its setting max.message.bytes)"
            )

    async def entry(self, letter: Letter) -> Entry | None:
        """The record to send for a dead letter, with its mark. None if the original is lost."""
        record, own, stub = letter.record, None, stub_of(letter)
        if stub is not None:
            original, why = await self._originals.read(letter, stub)
            if original is None:
                self.gone += 1
                self._status.print(f"{letter.place}: {why}")
                return None
            record, own = original, original.headers
        partition = letter.origin_partition
        outgoing = ProducerRecord(
            topic=self._topic,
            # To the partition where it was read: other records of its key are there, whatever the producer's
            # partitioner.
            partition=partition if partition in self._partitions else None,
            key=record.key,
            value=record.value or b"",
            headers=redriven_headers(letter.record.headers, replays=letter.replays + 1, own=own),
        )
        return Entry(mark=Mark(letter.place, letter.record.timestamp, State.REDRIVEN), outgoing=outgoing)

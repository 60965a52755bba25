"""`docsluice dead-letters drop`: dead letters are marked as done. Their bytes go with retention."""

import asyncio
import sys

from docsluice.kafka.topic_reading import OffsetRange
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.dead_letters.counts import Counts
from docsluice_producer.dead_letters.handling import handling
from docsluice_producer.dead_letters.journal import Entry
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.marks import Mark, State
from docsluice_producer.dead_letters.query import DeadLetterQuery, letters_for_looking
from docsluice_producer.dead_letters.selection import Selection
from docsluice_producer.following.display import console

_IN_A_TRANSACTION = 1_000


def drop(query: DeadLetterQuery, *, confirmed: bool) -> int:
    """Count the meant dead letters, ask unless `confirmed`, mark them, and return the exit code.

    Raises:
        BrokerAway, BrokerRefused: the broker, or the topic, is not there.
    """
    counts, offset_range = asyncio.run(_counted(query))
    out = console()
    if not counts.total:
        out.print(f"nothing to drop in {query.topic}")
        return Exit.DONE
    if not confirmed:
        for line in counts.lines:
            console(stderr=True).print(line)
        if not _is_confirmed(f"drop {counted(counts.total, 'dead letter')} of {query.topic}? [y/N] "):
            out.print("nothing was dropped")
            return Exit.FAULT
    return asyncio.run(_mark(query, offset_range))


def _is_confirmed(asked: str) -> bool:
    print(asked, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _counted(query: DeadLetterQuery) -> tuple[Counts, OffsetRange]:
    counts = Counts()
    async with letters_for_looking(query, console(stderr=True).print) as letters:
        async for letter in letters.until(lambda: False):
            counts.add(letter)
            if counts.total == query.limit:
                break
        return counts, letters.offset_range


async def _mark(query: DeadLetterQuery, offset_range: OffsetRange) -> int:
    """Mark the meant dead letters in the very range that was counted. Newer ones were not asked about."""
    selection = Selection(wanted=query.wanted, say=lambda _: None)
    async with handling(query, selection, status=console(stderr=True), offset_range=offset_range) as handled:
        await handled.each(_entry, write=handled.journal.write, most=_IN_A_TRANSACTION, done="dropped")
    console().print(
        f"dropped {counted(handled.journal.written, 'dead letter')} of {query.topic}: marked, and not shown or"
        " redriven any more; their bytes go with the topic's retention"
    )
    return handled.exit_code


async def _entry(letter: Letter) -> Entry:
    return Entry(mark=Mark(letter.place, letter.record.timestamp, State.DROPPED))

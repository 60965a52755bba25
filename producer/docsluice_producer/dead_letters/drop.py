"""`docsluice-producer dead-letters drop`: dead letters marked as done with. Their bytes go with retention."""

import asyncio
import sys

from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.dead_letters.counts import Counts
from docsluice_producer.dead_letters.handling import handling
from docsluice_producer.dead_letters.journal import Entry
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.marks import Mark, State
from docsluice_producer.dead_letters.query import Question, letters_for_looking
from docsluice_producer.dead_letters.selection import Selection
from docsluice_producer.following.display import console
from docsluice_producer.kafka.topic_scan import Stretch

_IN_A_TRANSACTION = 1_000


def drop(question: Question, *, confirmed: bool) -> int:
    """Count what is meant, ask unless it is `confirmed`, mark it, and return the exit code.

    Raises:
        BrokerAway, BrokerRefused: the broker, or the topic, is not there.
    """
    counts, stretch = asyncio.run(_counted(question))
    out = console()
    if not counts.total:
        out.print(f"nothing to drop in {question.topic}")
        return Exit.DONE
    if not confirmed:
        for line in counts.lines:
            console(stderr=True).print(line)
        if not _is_confirmed(f"drop {counted(counts.total, 'dead letter')} of {question.topic}? [y/N] "):
            out.print("nothing was dropped")
            return Exit.FAULT
    return asyncio.run(_mark(question, stretch))


def _is_confirmed(asked: str) -> bool:
    print(asked, end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _counted(question: Question) -> tuple[Counts, Stretch]:
    counts = Counts()
    with question.link(console(stderr=True).print) as link:
        async with letters_for_looking(question, link) as letters:
            async for letter in letters.until(lambda: False):
                counts.add(letter)
                if counts.total == question.limit:
                    break
            return counts, letters.stretch


async def _mark(question: Question, stretch: Stretch) -> int:
    """Mark what is meant in the very stretch that was counted: what has come since was not asked about."""
    selection = Selection(wanted=question.wanted, say=lambda _: None)
    async with handling(question, selection, status=console(stderr=True), stretch=stretch) as handled:
        await handled.each(_entry, write=handled.journal.write, most=_IN_A_TRANSACTION, done="dropped")
    console().print(
        f"dropped {counted(handled.journal.written, 'dead letter')} of {question.topic}: marked, and not shown or"
        " redriven any more; their bytes go with the topic's retention"
    )
    return handled.exit_code


async def _entry(letter: Letter) -> Entry:
    return Entry(mark=Mark(letter.place, letter.record.timestamp, State.DROPPED))

"""`docsluice-producer dead-letters drop`: dead letters marked as done with. Their bytes go with retention."""

import asyncio
import sys
from contextlib import AsyncExitStack

from producer.dead_letters.batches import Batches
from producer.dead_letters.counts import Counts
from producer.dead_letters.journal import Entry, Journal
from producer.dead_letters.marks import Mark, State
from producer.dead_letters.progress import Progression
from producer.dead_letters.question import Letters, Question, letters_for_looking
from producer.dead_letters.scan import Scan, Stretch
from producer.dead_letters.selection import Selection
from producer.exits import Exit
from producer.faults import ProducerFault
from producer.following.display import console
from producer.printable import counted
from producer.stopping import stop_on_signals

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
    status, out = console(stderr=True), console()
    stopping, chosen, fault = asyncio.Event(), 0, None
    async with AsyncExitStack() as stack:
        link = stack.enter_context(question.link(status.print))
        topics = await link.topics(dead_letter_topic=question.topic)
        journal = await stack.enter_async_context(Journal(link=link, dead_letter_topic=question.topic))
        scan = await stack.enter_async_context(Scan(link=link, topic=question.topic, partitions=topics[question.topic]))
        selection = Selection(wanted=question.wanted, say=lambda _: None)
        letters = Letters(scan=scan, stretch=stretch, states=journal, selection=selection)
        batches = Batches(write=journal.write, most=_IN_A_TRANSACTION, per_second=None, stopping=stopping)
        stop = stack.enter_context(stop_on_signals(stopping.set))
        progression = stack.enter_context(Progression(status=status, offsets=stretch.offsets))
        try:
            async for letter in letters.until(stopping.is_set):
                chosen += 1
                await batches.add(Entry(mark=Mark(letter.place, letter.record.timestamp, State.DROPPED)))
                progression.advance(f"{journal.written:,} dropped", passed=scan.passed)
                if chosen == question.limit:
                    break
            await batches.flush()
        except ProducerFault as error:
            fault = error
        except asyncio.CancelledError:
            if stop.signal is None:
                raise
    if fault is not None:
        status.print(f"stopped: {fault}")
    out.print(
        f"dropped {counted(journal.written, 'dead letter')} of {question.topic}: marked, and not shown or redriven any"
        " more; their bytes go with the topic's retention"
    )
    return stop.exit_code or (Exit.DONE if fault is None else Exit.FAULT)

"""The common part of redrive and drop: they go through dead letters, and nobody else marks them meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from rich.console import Console

from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.topic_reading import OffsetRange
from docsluice.kafka.topic_scan import Scan
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.stop_signals import Stop, stop_on_signals
from docsluice_producer.dead_letters.batches import Batches
from docsluice_producer.dead_letters.journal import Entry, Journal
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.progress import Progression
from docsluice_producer.dead_letters.query import DeadLetterQuery, Letters
from docsluice_producer.dead_letters.selection import Selection
from docsluice_producer.errors import ProducerFault


@dataclass(slots=True, kw_only=True)
class Handling:
    """Dead letters being handled. `fault` is what ended it early. In any case, written entries are marked."""

    session: BrokerSession
    topics: Mapping[str, list[int]]
    journal: Journal
    letters: Letters
    limit: int | None
    status: Console
    stop: Stop
    stopping: asyncio.Event
    fault: ProducerFault | None = None

    @property
    def exit_code(self) -> int:
        """The exit code, as far as it depends on how this ended."""
        return self.stop.exit_code or (Exit.DONE if self.fault is None else Exit.FAULT)

    async def each(
        self,
        entry_of: Callable[[Letter], Awaitable[Entry | None]],
        *,
        write: Callable[[Sequence[Entry]], Awaitable[object]],
        most: int,
        per_second: int | None = None,
        done: str,
    ) -> None:
        """Write the entry of every dead letter that has one, up to the limit or a signal. Show how many are `done`.

        A transaction takes `most` entries at most.
        """
        chosen, letters = 0, self.letters
        batches = Batches(write=write, most=most, per_second=per_second, stopping=self.stopping)
        with Progression(status=self.status, offsets=letters.offset_range.offsets) as progression:
            async for letter in letters.until(self.stopping.is_set):
                entry = await entry_of(letter)
                if entry is not None:
                    chosen += 1
                    await batches.add(entry)
                progression.advance(f"{self.journal.written:,} {done}", passed=letters.scan.passed)
                if chosen == self.limit:
                    break
            await batches.flush()


@asynccontextmanager
async def handling(
    query: DeadLetterQuery,
    selection: Selection,
    *,
    status: Console,
    offset_range: OffsetRange | None = None,
    **needed: str,
) -> AsyncIterator[Handling]:
    """The dead letters of a range (None: of the query). A signal or a fault ends it in order.

    `needed` are topics that must be there, by the flag that says them.

    Raises:
        BrokerAway, BrokerRefused: the broker, or one of the topics, was not there to begin with.
    """
    async with AsyncExitStack() as stack:
        session = stack.enter_context(query.session(status.print))
        topics = await session.topics(dead_letter_topic=query.topic, **needed)
        journal = await stack.enter_async_context(Journal(session=session, dead_letter_topic=query.topic))
        scan = await stack.enter_async_context(Scan(session=session, topic=query.topic, partitions=topics[query.topic]))
        offset_range = offset_range or await scan.offset_range(since=query.since)
        stopping = asyncio.Event()
        handled = Handling(
            session=session,
            topics=topics,
            journal=journal,
            letters=Letters(scan=scan, offset_range=offset_range, states=journal, selection=selection),
            limit=query.limit,
            status=status,
            stop=stack.enter_context(stop_on_signals(stopping.set)),
            stopping=stopping,
        )
        try:
            yield handled
        except ProducerFault as error:
            handled.fault = error
        except asyncio.CancelledError:
            if handled.stop.signal is None:
                raise
            # Asked to stop twice: the open transaction is left to the broker, which ends it.
    if handled.fault is not None:
        status.print(f"stopped: {handled.fault}")

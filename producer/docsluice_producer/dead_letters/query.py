"""The start of every dead-letter command: the broker, the topic, the marks, and the meant dead letters."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from aiokafka import TopicPartition

from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import BrokerSession, broker_session
from docsluice.kafka.passing import Say
from docsluice.kafka.topic_reading import OffsetRange
from docsluice.kafka.topic_scan import Scan
from docsluice_producer.dead_letters.journal import marks_as_they_are
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.marks import Place
from docsluice_producer.dead_letters.selection import Selection, States, Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetterQuery:
    """Which dead letters of which topic. None is no limit, the topic's beginning, and any place."""

    broker: Broker
    topic: str
    wait_seconds: float
    wanted: Wanted
    since: timedelta | None = None
    limit: int | None = None
    place: Place | None = None

    def session(self, say: Say) -> AbstractContextManager[BrokerSession]:
        """The way to the broker, for the length of a block."""
        return broker_session(self.broker, wait_seconds=self.wait_seconds, say=say)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """The dead letters of a range, one after the other."""

    scan: Scan
    offset_range: OffsetRange
    states: States
    selection: Selection

    async def until(self, stopped: Callable[[], bool]) -> AsyncIterator[Letter]:
        """Every wanted one until the end, or until `stopped`, which is called again and again."""
        async for records in self.scan.pieces(self.offset_range, stopped=stopped):
            for record in records:
                letter = self.selection.take(record, self.states)
                if letter is not None:
                    yield letter
                if stopped():
                    return


@asynccontextmanager
async def letters_for_looking(query: DeadLetterQuery, say: Say, **needed: str) -> AsyncIterator[Letters]:
    """The dead letters as they are now, for a command that writes nothing.

    `needed` are topics that must be there, by the flag that says them.

    Raises:
        BrokerAway, BrokerRefused: the broker, or the topic, is not there.
    """
    with query.session(say) as session:
        topics = await session.topics(dead_letter_topic=query.topic, **needed)
        marks = await marks_as_they_are(session, query.topic)
        async with Scan(session=session, topic=query.topic, partitions=topics[query.topic]) as scan:
            offset_range = await scan.offset_range(since=query.since)
            if query.place is not None:
                offset_range = offset_range.at(TopicPartition(query.topic, query.place.partition), query.place.offset)
            selection = Selection(wanted=query.wanted, say=say)
            yield Letters(scan=scan, offset_range=offset_range, states=marks, selection=selection)

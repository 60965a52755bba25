"""What every command about dead letters begins with: the broker, the topic, the marks, and the dead letters meant."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta

from aiokafka import TopicPartition

from docsluice_producer.dead_letters.journal import marks_as_they_are
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.marks import Place
from docsluice_producer.dead_letters.selection import Selection, States, Wanted
from docsluice_producer.kafka.broker_session import Link
from docsluice_producer.kafka.connection import Broker, ClientLog, Say
from docsluice_producer.kafka.topic_scan import Scan, Stretch


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Which dead letters of which topic. None is no limit, the topic's beginning, and any place."""

    broker: Broker
    topic: str
    wait_seconds: float
    wanted: Wanted
    since: timedelta | None = None
    limit: int | None = None
    place: Place | None = None

    @contextmanager
    def link(self, say: Say) -> Iterator[Link]:
        """The way to the broker, for the length of a block."""
        with ClientLog().attached() as client_log:
            yield Link(broker=self.broker, wait_seconds=self.wait_seconds, client_log=client_log, say=say)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """The dead letters of a stretch, one after the other."""

    scan: Scan
    stretch: Stretch
    states: States
    selection: Selection

    async def until(self, stopped: Callable[[], bool]) -> AsyncIterator[Letter]:
        """Every wanted one until the end, or until `stopped`, which is asked again and again."""
        async for records in self.scan.pieces(self.stretch, stopped=stopped):
            for record in records:
                letter = self.selection.take(record, self.states)
                if letter is not None:
                    yield letter
                if stopped():
                    return


@asynccontextmanager
async def letters_for_looking(question: Question, link: Link) -> AsyncIterator[Letters]:
    """The dead letters as they are now, for a command that writes nothing.

    Raises:
        BrokerAway, BrokerRefused: the broker, or the topic, is not there.
    """
    topics = await link.topics(dead_letter_topic=question.topic)
    marks = await marks_as_they_are(link, question.topic)
    async with Scan(link=link, topic=question.topic, partitions=topics[question.topic]) as scan:
        stretch = await scan.stretch(since=question.since)
        if question.place is not None:
            stretch = stretch.at(TopicPartition(question.topic, question.place.partition), question.place.offset)
        selection = Selection(wanted=question.wanted, say=link.say)
        yield Letters(scan=scan, stretch=stretch, states=marks, selection=selection)

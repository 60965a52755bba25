"""Originals of stubs, read back from the topic that they came from."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiokafka import TopicPartition

from docsluice.kafka.batch_reading import flaw_of
from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.topic_reading import OffsetRange
from docsluice.kafka.topic_scan import Scan
from docsluice.outcomes.outcome import FetchedRecord
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.stub import Stub


class Originals:
    """Reads originals of one topic. It connects for the first one."""

    def __init__(self, *, session: BrokerSession, topic: str, partitions: Sequence[int]) -> None:
        self._session = session
        self._topic = topic
        self._partitions = partitions
        self._stack = AsyncExitStack()
        self._scan: Scan | None = None
        self._all = OffsetRange(first={}, end={})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def read(self, letter: Letter, stub: Stub) -> tuple[FetchedRecord | None, str]:
        """The original record, or why it cannot be read.

        Raises:
            BrokerAway, BrokerRefused: the topic cannot be read.
        """
        found = await self._at(letter.origin_partition, letter.outcome.fields["source"]["offset"])
        if found is not None and (flaw := flaw_of(found)) is not None:
            return None, f"its original cannot be read: {flaw.problem}"
        why = stub.why_not(found)
        return (None, why) if why else (found, "")

    async def _at(self, partition: int | None, offset: int | None) -> FetchedRecord | None:
        if partition is None or offset is None:
            return None
        if self._scan is None:
            scan = Scan(session=self._session, topic=self._topic, partitions=self._partitions)
            self._scan = await self._stack.enter_async_context(scan)
            self._all = await self._scan.offset_range()
        offset_range = self._all.at(TopicPartition(self._topic, partition), offset)
        found: FetchedRecord | None = None
        async for records in self._scan.pieces(offset_range):
            found = next((record for record in records if record.offset == offset), found)
        return found

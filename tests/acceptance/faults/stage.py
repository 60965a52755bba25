"""What a scenario plays on: documents, replicas, broker, proxy, provider, and how long to wait for conditions."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from tests.acceptance.faults import topics
from tests.acceptance.faults.account import document_of
from tests.acceptance.faults.feed import Feed
from tests.acceptance.faults.ground import Ground
from tests.acceptance.faults.provider import Provider
from tests.acceptance.faults.replicas import Replicas
from tests.acceptance.faults.watch import Watch

_LOOK_SECONDS = 0.05
_ASK_SECONDS = 0.3  # requests to the broker or the provider take time, for both have other work to do


class GaveUp(Exception):
    """A condition never came about. The account then shows what is missing."""


@dataclass(frozen=True, kw_only=True)
class Names:
    """Topics and group of one run, which no other run has."""

    run: str

    @property
    def input(self) -> str:
        """Documents."""
        return f"{self.run}.documents"

    @property
    def results(self) -> str:
        """Results."""
        return f"{self.run}.results"

    @property
    def dead_letters(self) -> str:
        """Dead letters."""
        return f"{self.run}.dlq"

    @property
    def group(self) -> str:
        """The consumer group."""
        return f"{self.run}.group"

    def settings(self) -> Mapping[str, str]:
        """The same, as the consumer is told."""
        return {
            "DOCSLUICE_INPUT_TOPIC": self.input,
            "DOCSLUICE_RESULT_TOPIC": self.results,
            "DOCSLUICE_DEAD_LETTER_TOPIC": self.dead_letters,
            "DOCSLUICE_GROUP_ID": self.group,
        }


@dataclass(kw_only=True)
class Stage:
    """Everything that a scenario can lay its hands on.

    Attributes:
        documents: how many there are to be at least.
        draws: the only source of chance, so that a seed repeats a run.
    """

    names: Names
    ground: Ground
    provider: Provider
    replicas: Replicas
    watch: Watch
    feed: Feed
    documents: int
    draws: random.Random
    exactly_once: bool
    timeout_seconds: float
    faults_ended: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    async def begin(self, documents: int) -> None:
        """Start the replicas, and send documents when all are members: what follows is then the fault's doing alone.

        A member that joins later has documents repeated that were under way in the partitions it is given.
        """
        await self.replicas.start()
        everyone = len(list(self.replicas))

        async def all_there() -> bool:
            return await self.members() == ("Stable", everyone)

        await self.until(all_there, what="all replicas are members of the group")
        await self.feed.send(self.feed.events(documents))

    def fault_ended(self) -> None:
        """A fault is over at this moment. From here on, the seconds to resume are counted."""
        self.faults_ended.append(time.monotonic())

    def seconds_to_resume(self) -> float | None:
        """The longest that it took, after any fault, until the next outcome was seen. None where none was needed."""
        found = [self.watch.seconds_until_next(moment) for moment in self.faults_ended]
        return max((seconds for seconds in found if seconds is not None), default=None)

    async def until(self, condition: Callable[[], bool | Awaitable[bool]], *, what: str) -> None:
        """Wait for a condition.

        Raises:
            GaveUp: it did not come about, though there was time enough.
        """
        deadline = time.monotonic() + self.timeout_seconds
        while True:
            holds = condition()
            asks = inspect.isawaitable(holds)
            if await holds if inspect.isawaitable(holds) else holds:
                return
            if time.monotonic() > deadline:
                raise GaveUp(f"never happened: {what}")
            await asyncio.sleep(_ASK_SECONDS if asks else _LOOK_SECONDS)

    async def until_ended(self, count: int) -> None:
        """Wait until so many documents have ended, for as long as there is progress.

        Raises:
            GaveUp: none has ended for a long time.
        """
        began = time.monotonic()
        while self.watch.count < count:
            if time.monotonic() - max(began, self.watch.last_new_at) > self.timeout_seconds:
                raise GaveUp(f"no document has ended for {self.timeout_seconds:.0f} s: {self.watch.count} of {count}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def until_more_ended(self, count: int) -> None:
        """Wait until so many documents more have ended."""
        await self.until_ended(self.watch.count + count)

    async def until_all_ended(self) -> None:
        """Wait until every document that is on the input topic has ended, and nothing is being done again.

        What is done again lies above the committed offset, so a group that has committed everything is at rest.
        """
        records = await topics.read_all(self.ground.direct, self.names.input)
        places = {document.place for document in map(document_of, records) if document}
        strangers = len(self.watch.ended.keys() - places)
        await self.until_ended(len(places) + strangers)
        ends = {partition: offset + 1 for _, partition, offset in sorted(places)}

        async def committed() -> bool:
            found = await topics.committed(self.ground.direct, self.names.group)
            offsets = {partition.partition: commit.offset for partition, commit in found.items()}
            return all(offsets.get(partition, 0) >= end for partition, end in ends.items())

        await self.until(committed, what="everything that has ended is committed")

    async def members(self) -> tuple[str, int]:
        """The group's state, and how many members the broker thinks that it has."""
        return await topics.members(self.ground.direct, self.names.group)

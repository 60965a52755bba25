"""Results and dead letters as they come: each once, typed, and resumable by a group."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar, Unpack

from docsluice.client.connection import Connection, topics_of
from docsluice.client.received import DeadLetter, ReceivedResult, received_dead_letter, received_result
from docsluice.errors import ConfigurationError
from docsluice.kafka.reader import Start
from docsluice.kafka.topic_access import TopicReader, Topics
from docsluice.outcomes.outcome import Outcome, Unreadable, outcome_of
from docsluice.outcomes.seen import REMEMBERED, Seen

log = logging.getLogger("docsluice")

T = TypeVar("T")
From: TypeAlias = Literal["latest", "earliest"] | datetime
"""Where to begin: with what comes from now on, with the oldest, or at a time with a zone."""

_FETCH_MS = 20


class Subscription(Generic[T]):
    """What `results` and `dead_letters` return: iterate over it once, in `async with` or without.

    `repeats` counts what was dropped because it had come before. `skipped` counts records that are something else, or
    unreadable. Each of those is also a warning of the logger `docsluice`.
    """

    def __init__(
        self,
        *,
        topics: Topics,
        topic: str,
        start: Start,
        group_id: str | None,
        received: Callable[[Outcome, Any], T | None],
        idle_seconds: float | None,
        remembered: int,
    ) -> None:
        self.repeats = 0
        self.skipped = 0
        self.topic = topic
        self._reading = topics.reading(topic, start=start, group_id=group_id)
        self._received = received
        self._idle_seconds = idle_seconds
        self._seen = Seen(remembered)
        self._reader: TopicReader | None = None
        self._cleanup = AsyncExitStack()
        self._finished: dict[tuple[str, int], int] = {}
        self._in_hand: Any = None
        self._fetched: deque[Any] = deque()
        self._is_used = False

    async def __aenter__(self) -> Self:
        """Connect, and find where to begin.

        Raises:
            BrokerAway: the broker did not answer in time.
            BrokerRefused: it refuses us.
            ConfigurationError: it was read before.
        """
        if self._is_used:
            raise ConfigurationError(["a subscription is read once: call results() or dead_letters() again"])
        self._is_used = True
        self._reader = await self._cleanup.enter_async_context(self._reading)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._reader = None
        await self._cleanup.aclose()

    def __aiter__(self) -> AsyncIterator[T]:
        """Everything as it comes. Asking for the next one says that the last one is finished."""
        return self._each() if self._reader is not None else self._connected()

    async def commit(self) -> None:
        """Tell the group that the one in hand is finished too, before the loop is left."""
        self._finish_in_hand()
        await self._commit()

    async def _connected(self) -> AsyncIterator[T]:
        async with self:
            async for one in self._each():
                yield one

    async def _each(self) -> AsyncIterator[T]:
        if self._in_hand is not None:
            await self.commit()  # another loop goes on behind what the last one was left at
        while self._fetched or await self._fetch():
            record = self._fetched.popleft()
            found = self._read(record)
            self._in_hand = record
            if found is not None:
                yield found
            await self.commit()

    async def _fetch(self) -> bool:
        """Fetch the next records. False once nothing has come for `idle_seconds`."""
        assert self._reader is not None, "connected by __aenter__"  # noqa: S101
        clock = asyncio.get_running_loop().time
        began_at = clock()
        while not (records := await self._reader.fetch(timeout_ms=_FETCH_MS)):
            if self._idle_seconds is not None and clock() - began_at >= self._idle_seconds:
                return False
        self._fetched.extend(records)
        return True

    def _read(self, record: Any) -> T | None:
        """What a record holds. None if it is nothing for us, or a repeat."""
        outcome = outcome_of(record)
        if isinstance(outcome, Unreadable):
            self._skip(f"{outcome.where}: {outcome.problem}")
            return None
        found = self._received(outcome, record)
        if found is None:
            kind = "a dead letter" if outcome.is_dead_letter else "a result"
            self._skip(f"{record.topic}/{record.partition}@{record.offset}: {kind}, which is not asked for")
        elif not self._seen.add(outcome.identities):
            self.repeats += 1
            return None
        return found

    def _skip(self, problem: str) -> None:
        self.skipped += 1
        log.warning("skipped %s", problem)

    def _finish_in_hand(self) -> None:
        record, self._in_hand = self._in_hand, None
        if record is not None:
            self._finished[record.topic, record.partition] = record.offset + 1

    async def _commit(self) -> None:
        finished, self._finished = self._finished, {}
        if finished and self._reader is not None:
            await self._reader.commit(finished)


def results(
    *,
    topic: str | None = None,
    from_: From = "latest",
    group_id: str | None = None,
    idle_seconds: float | None = None,
    remembered: int = REMEMBERED,
    **connection: Unpack[Connection],
) -> Subscription[ReceivedResult]:
    """Results as they come, each once.

        async for result in docsluice.results(group_id="search-index"):
            await index(result.document_id, result.outputs)

    Only committed records are read. With a `group_id`, several programs share the topic, and each goes on where the
    group was. The group has finished a result when you ask for the next one. Without one, every program reads all.
    `from_` counts where the group has not been. A result that came before is dropped: the last `remembered` ids are
    known. It ends after `idle_seconds` without a record, or never. `topic` is DOCSLUICE_RESULT_TOPIC by default, or
    else `documents.results`. For the rest see `Connection`.

    Raises:
        ConfigurationError: the settings or arguments cannot work.
        BrokerAway: from the iteration, if the broker did not answer in time to begin with.
        BrokerRefused: from the iteration, if the broker does not let us read.
    """
    topics, settings = topics_of(connection, result_topic=topic)
    return Subscription(
        topics=topics,
        topic=settings.result_topic,
        start=start_of(from_),
        group_id=_group(group_id),
        received=received_result,
        idle_seconds=idle_seconds,
        remembered=remembered,
    )


def dead_letters(
    *,
    topic: str | None = None,
    from_: From = "latest",
    group_id: str | None = None,
    idle_seconds: float | None = None,
    remembered: int = REMEMBERED,
    **connection: Unpack[Connection],
) -> Subscription[DeadLetter]:
    """Dead letters as they come, each once. All else is as in `results`.

    `topic` is DOCSLUICE_DEAD_LETTER_TOPIC by default, or else `documents.dlq`.
    """
    topics, settings = topics_of(connection, dead_letter_topic=topic)
    return Subscription(
        topics=topics,
        topic=settings.dead_letter_topic,
        start=start_of(from_),
        group_id=_group(group_id),
        received=received_dead_letter,
        idle_seconds=idle_seconds,
        remembered=remembered,
    )


def start_of(from_: From) -> Start:
    """Where to begin.

    Raises:
        ConfigurationError: it is no place to begin.
    """
    match from_:
        case "latest":
            return Start()
        case "earliest":
            return Start(from_beginning=True)
        case datetime() if from_.tzinfo is not None:
            return Start(since=datetime.now(UTC) - from_)
        case datetime():
            raise ConfigurationError(["from_: a time without a zone; write datetime(…, tzinfo=UTC)"])
    raise ConfigurationError(['from_: must be "latest", "earliest" or a datetime with a zone'])


def _group(group_id: str | None) -> str | None:
    if group_id is not None and not group_id.strip():
        raise ConfigurationError(["group_id: must not be blank"])
    return group_id

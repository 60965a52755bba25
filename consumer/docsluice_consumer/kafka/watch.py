"""Whether the broker answers, and how far its logs reach. It asks beside the reading, which may be paused.

aiokafka's `getmany` swallows errors of fetches, so a consumer that is cut off looks like one with nothing to do. A
partition counts as answered when the broker told its log's ends, or answered a fetch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from docsluice.kafka import broker_errors
from docsluice.kafka.broker import Broker
from docsluice_consumer.errors import BrokerFault, ConfigurationError
from docsluice_consumer.kafka import error_mapping
from docsluice_consumer.kafka.broker_refusals import REFUSED_SECONDS
from docsluice_consumer.kafka.open_transactions import OpenTransactions
from docsluice_consumer.kafka.partitions import Partitions, PartitionState
from docsluice_consumer.kafka.probe import Trouble, why_silent
from docsluice_consumer.kafka.refused_batches import RefusedBatches
from docsluice_consumer.runtime.supervision import end

log = structlog.get_logger(__name__)

SILENT_SECONDS = 30.0
"""A broker's restart, or a new leader, takes less."""

_TICK_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 5.0
_ANSWER_SECONDS = 5.0
_DIAGNOSE_AFTER_SECONDS = 10.0
"""Early enough to know the cause when the silence is logged."""
_PROBE_SECONDS = 10.0

_NO_ANSWER = f"no answer within {_ANSWER_SECONDS:.0f} seconds"
_AWAY_REMEDY = "documents wait, and nothing is lost; it goes on by itself when the broker answers"
_REFUSED_REMEDY = (
    "documents wait, and nothing is lost; it ends with exit code 1 when it has been refused"
    f" for {REFUSED_SECONDS:.0f} seconds"
)

Diagnose = Callable[[], Awaitable[Trouble | None]]


class BrokerWatch:
    """The watch of one source. `run` is its task. It raises when the broker has refused us for too long."""

    def __init__(
        self,
        *,
        broker: Broker,
        topic: str,
        partitions: Partitions,
        diagnose: Diagnose | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._topic = topic
        self._partitions = partitions
        self._diagnose = diagnose or (lambda: why_silent(broker, seconds=_PROBE_SECONDS))
        self._clock = clock
        self._transactions = OpenTransactions()
        self._consumer: Any = None
        self._answered_at = clock()
        self._looked_at = float("-inf")
        self._error: BaseException | None = None
        """The error of the last look."""
        self._trouble: Trouble | None = None
        self._refused_since: float | None = None
        self._silent_since: float | None = None
        """Set once the silence was logged."""
        self._away_since: float | None = None
        """When the broker last answered, set once its absence was logged."""

    async def run(self, consumer: Any) -> None:
        """Watch until cancelled.

        Raises:
            BrokerFault: it has refused us for `REFUSED_SECONDS`.
        """
        self._consumer = consumer
        self._answered_at = self._clock()
        inquiry = asyncio.create_task(self.inquire(), name="source.watch.inquire")
        try:
            with RefusedBatches().listening():
                while True:
                    await asyncio.wait([inquiry], timeout=_TICK_SECONDS)
                    self.judge()
                    if inquiry.done():
                        inquiry.result()
                        await asyncio.sleep(_TICK_SECONDS)
                        inquiry = asyncio.create_task(self.inquire(), name="source.watch.inquire")
        finally:
            await end(inquiry)

    def silent_seconds(self) -> float:
        """The longest silence of the broker about one partition, in seconds."""
        now = self._clock()
        return max(0.0, max((self._age(state, now) for state in self._partitions), default=now - self._answered_at))

    def why_not_ready(self) -> str | None:
        """A sentence if the broker has been silent for too long."""
        if self._consumer is None or (silent := self.silent_seconds()) < SILENT_SECONDS:
            return None
        cause = self._trouble.cause if self._trouble else "the cause is being looked for"
        return f"the broker {self._broker.bootstrap_servers} has not answered for {silent:.0f} seconds: {cause}"

    async def inquire(self) -> None:
        """Ask how far the logs reach and, after a while without an answer, find out why."""
        await self.look()
        if self.silent_seconds() >= _DIAGNOSE_AFTER_SECONDS:
            self._trouble = await self._find_trouble()

    async def look(self) -> None:
        """Ask how far the logs reach, if it is time or a partition is new."""
        states = list(self._partitions)
        is_due = self._clock() - self._looked_at >= _LOOK_EVERY_SECONDS or any(state.end is None for state in states)
        if is_due:
            self._looked_at = self._clock()
            self._error, answered_at = None, self._answered_at
            if not states:
                await self._look_at_cluster()
            elif not await self._look_at(states) and len(states) > 1:
                await asyncio.gather(*(self._look_at([state]) for state in states))
            self._say_away(since=answered_at)
        for state in states:
            if (ends := self._fetched_ends(state.partition)) is not None:
                self._transactions.note(state.partition, *ends, now=self._clock())

    def judge(self) -> None:
        """Log when the broker has been silent for too long, and when it answers again.

        Raises:
            BrokerFault: it has refused us for too long.
        """
        silent, now = self.silent_seconds(), self._clock()
        if silent < _DIAGNOSE_AFTER_SECONDS:
            self._say_back()
            self._trouble = self._refused_since = None
            return
        if self._trouble is None:
            return
        if silent >= SILENT_SECONDS:
            self._say_silent(silent, self._trouble)
        if not self._trouble.is_final:
            self._refused_since = None
            return
        self._refused_since = now if self._refused_since is None else self._refused_since
        if now - self._refused_since >= REFUSED_SECONDS:
            raise BrokerFault(f"the broker {self._broker.bootstrap_servers} refuses us: {self._trouble.cause}")

    async def _look_at_cluster(self) -> None:
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._consumer.topics()
        except (KafkaError, OSError) as error:
            self._error = error
        else:
            self._answered_at = self._clock()

    async def _look_at(self, states: Sequence[PartitionState]) -> bool:
        """Ask for the ends of all partitions in one request.

        Returns whether it was answered: one bad leader spoils it.
        """
        partitions = [state.partition for state in states]
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                starts, ends = await asyncio.gather(
                    self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
                )
        except (KafkaError, OSError) as error:
            self._error = error
            return False
        for state in states:
            state.start, state.end = starts[state.partition], ends[state.partition]
            state.answered_at = self._answered_at = self._clock()
        return True

    async def _find_trouble(self) -> Trouble:
        try:
            trouble = await self._diagnose()
        except ConfigurationError as error:
            return Trouble("; ".join(error.problems), is_final=True)
        if trouble is not None:
            return trouble
        fault = error_mapping.translate(self._error, doing="read") if isinstance(self._error, KafkaError) else None
        if fault is not None:
            return Trouble(str(fault), is_final=True)
        missing = ", ".join(map(str, self._silent()))
        return Trouble(f"it answers, but not for partition {missing} of {self._topic}; has it a leader?")

    def _say_away(self, *, since: float) -> None:
        """Log when a look got no answer at all, and when one does again. A silence has its own lines."""
        if self._answered_at > since or self._error is None:
            if self._away_since is not None and self._silent_since is None:
                seconds = round(self._clock() - self._away_since)
                log.warning("broker.back", broker=self._broker.bootstrap_servers, seconds=seconds)
            self._away_since = None
        elif self._away_since is None and _is_of_the_way(self._error):
            self._away_since = since
            error = broker_errors.in_words(self._error) if isinstance(self._error, KafkaError) else _NO_ANSWER
            log.warning("broker.away", broker=self._broker.bootstrap_servers, error=error, remedy=_AWAY_REMEDY)

    def _say_silent(self, seconds: float, trouble: Trouble) -> None:
        if self._silent_since is not None:
            return
        self._silent_since = self._clock() - seconds
        lags = [state.lag() for state in self._partitions]
        log.error(
            "broker.silent",
            broker=self._broker.bootstrap_servers,
            cause=trouble.cause,
            seconds=round(seconds),
            partitions=self._silent(),
            backlog=sum(lag for lag in lags if lag is not None),
            remedy=_REFUSED_REMEDY if trouble.is_final else _AWAY_REMEDY,
        )

    def _say_back(self) -> None:
        if self._silent_since is not None:
            seconds = round(self._clock() - self._silent_since)
            log.warning("broker.answers", broker=self._broker.bootstrap_servers, silent_seconds=seconds)
        self._silent_since = None

    def _silent(self) -> list[int]:
        now = self._clock()
        return sorted(
            state.partition.partition for state in self._partitions if self._age(state, now) >= _DIAGNOSE_AFTER_SECONDS
        )

    def _age(self, state: PartitionState, now: float) -> float:
        """Seconds since the broker last answered for a partition."""
        age = now - state.answered_at
        if self._is_assigned(state.partition) and (polled := self._consumer.last_poll_timestamp(state.partition)):
            age = min(age, max(0.0, time.time() - polled / 1000))
        return age

    def _fetched_ends(self, partition: TopicPartition) -> tuple[int, int] | None:
        """Up to where the partition can be read, and where it ends, as of the last fetch."""
        if not self._is_assigned(partition):
            return None
        stable, end = self._consumer.last_stable_offset(partition), self._consumer.highwater(partition)
        return None if stable is None or stable < 0 or end is None else (stable, end)

    def _is_assigned(self, partition: TopicPartition) -> bool:
        return self._consumer is not None and partition in self._consumer.assignment()


def _is_of_the_way(error: BaseException) -> bool:
    """Whether an error comes from the network and is no answer, unlike a missing right.

    If no broker answers, aiokafka's error has no type of its own.
    """
    return not isinstance(error, KafkaError) or type(error) is KafkaError or broker_errors.is_passing(error)

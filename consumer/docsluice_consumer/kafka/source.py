"""Reads records and gives each to a task of its own. Has what has ended committed. Survives rebalances.

One task is always inside `getmany`, and work never blocks it. A partition with too many open records is paused, and
polling goes on. A flag ends the task. Cancelling `getmany` would break its count of fetches for good, and with it
aiokafka's own liveness check.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from docsluice.kafka.batch_reading import TAKEN_BYTES, taken
from docsluice.kafka.broker import Broker
from docsluice.kafka.clients import left
from docsluice_consumer.kafka.assignment import Assignment
from docsluice_consumer.kafka.backlog import report
from docsluice_consumer.kafka.commits import Committer
from docsluice_consumer.kafka.connection import started
from docsluice_consumer.kafka.key_queues import queue_key_of
from docsluice_consumer.kafka.partitions import PartitionState
from docsluice_consumer.kafka.records import Record, read
from docsluice_consumer.kafka.retry import with_retries
from docsluice_consumer.kafka.slow_start import slow_start
from docsluice_consumer.kafka.subscription import SESSION_TIMEOUT_MS, Subscription, consumer_of
from docsluice_consumer.kafka.watch import BrokerWatch
from docsluice_consumer.runtime.supervision import supervised
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

Process = Callable[[Record], Awaitable[None]]
"""Returns when the record has ended. Raises when the service must stop."""

_POLL_MS = 50
_IDLE_SECONDS = 30.0
"""How often the client is polled though reading is paused. A consumer that never polls is removed from the group."""
_POLL_GRACE_SECONDS = 2.0
_JOINING_NOTICE_SECONDS = 5.0
_LEAVE_SECONDS = 5.0
_DRAIN_LOOK_SECONDS = 0.25
_COMMIT_SECONDS = 60.0
_STUCK_SECONDS = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What became of the records that were open when a drain began. All but the finished ones are read again later."""

    finished: int = 0
    released: int = 0
    """Records given back without a call in flight: not begun, or waiting."""
    unfinished: tuple[str, ...] = ()
    """The places of records that were cut off at the deadline."""


class Source:
    """The input topic.

    `pause_reason` returns a reason to pause reading, or None. `on_share` hears our share of all partitions. `fault`
    completes with an exception when a record's task or a commit must stop the service. Other parts may set it too.
    """

    def __init__(
        self,
        *,
        broker: Broker,
        subscription: Subscription,
        process: Process,
        committer: Committer,
        metrics: Metrics,
        pause_reason: Callable[[], str | None] = lambda: None,
        on_share: Callable[[float], None] = lambda _share: None,
        fault: asyncio.Future[None] | None = None,
    ) -> None:
        self._broker = broker
        self._subscription = subscription
        self._process = process
        self._pause_reason = pause_reason
        self._paused_for: str | None = None
        self._metrics = metrics
        self._assignment = Assignment(
            broker=broker,
            group_id=subscription.group_id,
            committer=committer,
            metrics=metrics,
            stop_because=self._stop_because,
            on_share=on_share,
            refuses_unknown_maps=subscription.refuses_unknown_maps,
        )
        self._poll_task: asyncio.Task[None] | None = None
        self._commit_task: asyncio.Task[None] | None = None
        self._watch_task: asyncio.Task[None] | None = None
        self._watch = BrokerWatch(broker=broker, topic=subscription.topic, partitions=self._assignment.partitions)
        self._stopped = False
        self._said_stuck = ""
        self._asked_at = float("-inf")
        self.polled_at = self.committed_at = time.monotonic()
        self.fault = fault or asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        """Join the group, waiting for the broker, and begin to read.

        Raises:
            BrokerFault: waiting will not help.
        """
        say = functools.partial(_say_joining, self._subscription)
        async with slow_start(self._broker, after_seconds=_JOINING_NOTICE_SECONDS, say=say):
            doing = f"read topic {self._subscription.topic}"
            await started(self._subscribed_consumer, broker=self._broker, doing=doing)
        self._poll_task = self._supervised(self._poll(), name="source.poll")
        self._commit_task = self._supervised(self._commit_regularly(), name="source.commit")
        self._watch_task = self._supervised(self._watch.run(self._assignment.consumer), name="source.watch")

    async def _poll(self) -> None:
        while not self._stopped:
            self.polled_at = time.monotonic()
            batches = await with_retries(self._next_batches, doing=f"read topic {self._subscription.topic}")
            for partition, records in batches.items():
                self._open(partition, records)
            self._assignment.note_positions()

    async def _commit_regularly(self) -> None:
        while not self._stopped:
            self.committed_at = time.monotonic()
            await asyncio.sleep(self._subscription.commit_interval_seconds)
            try:
                async with asyncio.timeout(_COMMIT_SECONDS):
                    await self._assignment.commit()
            except TimeoutError:
                self._metrics.commit_finished("failed")
                log.warning("commit.waiting", reason="the broker does not answer; tried again")
            self._balance()
            self._say_stuck()

    async def drain(self, *, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> Drained:
        """Open no more records, wait up to `seconds` for the open ones, and cancel the rest.

        Records that have not ended stay open, so nothing above them is committed and they are read again. `meanwhile`
        is called now and then.
        """
        self._assignment.draining = True
        self._assignment.pause(state for state in self._assignment.partitions if not state.paused)
        for state in self._assignment.partitions:
            state.key_queues.release_waiting()
        tasks = self._assignment.partitions.tasks()
        deadline, unfinished = time.monotonic() + seconds, tasks
        while unfinished and (remaining := deadline - time.monotonic()) > 0:
            _, unfinished = await asyncio.wait(unfinished, timeout=min(remaining, _DRAIN_LOOK_SECONDS))
            meanwhile()
        if unfinished:  # some may wait only for their commit
            await self._assignment.commit_at_last()
            _, unfinished = await asyncio.wait(unfinished, timeout=_DRAIN_LOOK_SECONDS)
        for task in unfinished:
            task.cancel()
        await asyncio.gather(*unfinished, return_exceptions=True)
        finished = {task for task in tasks if not task.cancelled() and task.result()}
        return Drained(
            finished=len(finished),
            released=len(tasks - finished - unfinished),
            unfinished=tuple(sorted(task.get_name() for task in unfinished - finished)),
        )

    async def close(self) -> None:
        """Cancel all work, commit what has ended, and leave the group."""
        self._assignment.draining = self._stopped = True
        tasks = self._assignment.partitions.tasks()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._assignment.consumer is None:
            return
        await self._end(self._watch_task, after_seconds=0.0)
        await self._end(self._commit_task, after_seconds=0.0)
        await self._assignment.commit_at_last()
        await self._end(self._poll_task, after_seconds=_POLL_GRACE_SECONDS)
        if not await left(self._assignment.consumer, seconds=_LEAVE_SECONDS):
            log.warning("group.left_without_a_word", reason="the broker did not answer")

    @property
    def held_for(self) -> str | None:
        """Why reading is paused, whatever room there is. None without such a reason."""
        return self._paused_for

    @property
    def partition_count(self) -> int:
        """How many partitions the input topic has, ours or not."""
        return self._assignment.partition_count()

    def why_not_ready(self) -> str | None:
        """See `telemetry.health.Health`: the broker has said nothing for too long."""
        return self._watch.why_not_ready()

    def report(self) -> None:
        """Update the gauges."""
        report(self._assignment.partitions, self._metrics, is_complete=self._assignment.is_complete)
        self._metrics.broker_silent(self._watch.silent_seconds())
        paused = any(state.paused for state in self._assignment.partitions) and not self._assignment.draining
        self._metrics.reading_paused((self._paused_for or "backpressure") if paused else None)

    def _subscribed_consumer(self) -> Any:
        consumer = consumer_of(self._subscription, self._broker)
        self._assignment.consumer = consumer  # the first assignment comes before its start is done
        consumer.subscribe([self._subscription.topic], listener=self._assignment)
        return consumer

    def _supervised(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a task whose death stops the service, until it is told to end."""

        def stop_because(error: BaseException) -> None:
            if not self._stopped:
                self._stop_because(error)

        return supervised(work, name=name, stop_because=stop_because)

    async def _end(self, task: asyncio.Task[None] | None, *, after_seconds: float) -> None:
        """Await a side task that has seen the flag. Cancel it if it hangs on a broker that is away."""
        if task is None:
            return
        await asyncio.wait([task], timeout=after_seconds)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _next_batches(self) -> dict[TopicPartition, list[ConsumerRecord]]:
        awake, now = self._assignment.awake(), time.monotonic()
        if not awake and now - self._asked_at < _IDLE_SECONDS:
            await asyncio.sleep(_POLL_MS / 1000)
            return {}  # what was fetched for partitions that are paused is still there when they are resumed
        self._asked_at = now
        room = self._subscription.open_limits.room(awake, self._assignment.partitions)
        try:
            return await taken(
                self._assignment.consumer,
                *(state.partition for state in awake),
                timeout_ms=_POLL_MS,
                most_records=room.records,
                most_bytes=min(room.bytes, TAKEN_BYTES),
            )
        except OffsetOutOfRangeError as error:
            await self._assignment.out_of_range(error.args[0])
            return {}
        except NoOffsetForPartitionError:
            return {}  # its place is about to be set

    def _open(self, partition: TopicPartition, records: list[ConsumerRecord]) -> None:
        """Start a task for each record. Pause the partition when it has enough of them."""
        state = self._assignment.partitions.find(partition)
        if self._assignment.draining or state is None:
            return  # read again, by the next owner or once the place is known
        for position, record in enumerate(records):
            if record.offset < state.reads_from:
                self._assignment.log_truncated(state, record.offset)
                return
            if state.offsets.opened(record.offset):
                self._start(state, read(record, epoch=state.epoch))
            if self._subscription.open_limits.is_full(state, self._assignment.partitions):
                self._assignment.pause([state])
                if position + 1 < len(records):
                    self._assignment.read_from(state, records[position + 1].offset)
                return

    def _start(self, state: PartitionState, record: Record) -> None:
        place = f"{record.topic}/{record.partition}@{record.offset}"
        _say_unreadable(record)
        task = asyncio.create_task(self._work(state, record), name=place)
        state.tasks[task] = time.monotonic()
        state.open_bytes += record.size_bytes
        task.add_done_callback(lambda _: self._left(state, task, record))

    def _left(self, state: PartitionState, task: asyncio.Task[bool], record: Record) -> None:
        del state.tasks[task]
        state.open_bytes -= record.size_bytes

    async def _work(self, state: PartitionState, record: Record) -> bool:
        """Process the record, and close its offset only if that ends it. Returns whether it has ended."""
        if not await state.key_queues.turn(queue_key_of(record.key, self._subscription.ordering)):
            return False
        try:
            await self._process(record)
        except Exception as error:  # noqa: BLE001 - whatever it is, the service stops and the record stays open
            self._stop_because(error)
            return False
        state.ended(record.offset)
        if state.paused and self._subscription.open_limits.has_room(state, self._assignment.partitions):
            self._assignment.resume(state)
        return True

    def _balance(self) -> None:
        """Pause everything while there is a reason to. Resume what was paused, once there is room."""
        reason = self._pause_reason()
        if reason != self._paused_for:
            log.warning("consumption.paused" if reason else "consumption.resumed", reason=reason or self._paused_for)
        self._paused_for = reason
        self._assignment.reading_paused = self._paused_for is not None
        if self._assignment.reading_paused:
            self._assignment.pause(state for state in self._assignment.partitions if not state.paused)
            return
        for state in self._assignment.partitions:
            if state.paused and self._subscription.open_limits.has_room(state, self._assignment.partitions):
                self._assignment.resume(state)

    def _say_stuck(self) -> None:
        """Log, once, the record that holds the committed offset back for long. Without a broker it is not at fault."""
        if self._watch.why_not_ready():
            return
        place, seconds = self._assignment.partitions.oldest() or ("", 0.0)
        if seconds > _STUCK_SECONDS and place != self._said_stuck:
            self._said_stuck = place
            log.warning("record.stuck", source=place, seconds=round(seconds))

    def _stop_because(self, error: BaseException) -> None:
        if not self.fault.done():
            self.fault.set_exception(error)


def _say_unreadable(record: Record) -> None:
    """Log an unreadable part. It may hold several records, and one dead letter stands for all."""
    flaw = record.flaw
    if flaw is not None and flaw.first_offset is not None:
        log.error(
            "records.unreadable",
            partition=record.partition,
            first_offset=flaw.first_offset,
            last_offset=record.offset,
            problem=flaw.problem,
            remedy="one dead letter stands for all of these offsets; have their producer send them again",
        )


def _say_joining(subscription: Subscription) -> None:
    """Log a long join. The group waits for a member that has died silently, or no broker coordinates it."""
    log.warning(
        "group.joining",
        group=subscription.group_id,
        session_seconds=SESSION_TIMEOUT_MS // 1000,
        remedy="a member that was killed is waited for until its session ends; DOCSLUICE_GROUP_INSTANCE_ID avoids it;"
        " the embedded broker waits until it is started again; if it never ends, no broker coordinates groups:"
        " are there as many brokers as offsets.topic.replication.factor says?",
    )

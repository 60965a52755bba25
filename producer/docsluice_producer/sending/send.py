"""`docsluice send`: files to a topic."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TypeAlias

from docsluice.documents.entries import ReadOptions
from docsluice.documents.reader_process import ReaderProcess
from docsluice.documents.reading import read
from docsluice.documents.rows import BEGINNING, Document, Position, Row
from docsluice.documents.sources import Selection
from docsluice.kafka import broker_errors
from docsluice.kafka.broker import Broker
from docsluice.kafka.broker_session import BrokerSession, broker_session
from docsluice.kafka.passing import REQUEST_SECONDS, Say
from docsluice.kafka.topics import create, partitions_of_topics
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.numbers import counted, printable
from docsluice_producer.command_line.stop_signals import stop_on_signals
from docsluice_producer.errors import BrokerAway, BrokerRefused, ProducerFault
from docsluice_producer.kafka.rate import Rate
from docsluice_producer.sending.delivery import MAX_REQUEST_BYTES, Delivery
from docsluice_producer.sending.feed import Feed
from docsluice_producer.sending.not_read import not_read
from docsluice_producer.sending.places import Files, key_of
from docsluice_producer.sending.report import Report
from docsluice_producer.sending.results import IfChanged, unchanged
from docsluice_producer.sending.resumable_delivery import ResumableDelivery

AnyDelivery: TypeAlias = Delivery | ResumableDelivery
_SHOWN_IDS = 5
_NOTICE_SECONDS = 3.0
_WATCH_SECONDS = 0.5
_LEAST_SECONDS_FOR_A_RATE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What to send to which topic. `limit` counts documents that are sent. None is no limit.

    With `if_changed`, those that have a result are skipped. With `resume`, those of an earlier run.
    """

    selection: Selection
    options: ReadOptions
    topic: str
    limit: int | None = None
    per_second: int | None = None
    resume: bool = False
    if_changed: IfChanged | None = None

    def rows(self, *, after: Position = BEGINNING) -> Iterator[Row]:
        """Every row of every source behind a position, in order."""
        with ReaderProcess() as process:
            for source in self.selection.sources[after.source :]:
                entry = after.entry if source.number == after.source else 0
                yield from read(source, self.options, process=process, after=entry)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where the topic is, how long to wait for it, and with how many partitions to create it (None: do not)."""

    broker: Broker
    wait_seconds: float
    create_partitions: int | None = None

    def session(self, say: Say) -> AbstractContextManager[BrokerSession]:
        """The way to the broker, for the length of a block."""
        return broker_session(self.broker, wait_seconds=self.wait_seconds, say=say)


def dry_run(sending: Sending, destination: Destination) -> int:
    """Check every row, say what would be sent, and return the exit code. Only `if_changed` needs a broker.

    Raises:
        ProducerFault: the existing results are unknown, see `unchanged`.
    """
    first_ids: list[str] = []
    value_bytes = largest_bytes = 0
    with _report(sending) as report:
        if sending.if_changed is not None:
            with destination.session(report.say) as session:
                report.unchanged = asyncio.run(unchanged(sending.if_changed, session, report))
        for row in sending.rows():
            document = report.sift(row)
            report.advance(f"{report.read:,} valid")
            if document is not None:
                first_ids += [document.document_id] if len(first_ids) < _SHOWN_IDS else []
                value_bytes += len(document.value)
                largest_bytes = max(largest_bytes, len(document.value))
            if report.read == sending.limit:
                break
    print(
        f"dry run: {counted(report.read, 'document')} would be sent to {sending.topic}, {value_bytes:,} bytes of JSON"
    )
    if first_ids:
        more = ", …" if report.read > len(first_ids) else ""
        print(f"largest: {largest_bytes:,} bytes; ids: {', '.join(map(printable, first_ids))}{more}")
    _print_remarks(report, sending.selection)
    return Exit.INCOMPLETE if report.problems else Exit.DONE


async def send(sending: Sending, destination: Destination) -> int:
    """Send every document that can be sent, print the totals, and return the exit code.

    Raises:
        BrokerAway: no broker was there to begin with.
        BrokerRefused: it refused from the beginning, or the topic is missing.
        VersionUnknown: the pipeline version is unknown.
        Stopped: a signal came while the results were read.
    """
    with _report(sending) as report, destination.session(report.say) as session:
        await session.with_retries(lambda: _find_topic(sending.topic, destination, report))
        if sending.if_changed is not None:
            report.unchanged = await unchanged(sending.if_changed, session, report)
        delivery, after = await _started(sending, session, report)
        started_at = time.monotonic()
        fault: ProducerFault | None = None
        feed = Feed(rows=sending.rows(after=after))
        with stop_on_signals(feed.close) as stop:
            try:
                await _deliver(feed, delivery, report, session, sending)
            except ProducerFault as error:
                fault = error
            except asyncio.CancelledError:
                if stop.signal is None:
                    raise
                # Asked to stop twice: documents in flight are counted, but not waited for.
            finally:
                feed.close()
                seconds = time.monotonic() - started_at
                await delivery.stop()
    if fault is not None:
        report.say(f"stopped: {fault}")
    _print_summary(sending, report, sent=delivery.sent, seconds=seconds)
    if stop.exit_code is not None:
        return stop.exit_code
    if fault is not None:
        return Exit.FAULT
    return Exit.INCOMPLETE if report.problems else Exit.DONE


async def _find_topic(topic: str, destination: Destination, report: Report) -> None:
    """Look for the topic, and create it if that is asked for.

    Raises:
        BrokerRefused: the topic is missing and may not be created.
    """
    broker = destination.broker
    if topic in await partitions_of_topics(broker):
        return
    if destination.create_partitions is None:
        raise BrokerRefused(
            f"there is no topic {topic} on {broker.bootstrap_servers}:"
            " --create-topic makes it (--partitions N), --topic names another"
        )
    await create(broker, topic, partitions=destination.create_partitions)
    report.say(f"made the topic {topic} with {destination.create_partitions} partitions")


async def _started(sending: Sending, session: BrokerSession, report: Report) -> tuple[AnyDelivery, Position]:
    """The way to the topic, and the position that earlier runs have come to.

    Raises:
        BrokerAway, BrokerRefused: the broker does not answer, or refuses.
        WrongUsage: the files have changed since an earlier run.
    """
    refused = _refusal(report)
    if not sending.resume:
        delivery = Delivery(broker=session.broker, topic=sending.topic, refused=refused)
        await session.with_retries(lambda: asyncio.wait_for(delivery.start(), REQUEST_SECONDS))
        return delivery, BEGINNING
    selection = sending.selection
    name, files = key_of(selection.paths), Files(selection.sources)
    resumable = ResumableDelivery(session=session, topic=sending.topic, name=name, files=files, refused=refused)
    try:
        await resumable.start()
    except BaseException:
        await resumable.stop()
        raise
    place = resumable.place
    if place.sent:
        report.say(f"{counted(place.sent, 'document')} sent by earlier runs: going on behind them")
        report.pass_bytes(selection.bytes_before(place.position.source))
    return resumable, place.position


async def _deliver(feed: Feed, delivery: AnyDelivery, report: Report, session: BrokerSession, sending: Sending) -> None:
    """Send all rows, with a watch on the broker's silence.

    Raises:
        BrokerAway: nothing was acknowledged within the wait.
        BrokerRefused: the broker takes no more.
    """
    session.client_log.forget()
    try:
        async with asyncio.timeout(None) as waiting:
            watch = asyncio.create_task(_watch(delivery, waiting, report, session), name="watch-broker")
            try:
                await _send_all(feed, delivery, report, sending)
            finally:
                watch.cancel()
                with suppress(asyncio.CancelledError):
                    await watch
    except TimeoutError as error:
        servers, why = session.broker.bootstrap_servers, _why_refused(session)
        raise BrokerAway(f"no acknowledgement from {servers} for {session.timeout_seconds:g} s{why}") from error


async def _send_all(feed: Feed, delivery: AnyDelivery, report: Report, sending: Sending) -> None:
    rate, clock = Rate(per_second=sending.per_second), asyncio.get_running_loop().time
    async for row in feed:
        document = report.sift(row)
        if document is not None:
            if (seconds := rate.left(now=clock())) > 0:
                await asyncio.sleep(seconds)
            rate.went(1, now=clock())
            await delivery.send(document)
        if report.read == sending.limit:
            break
    await delivery.drain()


def _why_refused(session: BrokerSession) -> str:
    """Why the broker takes nothing, if it says so. aiokafka sends a refused batch again by itself."""
    refused = session.client_log.refused
    return f" ({broker_errors.in_words(refused)})" if refused is not None else ""


async def _watch(delivery: AnyDelivery, waiting: asyncio.Timeout, report: Report, session: BrokerSession) -> None:
    """Move the bar. Report a silent broker, and end the sending if it stays silent.

    Waiting for input is no silence.
    """
    loop, timeout_seconds = asyncio.get_running_loop(), session.timeout_seconds
    told_of, progressed_at = 0.0, delivery.progressed_at
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        report.advance(f"{delivery.acknowledged:,} sent")
        if progressed_at != delivery.progressed_at:
            progressed_at = delivery.progressed_at
            session.client_log.forget()
        if not delivery.waits_for_broker:
            continue
        quiet_seconds = loop.time() - delivery.progressed_at
        if quiet_seconds > _NOTICE_SECONDS and told_of != delivery.progressed_at:
            told_of = delivery.progressed_at
            why = _why_refused(session)
            report.say(f"no acknowledgement for {quiet_seconds:.0f} s{why}: waiting for up to {timeout_seconds:g} s")
        if quiet_seconds > timeout_seconds:
            waiting.reschedule(loop.time())
            return


def _report(sending: Sending) -> Report:
    return Report(total_bytes=sending.selection.total_bytes)


def _refusal(report: Report) -> Callable[[Document, int], None]:
    def refused(document: Document, size_bytes: int) -> None:
        if size_bytes >= MAX_REQUEST_BYTES:
            limit = f"the {MAX_REQUEST_BYTES // 1024**2} MiB that this program sends, whatever max.message.bytes allows"
        else:
            limit = "the broker takes for this topic (its setting max.message.bytes)"
        report.refused_document(document.place, f"{len(document.value):,} bytes, more than {limit}")

    return refused


def _print_summary(sending: Sending, report: Report, *, sent: int, seconds: float) -> None:
    rate = f" ({sent / seconds:,.0f} documents a second)" if sent and seconds >= _LEAST_SECONDS_FOR_A_RATE else ""
    print(f"sent {counted(sent, 'document')} to {sending.topic} in {seconds:.1f} s{rate}")
    _print_remarks(report, sending.selection)
    unacknowledged = report.read - report.refused - sent
    if unacknowledged:
        remedy = "--resume goes on there" if sending.resume else "send them again, repeats are recognised"
        print(f"{counted(unacknowledged, 'document')} read and not acknowledged: {remedy}")


def _print_remarks(report: Report, selection: Selection) -> None:
    if report.unchanged is not None:
        print("\n".join(report.unchanged.summary))
    if report.problems:
        print(f"{counted(report.problems, 'bad row')} or file{'' if report.problems == 1 else 's'} not sent")
    for line in not_read(selection):
        print(printable(line))
    if report.repeated.summary:
        print(report.repeated.summary)

"""Reads the existing results from their topic before anything is sent."""

import asyncio
import re
from dataclasses import dataclass
from typing import Any

from docsluice.kafka.broker_session import BrokerSession
from docsluice.kafka.topic_scan import Scan
from docsluice.result_forms import TYPES
from docsluice_producer.command_line.numbers import counted
from docsluice_producer.command_line.stop_signals import stop_on_signals
from docsluice_producer.errors import Stopped
from docsluice_producer.sending.report import Report
from docsluice_producer.sending.unchanged import Unchanged
from docsluice_producer.sending.version import running_version

_TYPES = frozenset(name.encode() for name in TYPES.values())
_RESULT_ID = re.compile(rb"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class IfChanged:
    """Where the results are, and which count: those of a version, or of the version of the consumers at these URLs."""

    result_topic: str
    version: str | tuple[str, ...]


async def unchanged(if_changed: IfChanged, session: BrokerSession, report: Report) -> Unchanged:
    """Find the documents that have a result under the consumers' version.

    Raises:
        VersionUnknown: no consumer told it, or several told several.
        BrokerAway: the broker is not there, or went away.
        BrokerRefused: it does not let us read.
        Stopped: a signal came.
    """
    task = asyncio.current_task()

    def cancel() -> None:
        if task is not None:
            task.cancel()

    with stop_on_signals(cancel) as stop:
        try:
            return await _look(if_changed, session, report)
        except asyncio.CancelledError:
            if stop.exit_code is None:
                raise
            raise Stopped("stopped before anything was sent", exit_code=stop.exit_code) from None


async def _look(if_changed: IfChanged, session: BrokerSession, report: Report) -> Unchanged:
    version = if_changed.version
    if not isinstance(version, str):
        version = await running_version(version, say=report.say)
    found = Unchanged(pipeline_version=version)
    topic = if_changed.result_topic
    partitions = (await session.topics()).get(topic)
    if partitions is None:
        report.say(f"there is no topic {topic}: nothing is done yet")
        return found
    async with Scan(session=session, topic=topic, partitions=partitions) as scan:
        await _remember(scan, found, report, topic=topic)
    return found


async def _remember(scan: Scan, found: Unchanged, report: Report, *, topic: str) -> None:
    offset_range = await scan.offset_range()
    about = counted(offset_range.offsets, "record")
    if offset_range.offsets:
        report.say(f"reading {topic} for what is done, {about} at most")
    version = found.pipeline_version.encode()
    others = 0
    async for records in scan.pieces(offset_range):
        report.keep_posted(lambda: f"{scan.passed:,} of {about} read")
        for record in records:
            identity = _result_id(record)
            if identity is None:
                continue
            # The id alone says nothing about the version. Ids of other versions only take room.
            if version not in record.value:
                others += 1
                continue
            found.results.add(identity)
        if found.results.is_full:
            report.say(f"{len(found.results):,} results are remembered and no more: documents of the others are sent")
            return
    if others and not found.results:
        report.say(f"no result of pipeline version {found.pipeline_version} among {counted(others, 'result')}")


def _result_id(record: Any) -> str | None:
    """The id of a result by its headers. None for anything else."""
    headers = dict(record.headers)
    identity = headers.get("ce_id") or b""
    if record.value is None or headers.get("ce_type") not in _TYPES or not _RESULT_ID.fullmatch(identity):
        return None
    return str(identity, "ascii")

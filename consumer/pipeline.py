"""The path of one record, from its bytes to its end.

    decode ─► analyze ─► publish a result │ a dead letter

`process` returns when the record has ended: its outcome is acknowledged by the broker. Whoever called it then closes
the record's offset. It raises only `ServiceFault` (or is cancelled); the record then stays open and is read again.
While the brake is on, no document is begun and no dead letter published.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import structlog

from consumer.analysis import Analyzer
from consumer.brake import Brake
from consumer.contracts import (
    TRACE_HEADERS,
    DocumentEvent,
    DocumentResult,
    OutputValue,
    SourcePosition,
    excerpt,
    result_headers,
    result_id,
    stub_parts,
)
from consumer.dead_letter import Failure, dead_letter
from consumer.dead_letter_ladder import rungs
from consumer.dead_letter_limit import Result
from consumer.decode import MAX_DOCUMENT_BYTES, read_record, whole_value
from consumer.errors import PublishImpossible, RecordRejected, ServiceFault, cause_of
from consumer.ignored_fields import IgnoredFields
from consumer.kafka.records import Outbox, Outgoing, Record
from consumer.spending import Spending
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who we are and where outcomes go; written into every one of them."""

    group_id: str
    result_topic: str
    dead_letter_topic: str
    pipeline_version: str
    mode: Literal["fanout", "fused"]
    keeps_rejected_answers: bool = True
    max_document_bytes: int = MAX_DOCUMENT_BYTES


class Pipeline:
    """Takes records to their end. `cut` takes out of a dead letter's words what must not be seen."""

    def __init__(
        self,
        *,
        analyzer: Analyzer,
        outbox: Outbox,
        identity: Identity,
        metrics: Metrics,
        brake: Brake,
        cut: Callable[[str], str] = str,
    ) -> None:
        self._cut = cut
        self._analyzer = analyzer
        self._outbox = outbox
        self._identity = identity
        self._metrics = metrics
        self._brake = brake
        self._ignored_fields = IgnoredFields(metrics=metrics)
        brake.on_reached = self._send_back
        self._at_work: dict[asyncio.Task[object], Spending] = {}
        self._sent_back: set[asyncio.Task[object]] = set()

    async def process(self, record: Record) -> None:
        """See the module's docstring."""
        if record.value is None and record.flaw is None:
            self._metrics.documents_total.labels(outcome="skipped").inc()
            return
        started = time.monotonic()
        with self._spending() as spending, self._metrics.documents_in_flight.track_inprogress():
            try:
                await self._when_let(record, spending)
            except ServiceFault:
                raise
            except Exception as error:  # noqa: BLE001 - a bug met on one record must not stop the others
                await self._publish_dead_letter(record, error, spending)
        self._metrics.document_duration_seconds.observe(time.monotonic() - started)

    def release_waiting(self) -> int:
        """Let go of the records with no call under way or answered, or held by the brake, and return how many.

        For a drain: the others are paid for already, and it ends as soon as their calls do.
        """
        self._brake.leave()
        waiting = [task for task, spending in self._at_work.items() if not spending.invested or self._brake.holds(task)]
        for task in waiting:
            task.cancel()
        return len(waiting)

    async def _when_let(self, record: Record, spending: Spending) -> None:
        """Begin when the brake is off; and again from the beginning, where it was put on before anything was paid."""
        while True:
            try:
                await self._brake.wait_to_begin()
                return await self._publish_result(record, spending)
            except asyncio.CancelledError:
                if not self._is_only_sent_back():
                    raise
                spending.begin_again()

    def _send_back(self) -> None:
        """Have the documents that no call was made for wait at the door, as if they had not been begun."""
        for task, spending in self._at_work.items():
            if not spending.invested and task not in self._sent_back:
                self._sent_back.add(task)
                task.cancel()

    def _is_only_sent_back(self) -> bool:
        """Whether the running task was cancelled by `_send_back`, and not to be ended as well."""
        task = _this_task()
        if task not in self._sent_back:
            return False
        self._sent_back.discard(task)
        return task.uncancel() == 0

    @contextlib.contextmanager
    def _spending(self) -> Iterator[Spending]:
        task, spending = _this_task(), Spending()
        self._at_work[task] = spending
        try:
            yield spending
        finally:
            del self._at_work[task]
            self._sent_back.discard(task)

    async def _publish_result(self, record: Record, spending: Spending) -> None:
        started_at = datetime.now(UTC)
        value = whole_value(record.value, record.flaw, most_bytes=self._identity.max_document_bytes)
        read = read_record(key=record.key, value=value, headers=record.headers)
        self._ignored_fields.note(read)
        event = read.event
        outputs = await self._analyzer.analyze(event.text, spending, priority=event.metadata.get("priority"))
        spending.invest(1)  # it is at its end, all from the store or not, and begun anew it would be published twice
        result = self._result(record, event, outputs, spending, started_at)
        counted = self._brake.result()
        try:
            await self._outbox.publish(self._result_message(record, result), ending=record)
        except RecordRejected as too_large:
            await self._publish_dead_letter(record, too_large, spending, withdrawn=counted)
        else:
            self._metrics.documents_total.labels(outcome="result").inc()

    async def _publish_dead_letter(
        self, record: Record, error: Exception, spending: Spending, *, withdrawn: Result | None = None
    ) -> None:
        spending.invest(1)  # it is at its end, call or no call, and a drain lets it out
        failed_at = datetime.now(UTC)
        failure = Failure(
            error=error,
            attempts=spending.attempts,
            cost_usd=spending.cost_usd,
            first_failed_at=spending.first_failed_at or failed_at,
            failed_at=failed_at,
            group_id=self._identity.group_id,
            pipeline_version=self._identity.pipeline_version,
            keeps_answer=self._identity.keeps_rejected_answers,
        )
        await self._brake.wait_to_publish(failure.cause, withdrawn=withdrawn)
        letter = dead_letter(record, failure, topic=self._identity.dead_letter_topic, cut=self._cut)
        left_out = await self._publish_fitting(record, letter)
        self._metrics.documents_total.labels(outcome="dead_letter").inc()
        self._metrics.dead_letters_total.labels(reason=failure.reason.value, step=failure.step).inc()
        _log_dead_letter(record, failure, left_out=left_out)

    async def _publish_fitting(self, record: Record, letter: Outgoing) -> Sequence[str]:
        """Publish the dead letter as large as its topic takes it, and return what was left out.

        Raises:
            PublishImpossible: not even the smallest is taken.
        """
        refused: RecordRejected | None = None
        for rung in rungs(letter):
            try:
                await self._outbox.publish(rung, ending=record)
            except RecordRejected as error:
                refused = error
            else:
                return stub_parts(rung.headers)
        raise PublishImpossible(
            f"topic {letter.topic} takes not even a few hundred bytes that say where to find"
            f" {record.topic}/{record.partition}@{record.offset}, which cannot be analyzed: {refused}; raise its"
            " max.message.bytes, or see what else it refuses"
        ) from refused

    def _result(
        self,
        record: Record,
        event: DocumentEvent,
        outputs: dict[str, OutputValue],
        spending: Spending,
        started_at: datetime,
    ) -> DocumentResult:
        version = self._identity.pipeline_version
        return DocumentResult(
            result_id=result_id(document_id=event.document_id, text=event.text, pipeline_version=version),
            document_id=event.document_id,
            outputs=outputs,
            models=spending.models,
            usage=spending.usage,
            cost_usd=spending.cost_usd,
            saved_usd=spending.saved_usd,
            attempts=spending.attempts,
            long=spending.long,
            started_at=started_at,
            finished_at=datetime.now(UTC),
            pipeline_version=version,
            mode=self._identity.mode,
            source=SourcePosition(topic=record.topic, partition=record.partition, offset=record.offset),
            excerpt=excerpt(event.text),
            metadata=event.metadata,
        )

    def _result_message(self, record: Record, result: DocumentResult) -> Outgoing:
        trace = [(name, value) for name, value in record.headers if name.lower() in TRACE_HEADERS]
        return Outgoing(
            topic=self._identity.result_topic,
            key=record.key or result.document_id.encode(),
            value=result.model_dump_json().encode(),
            headers=[*result_headers(result, group_id=self._identity.group_id), *trace],
        )


def _this_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a record is processed in a task of its own")
    return task


def _log_dead_letter(record: Record, failure: Failure, *, left_out: Sequence[str]) -> None:
    """Say it without the error's message, which may quote the document; the dead letter has it in full."""
    error = failure.error
    fields = {
        "reason": failure.reason.value,
        "stage": failure.stage.value,
        "step": failure.step or None,
        "source": f"{record.topic}/{record.partition}@{record.offset}",
    }
    if left_out:
        fields["left_out"] = ", ".join(left_out)
    if (cause := cause_of(error)) is not None:
        fields["cause"] = cause
    if isinstance(error, RecordRejected):
        if error.model is not None:
            fields |= {"model": str(error.model), "provider": error.model.provider}
        log.warning("document.dead_letter", **fields)
    else:
        log.error("document.dead_letter", **fields, error=type(error).__name__)

"""Makes dead letters, makes them fit their topic, publishes, counts and logs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import structlog

from docsluice.messages import stub_parts
from docsluice_consumer.analysis.results import Identity
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.dead_letters.hold import DeadLetterHold
from docsluice_consumer.dead_letters.limit import Result
from docsluice_consumer.dead_letters.record import Failure, dead_letter
from docsluice_consumer.dead_letters.truncation import rungs
from docsluice_consumer.errors import PublishImpossible, RecordRejected, cause_of
from docsluice_consumer.kafka.records import OutgoingRecord, Record, Sink
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)


def _no_name(_record: Record) -> str:
    return ""


class DeadLetterSink:
    """Publishes the dead letters of records to one topic, when the hold allows it.

    `cut` removes secrets from a dead letter's words. `keeps_answers`: with the rejected answer. `name_in` finds a
    document's name in a record whose form is not that of an event.
    """

    def __init__(
        self,
        *,
        sink: Sink,
        dead_letter_hold: DeadLetterHold,
        identity: Identity,
        topic: str,
        metrics: Metrics,
        keeps_answers: bool = True,
        cut: Callable[[str], str] = str,
        name_in: Callable[[Record], str] = _no_name,
    ) -> None:
        self._sink = sink
        self._dead_letter_hold = dead_letter_hold
        self._identity = identity
        self._topic = topic
        self._metrics = metrics
        self._keeps_answers = keeps_answers
        self._cut = cut
        self._name_in = name_in

    async def publish(
        self, record: Record, error: Exception, document_usage: DocumentUsage, *, withdrawn: Result | None = None
    ) -> None:
        """Publish a record's dead letter, and return when it is acknowledged. `withdrawn`: its earlier result.

        Raises:
            PublishImpossible: the topic does not even take the smallest.
        """
        document_usage.invest(1)  # it is at its end, call or no call, and a drain waits for it
        failed_at = datetime.now(UTC)
        failure = Failure(
            error=error,
            attempts=document_usage.attempts,
            cost_usd=document_usage.cost_usd,
            first_failed_at=document_usage.first_failed_at or failed_at,
            failed_at=failed_at,
            group_id=self._identity.group_id,
            pipeline_version=self._identity.pipeline_version,
            document_id=self._name_in(record),
            keeps_answer=self._keeps_answers,
        )
        await self._dead_letter_hold.wait_to_publish(failure.cause, withdrawn=withdrawn)
        left_out = await self._publish_fitting(record, dead_letter(record, failure, topic=self._topic, cut=self._cut))
        self._metrics.dead_letter_published(reason=failure.reason.value, step=failure.step)
        _log_dead_letter(record, failure, left_out=left_out)

    async def _publish_fitting(self, record: Record, letter: OutgoingRecord) -> Sequence[str]:
        """Publish the dead letter as large as its topic takes it, and return what was left out.

        Raises:
            PublishImpossible: not even the smallest is taken.
        """
        refused: RecordRejected | None = None
        for rung in rungs(letter):
            try:
                await self._sink.publish(rung, ending=record)
            except RecordRejected as error:
                refused = error
            else:
                return stub_parts(rung.headers)
        raise PublishImpossible(
            f"topic {letter.topic} takes not even a few hundred bytes that say where to find"
            f" {record.topic}/{record.partition}@{record.offset}, which cannot be analyzed: {refused}; raise its"
            " max.message.bytes, or see what else it refuses"
        ) from refused


def _log_dead_letter(record: Record, failure: Failure, *, left_out: Sequence[str]) -> None:
    """Log it without the error's message, which may quote the document. The dead letter has it in full."""
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

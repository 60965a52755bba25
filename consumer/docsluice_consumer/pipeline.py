"""The path of one record, from its bytes to its end.

    decode ─► (read what it refers to) ─► analyze ─► publish a result │ a dead letter
           └► pass over

`process` returns when the record has ended: its outcome is acknowledged by the broker, or it has none. The caller then
closes the record's offset. It raises only `ServiceFault` (or is cancelled). The record then stays open and is read
again. While dead letters are held, no document is begun and no dead letter published.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.results import Identity, result_of
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.dead_letters.hold import DeadLetterHold
from docsluice_consumer.dead_letters.sink import DeadLetterSink
from docsluice_consumer.decode.decode import ReadEvent, RecordReader
from docsluice_consumer.decode.ignored_fields import IgnoredFields
from docsluice_consumer.errors import RecordRejected, ServiceFault
from docsluice_consumer.kafka.records import Record, Sink
from docsluice_consumer.objects.reading import NO_OBJECTS, ObjectReader
from docsluice_consumer.telemetry.metrics import DocumentInProgress, Metrics


class Pipeline:
    """Takes records to their end."""

    def __init__(
        self,
        *,
        analyzer: Analyzer,
        sink: Sink,
        dead_letters: DeadLetterSink,
        dead_letter_hold: DeadLetterHold,
        identity: Identity,
        metrics: Metrics,
        reader: RecordReader | None = None,
        objects: ObjectReader = NO_OBJECTS,
    ) -> None:
        self._analyzer = analyzer
        self._sink = sink
        self._dead_letters = dead_letters
        self._dead_letter_hold = dead_letter_hold
        self._identity = identity
        self._metrics = metrics
        self._reader = reader or RecordReader()
        self._objects = objects
        self._ignored_fields = IgnoredFields(metrics=metrics)

    async def process(self, record: Record) -> None:
        """See the module's docstring."""
        if record.value is None and record.flaw is None:
            self._metrics.document_finished("skipped")
            return
        with self._metrics.document_in_progress() as progress:
            await self._dead_letter_hold.run(partial(self._end, record, progress))

    async def _end(self, record: Record, progress: DocumentInProgress, document_usage: DocumentUsage) -> None:
        try:
            if (read := await self._reader.read_by_schema(record)) is None:
                progress.is_skipped = True
                self._metrics.document_finished("skipped")
            elif read.is_reference:
                async with self._objects.whole(read) as whole:
                    await self._publish_result(record, whole, document_usage)
            else:
                await self._publish_result(record, read, document_usage)
        except ServiceFault:
            raise
        except Exception as error:  # noqa: BLE001 - a bug met on one record must not stop the others
            await self._dead_letters.publish(record, error, document_usage)

    async def _publish_result(self, record: Record, read: ReadEvent, document_usage: DocumentUsage) -> None:
        started_at = datetime.now(UTC)
        self._ignored_fields.note(read)
        event = read.event
        steps = self._analyzer.steps_about(event)
        outputs = await self._analyzer.analyze(
            event.text, document_usage, steps=steps, priority=event.metadata.get("priority")
        )
        # it is at its end, all from the store or not, and begun again it would be published twice
        document_usage.invest(1)
        result = result_of(
            event,
            outputs,
            record=record,
            document_usage=document_usage,
            started_at=started_at,
            identity=self._identity,
            filled_prompts=[prompt for step in steps for prompt in step.filled_prompts],
            document=read.document,
        )
        counted = self._dead_letter_hold.result()
        try:
            await self._sink.publish(result, ending=record)
        except RecordRejected as too_large:
            await self._dead_letters.publish(record, too_large, document_usage, withdrawn=counted)
        else:
            self._metrics.document_finished("result")

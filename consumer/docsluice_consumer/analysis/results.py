"""An analyzed document as a result, as it is published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from docsluice.messages import (
    TRACE_HEADERS,
    DocumentEvent,
    DocumentResult,
    OutputValue,
    SourcePosition,
    TaskUsage,
    excerpt,
    result_headers,
    result_id,
)
from docsluice_consumer.analysis.result_writer import ResultWriter
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.kafka.records import OutgoingRecord, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this service is, and how results are written. Every outcome carries it."""

    group_id: str
    writer: ResultWriter
    pipeline_version: str
    mode: Literal["fanout", "fused"]
    carried_headers: frozenset[str] = frozenset()
    """The record's headers that its result has, too, beside those of its trace."""


def result_of(
    event: DocumentEvent,
    outputs: Mapping[str, OutputValue],
    *,
    record: Record,
    document_usage: DocumentUsage,
    started_at: datetime,
    identity: Identity,
    filled_prompts: Sequence[str] = (),
    document: Any = None,
) -> OutgoingRecord:
    """A document's result, keyed like its record, or by its id if the record has no key.

    `filled_prompts` are the prompts with its metadata in them, where they have any. `document` is the JSON that it came
    in, or its text.
    """
    version = identity.pipeline_version
    result = DocumentResult(
        result_id=result_id(
            document_id=event.document_id, text=event.text, pipeline_version=version, filled_prompts=filled_prompts
        ),
        document_id=event.document_id,
        outputs=dict(outputs),
        models=document_usage.models,
        usage=document_usage.usage,
        cost_usd=document_usage.cost_usd,
        saved_usd=document_usage.saved_usd,
        attempts=document_usage.attempts,
        long=document_usage.long,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        pipeline_version=version,
        mode=identity.mode,
        source=SourcePosition(topic=record.topic, partition=record.partition, offset=record.offset),
        excerpt=excerpt(event.text),
        metadata=event.metadata,
        usage_by_task={name: _task_usage(part) for name, part in document_usage.by_step.items()},
    )
    carried = [
        (name, value)
        for name, value in record.headers
        if name.lower() in TRACE_HEADERS or name in identity.carried_headers
    ]
    own = dict(result_headers(result, group_id=identity.group_id)) | dict(identity.writer.headers())
    return OutgoingRecord(
        topic=identity.writer.topic_of(result),
        key=record.key or result.document_id.encode(),
        value=identity.writer.value(result, document),
        headers=[*own.items(), *carried],
    )


def _task_usage(part: DocumentUsage) -> TaskUsage:
    usage = part.usage
    return TaskUsage(input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cost_usd=part.cost_usd)

"""Results and dead letters as a subscriber receives them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from pydantic import Field

from docsluice.messages import DocumentResult, Headers, Scalar, SourcePosition
from docsluice.outcomes.outcome import FetchedRecord, Outcome, errors_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedRecord:
    """The record that something was received in: its bytes and its position. `timestamp` is the broker's."""

    position: SourcePosition
    key: bytes | None
    value: bytes | None = field(repr=False)
    headers: Headers
    timestamp: datetime

    @classmethod
    def of(cls, record: FetchedRecord) -> Self:
        """A client's record in our own form."""
        return cls(
            position=SourcePosition(topic=record.topic, partition=record.partition, offset=record.offset),
            key=record.key,
            value=record.value,
            headers=list(record.headers),
            timestamp=_moment(record.timestamp),
        )

    def header(self, name: str) -> str | None:
        """The last header of a name as text. None if there is none."""
        values = [value for one, value in self.headers if one == name and value is not None]
        return values[-1].decode("utf-8", errors="replace") if values else None


class ReceivedResult(DocumentResult):
    """A result, and the `record` that it came in."""

    record: ReceivedRecord = Field(exclude=True, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A document that failed, and the `record` that tells so. docs/reference/dead-letters.md explains each reason.

    `source` is where the document was first read, None if the dead letter does not say. `errors` are all headers about
    the failure, by name without their prefix.
    """

    document_id: str
    reason: str
    """A `DeadLetterReason`, or one of a later release."""
    stage: str
    step: str
    message: str
    attempts: int | None
    cost_usd: Decimal
    replay_count: int
    finished_at: datetime
    source: SourcePosition | None
    metadata: dict[str, Scalar]
    errors: dict[str, str] = field(repr=False)
    record: ReceivedRecord = field(repr=False)


def received_result(outcome: Outcome, record: FetchedRecord) -> ReceivedResult | None:
    """The result of an outcome. None for a dead letter."""
    if outcome.result is None:
        return None
    return ReceivedResult.model_construct(**dict(outcome.result), record=ReceivedRecord.of(record))


def received_dead_letter(outcome: Outcome, record: FetchedRecord) -> DeadLetter | None:
    """The dead letter of an outcome. None for a result."""
    if not outcome.is_dead_letter:
        return None
    fields = outcome.fields
    return DeadLetter(
        document_id=outcome.document_id,
        reason=outcome.reason,
        stage=outcome.stage,
        step=outcome.step,
        message=outcome.message,
        attempts=fields["attempts"],
        cost_usd=outcome.cost_usd,
        replay_count=fields["replay_count"] or 0,
        finished_at=outcome.finished_at,
        source=_source(fields["source"]),
        metadata=dict(fields["metadata"]),
        errors=errors_of(record),
        record=ReceivedRecord.of(record),
    )


def _source(written: dict[str, Any]) -> SourcePosition | None:
    return None if None in written.values() else SourcePosition(**written)


def _moment(timestamp_ms: int) -> datetime:
    """A time of Kafka's, as far as the calendar goes."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    try:
        return epoch + timedelta(milliseconds=max(0, timestamp_ms))
    except OverflowError:
        return epoch

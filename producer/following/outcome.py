"""A record of the result or the dead-letter topic as one small object."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

from pydantic import ValidationError

from consumer.contracts import ERROR_HEADER_PREFIX, DocumentResult, Headers, Usage

_LARGEST_VALUE_READ_FOR_ID = 1024 * 1024


class FetchedRecord(Protocol):
    """What is read of an aiokafka record."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one document ended. A result has `outputs`, a dead letter has a `reason`.

    `identities` are the names under which a repeat of it is recognised. `fields` is all that is known, as plain JSON.
    """

    document_id: str
    reason: str = ""
    stage: str = ""
    step: str = ""
    message: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)
    finished_at: datetime
    identities: tuple[str, ...]
    fields: Mapping[str, Any]

    @property
    def is_dead_letter(self) -> bool:
        """Whether the document failed."""
        return bool(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record that is neither result nor dead letter, and why."""

    where: str
    problem: str


def outcome_of(record: FetchedRecord) -> Outcome | Unreadable:
    """Read one record. The headers decide which of the two it is, whatever topic it is on."""
    errors = {
        name.removeprefix(ERROR_HEADER_PREFIX): _text(value)
        for name, value in record.headers
        if name.startswith(ERROR_HEADER_PREFIX)
    }
    if errors.get("reason"):
        return _dead_letter(record, errors)
    where = f"{record.topic}[{record.partition}] offset {record.offset}"
    if record.value is None:
        return Unreadable(where=where, problem="no value, and no dead letter's headers")
    try:
        return _result(DocumentResult.model_validate_json(record.value))
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        field_name = ".".join(str(part) for part in first["loc"])
        problem = f"{field_name}: {first['msg']}" if field_name else first["msg"]
        return Unreadable(where=where, problem=f"not a result ({problem}), and no dead letter's headers")


def _result(result: DocumentResult) -> Outcome:
    source = result.source
    return Outcome(
        document_id=result.document_id,
        outputs=result.outputs,
        usage=result.usage,
        cost_usd=result.cost_usd,
        finished_at=result.finished_at,
        identities=(f"result {result.result_id}", _life(source.topic, source.partition, source.offset, "0")),
        fields={"outcome": "result", **result.model_dump(mode="json")},
    )


def _dead_letter(record: FetchedRecord, errors: Mapping[str, str]) -> Outcome:
    document_id = _document_id(record)
    origin = (errors.get("topic"), errors.get("partition"), errors.get("offset"))
    topic, partition, offset = origin if all(origin) else (record.topic, record.partition, record.offset)
    fields: dict[str, Any] = {"outcome": "dead_letter", "document_id": document_id}
    fields |= {name: value for name, value in errors.items() if not name.startswith("exception.")}
    fields |= {"message": errors.get("exception.message", ""), "exception": errors.get("exception.class.name", "")}
    return Outcome(
        document_id=document_id,
        reason=errors["reason"],
        stage=errors.get("stage", ""),
        step=errors.get("step", ""),
        message=errors.get("exception.message", ""),
        cost_usd=_decimal(errors.get("cost_usd", "")),
        finished_at=_moment(errors.get("last_failed_at", ""), record.timestamp),
        # A redriven record keeps its first origin: the replay count tells its lives apart.
        identities=(_life(topic, partition, offset, errors.get("replay_count") or "0"),),
        fields=fields,
    )


def _life(topic: object, partition: object, offset: object, replay_count: str) -> str:
    return f"record {topic} {partition} {offset} {replay_count}"


def _document_id(record: FetchedRecord) -> str:
    """The key; else the id in the JSON value; else where the record is."""
    if record.key:
        return _text(record.key)
    if record.value and len(record.value) <= _LARGEST_VALUE_READ_FOR_ID:
        try:
            value = json.loads(record.value)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict) and isinstance(value.get("document_id"), str):
            return str(value["document_id"])
    return f"{record.topic}[{record.partition}]@{record.offset}"


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="replace")


def _decimal(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except InvalidOperation:
        return Decimal(0)
    return amount if amount.is_finite() else Decimal(0)


def _moment(text: str, timestamp_ms: int) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromtimestamp(max(timestamp_ms, 0) / 1000, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

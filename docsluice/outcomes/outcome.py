"""A record of the result or the dead-letter topic as one small object."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import MAXYEAR, MINYEAR, UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Protocol

from pydantic import ValidationError

from docsluice.kafka.batch_reading import flaw_of
from docsluice.messages import (
    ERROR_HEADER_PREFIX,
    DocumentResult,
    Headers,
    Long,
    SourcePosition,
    Usage,
    plain_decimal,
    rfc3339,
    stub_parts,
)
from docsluice.outcomes.money import dollars, is_sum
from docsluice.outcomes.originals import document_id_of, event_in, metadata_of
from docsluice.result_forms import AVRO_CONTENT_TYPE, form_of, nested_fields
from docsluice.validation.json_values import compact_json, json_value
from docsluice.validation.record_bytes import registry_frames

IN_BOTH = ("document_id", "source", "metadata", "attempts", "cost_usd", "finished_at", "pipeline_version")
"""Fields that results and dead letters have, under the same name and of the same type."""
OF_DEAD_LETTERS: Mapping[str, str] = {
    "reason": "reason",
    "stage": "stage",
    "step": "step",
    "message": "exception.message",
    "exception": "exception.class.name",
    "model": "model",
    "provider": "provider",
    "group": "group",
    "first_failed_at": "first_failed_at",
    "replay_count": "replay_count",
}
"""Fields that only dead letters have, and the headers that they are read from."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_TIMESTAMP_MS = 253_402_300_799_999
"""The end of the year 9999. A producer may write any number."""
_EDGES = (MINYEAR, MAXYEAR)
"""Years in which a time may not exist in UTC."""
_LARGEST_COUNT = 2**63 - 1
_READ_AVRO = "use a consumer with an Avro deserializer, or output.format: json in the pipeline file"


class HasHeaders(Protocol):
    """A record of any kind."""

    @property
    def headers(self) -> Headers:
        """Its headers, in their order."""
        ...


class FetchedRecord(Protocol):
    """The parts of an aiokafka record that are read."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    checksum: Any
    """The flaw of a record that cannot be read, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one document ended. A result has `outputs`, a dead letter has a `reason`.

    `identities` are the names by which a repeat is recognised. `fields` are those written to a file, as plain JSON:
    `kind`, the fields `IN_BOTH`, then those of its kind (docs/reference/producer.md has them all).
    """

    document_id: str
    reason: str = ""
    stage: str = ""
    step: str = ""
    message: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)
    cost_is_odd: bool = False
    """Whether its header has an impossible cost, which counts as 0."""
    saved_usd: Decimal = Decimal(0)
    long: Mapping[str, Long] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    """The model that answered each task."""
    seconds: float = 0.0
    """A result's, from the first call to the last answer."""
    finished_at: datetime
    identities: tuple[str, ...]
    fields: Mapping[str, Any]
    result: DocumentResult | None = None
    """None for a dead letter."""

    @property
    def is_dead_letter(self) -> bool:
        """Whether the document failed."""
        return bool(self.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record that is neither result nor dead letter, and why. `of_another_version`: it names another version."""

    where: str
    problem: str
    of_another_version: bool = False


def errors_of(record: HasHeaders) -> dict[str, str]:
    """The error headers by their names without the prefix. The last of a name counts."""
    return {
        name.removeprefix(ERROR_HEADER_PREFIX): _text(value)
        for name, value in record.headers
        if name.startswith(ERROR_HEADER_PREFIX)
    }


def outcome_of(record: FetchedRecord) -> Outcome | Unreadable:
    """Read one record, whatever it holds. The headers decide whether it is a result or a dead letter, on any topic."""
    errors = errors_of(record)
    if errors.get("reason"):
        return _dead_letter(record, errors)
    where = f"{record.topic}/{record.partition}@{record.offset}"
    if (flaw := flaw_of(record)) is not None:
        return Unreadable(where=where, problem=flaw.problem)
    if record.value is None:
        return Unreadable(where=where, problem="no value, and no dead letter's headers")
    if _is_avro(record.headers) and (frames := registry_frames(record.value)):
        problem = (
            f"a result in Avro, of schema id {frames[0].schema} in a registry, which is not read here: {_READ_AVRO}"
        )
        return Unreadable(where=where, problem=problem)
    try:
        result = _read(record, record.value)
        problem = _flaw(result)
    except ValidationError as error:
        version = _other_version(error)
        if version is not None:
            problem = f"of schema version {version}, and this docsluice reads version 1 only"
            return Unreadable(where=where, problem=problem, of_another_version=True)
        problem = _first_problem(error, record.value)
    if problem:
        return Unreadable(where=where, problem=f"not a result ({problem}), and no dead letter's headers")
    return _result(record, result)


def _is_avro(headers: Headers) -> bool:
    return any(name == "content-type" and value == AVRO_CONTENT_TYPE for name, value in headers)


def _read(record: FetchedRecord, value: bytes) -> DocumentResult:
    """The result in a value of any form.

    Raises:
        ValidationError: there is none.
    """
    if form_of(record.headers) == "nested":
        return DocumentResult.model_validate_json(value)
    place = SourcePosition(topic=record.topic, partition=record.partition, offset=record.offset)
    try:
        fields = nested_fields(json_value(value), record.headers, read_at=place)
    except ValueError:
        fields = None
    return DocumentResult.model_validate(fields)


def _other_version(error: ValidationError) -> int | None:
    """The schema version that the record names, if it is not ours."""
    named = [one["input"] for one in error.errors() if one["loc"] == ("schema_version",)]
    return named[0] if named and isinstance(named[0], int) else None


def _first_problem(error: ValidationError, value: bytes) -> str:
    """Why a record is no result, in our words and not the validator's."""
    first = error.errors(include_input=False)[0]
    field_name = ".".join(str(part) for part in first["loc"])
    match first["type"]:
        case "json_invalid":
            return "it holds half of a surrogate pair" if _is_half_of_a_pair(value) else "it is no JSON"
        case "missing":
            return f"it has no {field_name}"
        case _:
            return f"{field_name} is not as a result has it" if field_name else "it is no JSON object"


def _is_half_of_a_pair(value: bytes) -> bool:
    r"""Whether it is JSON with an escape such as `\ud800` alone, which is no character."""
    try:
        compact_json(json_value(value)).encode()
    except UnicodeEncodeError:
        return True
    except ValueError:
        return False
    return False


def _flaw(result: DocumentResult) -> str:
    """What is wrong with a well-formed result that the service would not have written. Empty if nothing.

    Such values would come up later, in sums and in files.
    """
    if any(moment.tzinfo is None or moment.year in _EDGES for moment in (result.started_at, result.finished_at)):
        return "a time without a zone, or at the end of all times"
    for name, amount in (("cost_usd", result.cost_usd), ("saved_usd", result.saved_usd)):
        if not is_sum(amount):
            return f"{name}: no sum of money"
    if not all(0 <= tokens <= _LARGEST_COUNT for tokens in result.usage.model_dump().values()):
        return "usage: no number of tokens"
    if metadata_of({"metadata": result.metadata}) != result.metadata:
        return "metadata: no finite number"
    return ""


def _result(record: FetchedRecord, result: DocumentResult) -> Outcome:
    source = result.source
    published = result.model_dump(mode="json")
    place = (source.topic, source.partition, source.offset)
    life = _life(*place, _text(record.key) or result.document_id, result.pipeline_version, "0")
    return Outcome(
        document_id=result.document_id,
        outputs=result.outputs,
        usage=result.usage,
        cost_usd=result.cost_usd,
        saved_usd=result.saved_usd,
        long=result.long,
        models=result.models,
        seconds=(result.finished_at - result.started_at).total_seconds(),
        finished_at=result.finished_at,
        identities=(f"result {result.result_id}", life),
        fields={"kind": "result", **{name: published[name] for name in IN_BOTH}, **published},
        result=result,
    )


def _dead_letter(record: FetchedRecord, errors: Mapping[str, str]) -> Outcome:
    event = event_in(record.key, record.value, record.headers)
    named = errors.get("document_id") or _text(record.key) or document_id_of(event)
    document_id = named or f"{record.topic}/{record.partition}@{record.offset}"
    origin = (errors.get("topic"), errors.get("partition"), errors.get("offset"))
    place = origin if all(origin) else (record.topic, record.partition, record.offset)
    replay_count = errors.get("replay_count") or "0"
    cost_usd = dollars(errors["cost_usd"]) if "cost_usd" in errors else Decimal(0)
    finished_at = _moment(errors.get("last_failed_at", ""), record.timestamp)
    return Outcome(
        document_id=document_id,
        reason=errors["reason"],
        stage=errors.get("stage", ""),
        step=errors.get("step", ""),
        message=errors.get("exception.message", ""),
        cost_usd=cost_usd or Decimal(0),
        cost_is_odd=cost_usd is None,
        finished_at=finished_at,
        # As that of a result, which is written under the record's key.
        identities=(_life(*place, _text(record.key) or document_id, errors.get("pipeline_version", ""), replay_count),),
        fields={
            "kind": "dead_letter",
            "document_id": document_id,
            "source": _source(errors),
            "metadata": metadata_of(event),
            "attempts": _number(errors.get("attempts")),
            "cost_usd": plain_decimal(cost_usd or Decimal(0)),
            "finished_at": rfc3339(finished_at),
            "pipeline_version": errors.get("pipeline_version"),
            **{name: errors.get(header) for name, header in OF_DEAD_LETTERS.items()},
            "replay_count": _number(errors.get("replay_count")),
            "left_out": stub_parts(record.headers),
            "value_bytes": _number(errors.get("value_bytes")),
            "value_sha256": errors.get("value_sha256"),
        },
    )


def _source(errors: Mapping[str, str]) -> dict[str, Any]:
    """Where the record was first read. Unknown parts are None."""
    return {
        "topic": errors.get("topic"),
        "partition": _number(errors.get("partition")),
        "offset": _number(errors.get("offset")),
    }


def _life(*parts: object) -> str:
    """The identity of one record's run through one pipeline.

    Its place alone is not enough. A redriven record keeps its first place, and the replay count tells its runs apart. A
    recreated topic has other records in the same places. A record that is read again may get other questions.
    """
    return json.dumps([str(part) for part in parts])


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", errors="replace")


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


def _moment(text: str, timestamp_ms: int) -> datetime:
    """The text as a time, else the record's own time, within the calendar."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return _EPOCH + timedelta(milliseconds=min(max(timestamp_ms, 0), _LARGEST_TIMESTAMP_MS))

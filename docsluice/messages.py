"""What crosses a topic: the event in, the result out, and the headers of a dead letter.

These shapes are the service's public interface, see docs/reference/contracts.md. Golden files in the tests pin them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    model_serializer,
)

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
"""Kafka record headers in order. A name may occur more than once, and a value may be null."""

Scalar: TypeAlias = str | int | float | bool
OutputValue: TypeAlias = Any
"""One task's answer: a string (text, choice), a list of strings (list), or whatever JSON its own schema allows."""

Long: TypeAlias = Literal["split", "head"]
"""What was done about a document too large for one call: asked in parts, or only its beginning."""

EXCERPT_CHARACTERS = 100
_PLAIN_DECIMAL = re.compile(r"[0-9]{1,12}(\.[0-9]{1,28})?")
RESULT_TYPE = "docsluice.document.analyzed.v1"
REPLAY_COUNT_HEADER = "__docsluice.errors.replay_count"
ERROR_HEADER_PREFIX = "__docsluice.errors."
STUB_HEADER = "__docsluice.errors.stub"
"""Which parts of the record the dead letter does not have: of `headers`, `key` and `value`, with commas between."""
TRACE_HEADERS = frozenset({"traceparent", "tracestate"})
"""W3C's trace headers. Every outcome carries them."""
ORIGINAL_TOPIC_HEADER = "kafka_dlt-original-topic"
"""The one name outside our prefix: user interfaces that redrive look for it."""


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def is_error_header(name: str) -> bool:
    """Whether the service adds a header of this name to a dead letter."""
    return name.startswith(ERROR_HEADER_PREFIX) or name == ORIGINAL_TOPIC_HEADER


def rfc3339(moment: datetime) -> str:
    """Format a time in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def plain_decimal(amount: Decimal) -> str:
    """Format a number with digits and a point, never an exponent."""
    return f"{amount.normalize():f}" if amount else "0"


def read_decimal(written: str) -> Decimal | None:
    """Read what `plain_decimal` has written. None for anything else, such as a number of a million digits."""
    return Decimal(written) if _PLAIN_DECIMAL.fullmatch(written) else None


NotBlank = Annotated[str, AfterValidator(_not_blank)]
Moment = Annotated[datetime, PlainSerializer(rfc3339, return_type=str, when_used="json")]
Usd = Annotated[Decimal, PlainSerializer(plain_decimal, return_type=str, when_used="json")]


class _Contract(BaseModel):
    """Frozen. Fields of a later release are left out, so a subscriber need not be upgraded first."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DocumentEvent(BaseModel):
    """A document to analyze, as its producer sent it.

    Unknown fields, and those of a later `schema_version`, are left out: producers may add what they need. Known fields
    are checked strictly.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)

    document_id: NotBlank
    text: NotBlank
    metadata: dict[str, Scalar] = Field(default_factory=dict)
    schema_version: int = Field(default=1, ge=1)


class Usage(_Contract):
    """Tokens that one document used, all its attempts together.

    `cached_tokens` are part of `input_tokens`, `reasoning_tokens` of `output_tokens`. The latter are written only if
    there are any, because older readers do not know them.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @model_serializer(mode="wrap")
    def _written(self, write: SerializerFunctionWrapHandler) -> dict[str, int]:
        written: dict[str, int] = write(self)
        if not self.reasoning_tokens:
            del written["reasoning_tokens"]
        return written

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
        )


class SourcePosition(_Contract):
    """Where a record was read."""

    topic: str
    partition: int
    offset: int


class TaskUsage(_Contract):
    """Tokens and cost of one task of a document, all its attempts together."""

    input_tokens: int
    output_tokens: int
    cost_usd: Usd


class DocumentResult(_Contract):
    """What the tasks answered about one document, and what it cost.

    `usage_by_task` is written where each task has calls of its own.
    """

    schema_version: Literal[1] = 1
    result_id: str
    document_id: str
    outputs: dict[str, OutputValue]
    models: dict[str, str]
    usage: Usage
    cost_usd: Usd
    saved_usd: Usd = Decimal(0)
    attempts: int
    long: dict[str, Long] = Field(default_factory=dict)
    started_at: Moment
    finished_at: Moment
    pipeline_version: str
    mode: Literal["fanout", "fused"]
    source: SourcePosition
    excerpt: str
    metadata: dict[str, Scalar]
    usage_by_task: dict[str, TaskUsage] = Field(default_factory=dict, exclude_if=lambda usage: not usage)


class DeadLetterReason(StrEnum):
    """Why a record ended as a dead letter. Closed: each has its remedy in docs/reference/dead-letters.md."""

    UNDECODABLE = "undecodable"
    INVALID_EVENT = "invalid_event"
    TOO_LARGE = "too_large"
    REFUSED = "refused"
    CONTENT_FILTERED = "content_filtered"
    TRUNCATED = "truncated"
    INVALID_ANSWER = "invalid_answer"
    REJECTED = "rejected"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    UNEXPECTED = "unexpected"


REASONS_OF_RECORDS = (
    DeadLetterReason.UNDECODABLE,
    DeadLetterReason.INVALID_EVENT,
    DeadLetterReason.TOO_LARGE,  # the record for us, or its result for the result topic
    DeadLetterReason.REJECTED,  # its result, by the broker
    DeadLetterReason.UNEXPECTED,
)
"""Met before the steps or after them, or by surprise: such a dead letter names no step."""
REASONS_OF_STEPS = (
    DeadLetterReason.TOO_LARGE,  # the document, for the model or a limit
    DeadLetterReason.REFUSED,
    DeadLetterReason.CONTENT_FILTERED,
    DeadLetterReason.TRUNCATED,
    DeadLetterReason.INVALID_ANSWER,
    DeadLetterReason.REJECTED,
    DeadLetterReason.ATTEMPTS_EXHAUSTED,
)
"""Met while the model is asked: such a dead letter names the step."""


class Stage(StrEnum):
    """The part of a record's path in which it was rejected."""

    DECODE = "decode"
    ANALYZE = "analyze"
    PUBLISH = "publish"


def result_id(*, document_id: str, text: str, pipeline_version: str, filled_prompts: Sequence[str] = ()) -> str:
    """The same document under the same pipeline always gets the same id, so that readers can drop repeats.

    `filled_prompts` are the prompts with the document's metadata in them. Other metadata in them make another question.
    """
    digest = hashlib.sha256()
    for part in (document_id, text, pipeline_version, *filled_prompts):
        data = part.encode()
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


def result_headers(result: DocumentResult, *, group_id: str) -> list[tuple[str, bytes]]:
    """The CloudEvents attributes of a result, in the Kafka binding's binary mode."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_type", RESULT_TYPE.encode()),
        ("ce_source", f"/docsluice/{group_id}".encode()),
        ("ce_id", result.result_id.encode()),
        ("ce_subject", result.document_id.encode()),
        ("ce_time", rfc3339(result.finished_at).encode()),
        ("content-type", b"application/json"),
    ]


def stub_parts(headers: Headers) -> list[str]:
    """The parts of its record that a dead letter lacks, by name. Empty for a whole one."""
    said = next((value for name, value in headers if name == STUB_HEADER and value), b"")
    return [part for part in ("headers", "key", "value") if part.encode() in said.split(b",")]


def excerpt(text: str) -> str:
    """The first characters of a document, enough for a person to recognise it."""
    return text[:EXCERPT_CHARACTERS]

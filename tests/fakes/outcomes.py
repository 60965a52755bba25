"""Records of the result and the dead-letter topic, and the outcomes that they are read as."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from docsluice.messages import ERROR_HEADER_PREFIX, DocumentResult, Headers, SourcePosition, Usage
from docsluice.outcomes.outcome import Outcome, outcome_of

SECRET_TEXT = "the text of the document"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class Fetched:
    """What is read of a topic."""

    value: bytes | None
    key: bytes | None = None
    headers: Headers = field(default_factory=tuple)
    topic: str = "documents.results"
    partition: int = 0
    offset: int = 7
    timestamp: int = 1_767_268_800_000
    checksum: Any = None


def result(number: int = 1, **changed: Any) -> DocumentResult:
    fields: dict[str, Any] = {
        "result_id": f"r{number}",
        "document_id": f"d{number}",
        "outputs": {"summary": "Short.", "keywords": ["a", "b"]},
        "models": {"summary": "m"},
        "usage": Usage(input_tokens=100, output_tokens=20, cached_tokens=10),
        "cost_usd": Decimal("0.00030"),
        "attempts": 2,
        "started_at": NOON,
        "finished_at": NOON + timedelta(minutes=number),
        "pipeline_version": "p1",
        "mode": "fanout",
        "source": SourcePosition(topic="documents", partition=0, offset=number),
        "excerpt": "The text…",
        "metadata": {"lang": "en"},
    }
    return DocumentResult(**fields | changed)


def outcome(record: Fetched) -> Outcome:
    found = outcome_of(record)
    assert isinstance(found, Outcome), found
    return found


def result_outcome(number: int = 1, **changed: Any) -> Outcome:
    return outcome(Fetched(value=result(number, **changed).model_dump_json().encode()))


def dead_letter(
    number: int = 1,
    *,
    key: bytes | None = None,
    value: bytes | None = None,
    errors: dict[str, str] | None = None,
    timestamp: int = 0,
) -> Outcome:
    said = {
        "topic": "documents",
        "partition": "0",
        "offset": str(number),
        "reason": "too_large",
        "stage": "analyze",
        "step": "summary",
        "exception.message": "9,000 tokens, and the model takes 8,192",
        "exception.stacktrace": "Traceback: secret",
        "cost_usd": "0.5",
        "attempts": "3",
        "last_failed_at": "2026-01-01T12:30:00.000Z",
        "pipeline_version": "p1",
        "replay_count": "0",
    }
    headers = [(ERROR_HEADER_PREFIX + name, text.encode()) for name, text in (said | (errors or {})).items()]
    event = {"document_id": f"d{number}", "text": SECRET_TEXT, "metadata": {"lang": "vi"}}
    value = value or json.dumps(event).encode()
    return outcome(Fetched(value=value, key=key, headers=headers, topic="documents.dlq", timestamp=timestamp))

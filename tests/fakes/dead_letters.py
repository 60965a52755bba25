"""Records of a dead-letter topic, and the dead letters that they are read as."""

from __future__ import annotations

import json
from typing import Any

from docsluice.messages import ERROR_HEADER_PREFIX, ORIGINAL_TOPIC_HEADER, Headers
from docsluice_producer.dead_letters.letter import Letter
from docsluice_producer.dead_letters.marks import State
from tests.fakes.outcomes import Fetched, outcome

HOUR_MS = 3_600_000
WRITTEN_MS = 1_767_268_800_000


def event(document_id: str, text: str = "The text.") -> bytes:
    return json.dumps({"document_id": document_id, "text": text, "metadata": {"lang": "vi"}}).encode()


def error_headers(number: int, **changed: str | None) -> list[tuple[str, bytes]]:
    """As the service writes them. A header that is changed to None is not there."""
    said: dict[str, str | None] = {
        "topic": "documents",
        "partition": "0",
        "offset": str(number),
        "timestamp": str(WRITTEN_MS),
        "group": "docsluice",
        "reason": "invalid_answer",
        "stage": "analyze",
        "step": "summary",
        "exception.class.name": "consumer.errors.RecordRejected",
        "exception.message": "not what the schema asks for",
        "exception.stacktrace": "Traceback (most recent call last):\n  File x\nRecordRejected: no",
        "cost_usd": "0.5",
        "attempts": "3",
        "first_failed_at": "2026-01-01T12:00:00.000Z",
        "last_failed_at": "2026-01-01T12:30:00.000Z",
        "pipeline_version": "p1",
        "model": "m",
        "replay_count": "0",
        **{name.replace("exception_", "exception."): text for name, text in changed.items()},
    }
    ours = [(ERROR_HEADER_PREFIX + name, text.encode()) for name, text in said.items() if text is not None]
    return [*ours, (ORIGINAL_TOPIC_HEADER, (said["topic"] or "").encode())]


def fetched(
    number: int = 1,
    *,
    own: Headers = (),
    key: bytes | None = None,
    value: bytes | None = None,
    **changed: Any,
) -> Fetched:
    """The record of the dead letter of document `d{number}`, at that offset."""
    return Fetched(
        value=event(f"d{number}") if value is None else value,
        key=f"d{number}".encode() if key is None else key,
        headers=[*own, *error_headers(number, **changed)],
        topic="documents.dlq",
        offset=number,
        timestamp=WRITTEN_MS + number,
    )


def letter(record: Fetched | None = None, *, state: State = State.OPEN, **changed: Any) -> Letter:
    found = record or fetched(**changed)
    return Letter(record=found, outcome=outcome(found), state=state)

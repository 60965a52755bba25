"""What an error of a provider turns out to mean, in one word."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from docsluice_consumer.errors import AttemptFailed, CallRefused, QuotaExhausted, RecordRejected
from docsluice_consumer.llm.error_body import read_error
from docsluice_consumer.llm.error_mapping import Call, fault_of
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.model_ref import model_ref

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def meant(status: int, body: Any, *texts: str) -> str:
    """A dead letter's reason, a refusal's kind (with `!` where it is certain), or the outcome of an attempt."""
    raw = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
    said = read_error(status, raw.encode("utf-8", errors="replace"), quoted=Quoted(texts))
    match fault_of(said, Call(step="s", model=model_ref("m")), headers={}, now=NOW):
        case RecordRejected() as rejection:
            return str(rejection.reason)
        case CallRefused() as refusal:
            return refusal.kind + ("!" if refusal.is_certain else "")
        case QuotaExhausted(period_seconds=float()):
            return "day"
        case AttemptFailed() as failure:
            return failure.outcome
        case other:
            raise AssertionError(other)

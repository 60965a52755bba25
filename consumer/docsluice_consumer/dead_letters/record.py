"""A rejected record as a dead letter: its own bytes untouched, and headers that say what happened."""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from docsluice.kafka.flaw import Flaw
from docsluice.messages import (
    ERROR_HEADER_PREFIX,
    ORIGINAL_TOPIC_HEADER,
    DeadLetterReason,
    Stage,
    is_error_header,
    plain_decimal,
    read_decimal,
    rfc3339,
)
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import OutgoingRecord, Record

STACKTRACE_BYTES = 8 * 1024
MESSAGE_BYTES = 1024
"""A message may quote an answer or name a record's fields. It must not make the dead letter too large."""
ANSWER_BYTES = 2 * 1024
_NAME_BYTES = 512
_COUNT = re.compile(rb"[0-9]{1,9}")
_ORIGIN_BYTES = 300
"""None of our values is longer.

A longer one was written by somebody else, and must not make the dead letter too large.
"""
_ORIGIN = ("topic", "partition", "offset", "timestamp", "first_failed_at", "replay_count")
"""What a record that fails again after a redrive keeps from its first failure."""

_ERRORS_MODULE = "consumer.errors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What is known about a rejected record beside the record itself."""

    error: BaseException
    attempts: int
    cost_usd: Decimal
    first_failed_at: datetime
    failed_at: datetime
    group_id: str
    pipeline_version: str
    document_id: str = ""
    """The document's name, where the record itself does not show it."""
    keeps_answer: bool = True
    """Whether the answer that was rejected goes into the dead letter."""

    @property
    def reason(self) -> DeadLetterReason:
        """The reason. A bug of ours is `unexpected`."""
        return self.error.reason if isinstance(self.error, RecordRejected) else DeadLetterReason.UNEXPECTED

    @property
    def stage(self) -> Stage:
        """Where on its path the record was rejected."""
        return self.error.stage if isinstance(self.error, RecordRejected) else Stage.ANALYZE

    @property
    def step(self) -> str:
        """The step that failed. Empty when none did."""
        return (self.error.step or "") if isinstance(self.error, RecordRejected) else ""

    @property
    def answer(self) -> str:
        """The rejected answer, if it may be kept. Empty otherwise."""
        if not self.keeps_answer or not isinstance(self.error, RecordRejected):
            return ""
        return self.error.answer or ""

    @property
    def cause(self) -> str:
        """Reason and step in a word: `refused/summary`."""
        return f"{self.reason.value}/{self.step}" if self.step else self.reason.value


def dead_letter(record: Record, failure: Failure, *, topic: str, cut: Callable[[str], str] = str) -> OutgoingRecord:
    """The dead letter of a record. `cut` takes secrets out of what we write. The record's own bytes stay untouched.

    The previous failure's headers are dropped, except the first origin. Stacked stack traces would outgrow the topic's
    message limit.
    """
    earlier = {
        name.removeprefix(ERROR_HEADER_PREFIX): value
        for name, value in record.headers
        if name.startswith(ERROR_HEADER_PREFIX) and value is not None
    }
    fields = {**_described(failure, cut), **_origin(record, failure), **_kept(earlier), **_counted(earlier)}
    fields["cost_usd"] = plain_decimal(failure.cost_usd + _earlier_cost(earlier))
    fields |= _left_out(record.flaw)
    own = [(name, value) for name, value in record.headers if not is_error_header(name)]
    added = [(ERROR_HEADER_PREFIX + name, value.encode("utf-8", errors="replace")) for name, value in fields.items()]
    original_topic = (ORIGINAL_TOPIC_HEADER, fields["topic"].encode())
    return OutgoingRecord(topic=topic, key=record.key, value=record.value, headers=[*own, *added, original_topic])


def _origin(record: Record, failure: Failure) -> dict[str, str]:
    return {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp_ms),
        "first_failed_at": rfc3339(failure.first_failed_at),
        "replay_count": "0",
    }


def _kept(earlier: dict[str, bytes]) -> dict[str, str]:
    return {
        name: earlier[name].decode("utf-8", errors="replace")
        for name in _ORIGIN
        if name in earlier and len(earlier[name]) <= _ORIGIN_BYTES
    }


def _counted(earlier: dict[str, bytes]) -> dict[str, str]:
    """The replay count of a dead letter that another tool sent back, `reason` and all: one more.

    Our own redrive removes the reason and counts. Another tool copies what it finds, and does not count.
    """
    if "reason" not in earlier:
        return {}
    written = earlier.get("replay_count", b"")
    return {"replay_count": str(int(written) + 1 if _COUNT.fullmatch(written) else 1)}


def _left_out(flaw: Flaw | None) -> dict[str, str]:
    """What could not be read, or was too large to be kept, and so is not in the dead letter either."""
    if flaw is None or not flaw.left_out:
        return {}
    known = {"value_bytes": flaw.value_bytes, "value_sha256": flaw.value_sha256, "key_bytes": flaw.key_bytes}
    return {"stub": ",".join(sorted(flaw.left_out))} | {
        name: str(value) for name, value in known.items() if value is not None
    }


def _described(failure: Failure, cut: Callable[[str], str]) -> dict[str, str]:
    error = failure.error
    model = error.model if isinstance(error, RecordRejected) else None
    fields = {
        "group": failure.group_id,
        "stage": failure.stage.value,
        "step": failure.step,
        "reason": failure.reason.value,
        "exception.class.name": _class_name(error),
        "exception.message": _beginning(cut(str(error)), MESSAGE_BYTES),
        "exception.stacktrace": _stacktrace(error, cut),
        "attempts": str(failure.attempts),
        "last_failed_at": rfc3339(failure.failed_at),
        "pipeline_version": failure.pipeline_version,
        "model": cut(str(model or "")),
        "provider": cut(model.provider) if model else "",
        "answer": _beginning(cut(failure.answer), ANSWER_BYTES),
        "document_id": _beginning(cut(failure.document_id), _NAME_BYTES),
    }
    return {name: value for name, value in fields.items() if value}


def _class_name(error: BaseException) -> str:
    """The class with its module. On the wire our module keeps the name of the first release."""
    module = type(error).__module__
    return f"{_ERRORS_MODULE if module == RecordRejected.__module__ else module}.{type(error).__qualname__}"


def _beginning(text: str, most_bytes: int) -> str:
    """The beginning of a text within `most_bytes`, cut at a character."""
    return text[:most_bytes].encode("utf-8", errors="replace")[:most_bytes].decode("utf-8", errors="ignore")


def _stacktrace(error: BaseException, cut: Callable[[str], str]) -> str:
    """The end of the trace, which is where it went wrong."""
    trace = cut("".join(traceback.format_exception(error))).encode("utf-8", errors="replace")
    return trace[-STACKTRACE_BYTES:].decode("utf-8", errors="ignore")


def _earlier_cost(earlier: dict[str, bytes]) -> Decimal:
    """What the record cost before it was redriven. 0 if that is not written as we write it."""
    return read_decimal(earlier.get("cost_usd", b"").decode("utf-8", errors="replace")) or Decimal(0)

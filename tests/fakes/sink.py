"""A topic in memory."""

from __future__ import annotations

from collections.abc import Mapping

from docsluice.messages import DeadLetterReason, Stage
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.kafka.records import OutgoingRecord, Record


class FakeSink:
    """An `Sink` that keeps what it is given. A topic named in `max_bytes` takes nothing larger."""

    def __init__(self, *, max_bytes: Mapping[str, int] | None = None, fault: Exception | None = None) -> None:
        self._max_bytes = dict(max_bytes or {})
        self._fault = fault
        self.published: list[OutgoingRecord] = []

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:
        if self._fault is not None:
            raise self._fault
        if size_of(outgoing) > self._max_bytes.get(outgoing.topic, 1 << 30):
            raise RecordRejected(DeadLetterReason.TOO_LARGE, "larger than the topic takes", stage=Stage.PUBLISH)
        self.published.append(outgoing)

    def to(self, topic: str) -> list[OutgoingRecord]:
        """What was published to one topic."""
        return [outgoing for outgoing in self.published if outgoing.topic == topic]


def size_of(outgoing: OutgoingRecord) -> int:
    """Bytes of a record's parts."""
    headers = sum(len(name.encode()) + len(value or b"") for name, value in outgoing.headers)
    return len(outgoing.key or b"") + len(outgoing.value or b"") + headers

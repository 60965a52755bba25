"""A record as it was read, and a record to be written: bytes only, and no Kafka client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from consumer.contracts import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of the input topic. `value` is None for a tombstone; `timestamp_ms` is -1 where there is none."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """What a record ended as. Records of one key go to one partition."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers


class Outbox(Protocol):
    """Where outcomes go."""

    async def publish(self, outgoing: Outgoing) -> None:
        """Return when the broker has acknowledged it; wait out a broker that is away.

        Raises:
            RecordRejected: it is larger than the topic takes (`too_large`).
            ServiceFault: the broker will not take it whatever we do.
        """
        ...

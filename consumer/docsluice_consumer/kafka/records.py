"""A record as it was read, and a record to be written: bytes only, and no Kafka client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from docsluice.kafka.batch_reading import flaw_of
from docsluice.kafka.flaw import Flaw
from docsluice.kafka.transactions import ProducerRecord
from docsluice.messages import Headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of the input topic. `value` is None for a tombstone. `timestamp_ms` is -1 where there is none.

    `epoch` tells the states of its partition apart: what was read in one must not end in another.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp_ms: int
    epoch: int = 0
    flaw: Flaw | None = None
    """What is wrong with the record, if it could not be read as it was written."""

    @property
    def size_bytes(self) -> int:
        """Bytes of its parts, which are held in memory while it is open."""
        return _bytes_of(self.key, self.value, self.headers)


Compression: TypeAlias = Literal["gzip", "zstd"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutgoingRecord(ProducerRecord):
    """An outcome to publish. Records of one key go to one partition.

    An outcome that is `alone` shares its request and its transaction with no other, because it may be refused.
    `compression` is a wish: a broker that does not take it gets gzip, which every client reads. Only an outcome that is
    alone may wish for another.
    """

    alone: bool = False
    compression: Compression = "gzip"

    @property
    def size_bytes(self) -> int:
        """Bytes of its parts, before they are compressed."""
        return _bytes_of(self.key, self.value, self.headers)


class Sink(Protocol):
    """Where outcomes go."""

    async def publish(self, outgoing: OutgoingRecord, *, ending: Record) -> None:
        """Publish the outcome of the record `ending`, and return when nothing can undo that.

        A broker that is away is waited for.

        Raises:
            RecordRejected: it is larger than the topic takes (`too_large`), or the broker refuses it (`rejected`).
            ServiceFault: the broker does not take it whatever we do.
        """
        ...


def read(record: Any, *, epoch: int = 0) -> Record:
    """A client's record in our own form."""
    return Record(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
        timestamp_ms=record.timestamp,
        epoch=epoch,
        flaw=flaw_of(record),
    )


def _bytes_of(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    return len(key or b"") + len(value or b"") + sum(len(name) + len(value or b"") for name, value in headers)

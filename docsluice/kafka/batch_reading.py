"""Lets aiokafka read batches with `record_batch.py` instead of its own code. Only this module knows aiokafka's inside.

aiokafka has no hook for that. Its `Fetcher` takes every fetched byte through the name `MemoryRecords` in its module,
and calls only the four methods below. Of a batch it uses what `_Batch` has. So that name is replaced, for all consumers
of the process. A record's flaw travels in its `checksum`, which records of today's format do not have.

`Fetcher` itself is replaced for a broker that never lets a fetch wait for records, as the embedded one.

A slow batch is read in pieces, and the event loop goes on between. Only an error can interrupt aiokafka's reading.
`PartitionRecords` is replaced too, so that it then goes on where it was. When a release of aiokafka no longer reads by
these names, tests/unit/library_kafka/test_batch_reading.py notices.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, ClassVar, Final

import aiokafka.consumer.consumer
import aiokafka.consumer.fetcher
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.legacy_records import LegacyRecordBatch

from docsluice.kafka.flaw import Flaw
from docsluice.kafka.record_batch import BatchHead, ReadRecord, records_of, rest_of

KEPT_RECORD_BYTES: Final = 32 * 1024 * 1024
"""A record with more bytes than this is read without its value."""
TAKEN_BYTES: Final = 8 * 1024 * 1024
"""Bytes of records at a time, plus one record. A fetch may unfold to any size."""
_PAUSE_SECONDS = 0.01
"""Between fetches from a broker that answers at once with nothing. Without one, a reader at the end takes a core."""
_MOST_TURNS = 100
"""About two seconds of gzip."""
_gives_turns: ContextVar[bool] = ContextVar("gives_turns", default=False)
"""Whether the reader expects interruptions."""
_HEAD = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">qi")
_LEAST_BYTES = 26
_MAGIC_AT = 16
_MAGIC = 2
_CODEC_BITS = 0x07
_APPEND_TIME_BIT = 0x08
_DAMAGED = "the batch of this record is damaged: its checksum is wrong, also when it is read once more"


class DamagedBatch(KafkaError):  # type: ignore[misc]  # aiokafka ships no types
    """Fetched bytes are damaged. They may be sound when fetched again, or the batch's end is not known yet."""

    retriable = True


class StillUnfolding(KafkaError):  # type: ignore[misc]
    """There is more of a batch to skip before its next record. The next call goes on there."""

    retriable = True


def flaw_of(record: Any) -> Flaw | None:
    """The flaw of a record that a consumer has handed out, if any."""
    checksum = record.checksum
    return checksum if isinstance(checksum, Flaw) else None


def read_past_flaws(*, kept_bytes: int = KEPT_RECORD_BYTES) -> None:
    """Let consumers of this process hand out every record from now on, unreadable ones with their flaw.

    Call this before a consumer is started. A record of more than `kept_bytes` counts as unreadable.
    """
    _Records.kept_bytes = kept_bytes
    aiokafka.consumer.fetcher.MemoryRecords = _Records
    aiokafka.consumer.fetcher.PartitionRecords = _PartitionRecords
    pause_between_empty_fetches()


def pause_between_empty_fetches() -> None:
    """Let consumers of this process not ask again at once when a broker has nothing and does not wait for it."""
    aiokafka.consumer.consumer.Fetcher = _Fetcher


async def taken(
    consumer: Any, *partitions: TopicPartition, timeout_ms: int, most_records: int, most_bytes: int = TAKEN_BYTES
) -> dict[TopicPartition, list[ConsumerRecord]]:
    """As `getmany`, but record by record: memory is bounded, and an error costs no other partition its records.

    It ends with the record that reaches `most_bytes`. It ends without one if a bomb takes too long, and the next call
    goes on there, so the reader can be stopped between. With `partitions`, records of others stay for later. Without,
    records of a paused partition are dropped, and later decompressed again from the beginning.
    """
    found: dict[TopicPartition, list[ConsumerRecord]] = {}
    count = size = turns = 0
    while count < most_records and size < most_bytes:
        before = _gives_turns.set(True)
        try:
            batches: Mapping[TopicPartition, list[ConsumerRecord]] = await consumer.getmany(
                *partitions, timeout_ms=0 if found else timeout_ms, max_records=1
            )
        except StillUnfolding:
            await asyncio.sleep(0)  # everybody else first
            turns += 1
            if found or turns == _MOST_TURNS:
                break
            continue
        except KafkaError:
            if not found:
                raise
            break  # it comes again
        finally:
            _gives_turns.reset(before)
        if not batches:
            break
        for partition, records in batches.items():
            found.setdefault(partition, []).extend(records)
            count += len(records)
            size += sum(len(one.value or b"") + len(one.key or b"") for one in records)
    return found


class _Fetcher(aiokafka.consumer.fetcher.Fetcher):  # type: ignore[misc]  # aiokafka ships no types
    async def _proc_fetch_request(self, *request: Any) -> bool:
        loop = asyncio.get_running_loop()
        sent_at = loop.time()
        has_records: bool = await super()._proc_fetch_request(*request)
        if not has_records and loop.time() - sent_at < self._fetch_max_wait_ms / 1000 / 2:
            with contextlib.suppress(asyncio.CancelledError):  # as aiokafka does, and expects
                await asyncio.sleep(_PAUSE_SECONDS)
        return has_records


class _Records:
    """The batches in one answer to a fetch."""

    kept_bytes = KEPT_RECORD_BYTES
    _suspects: ClassVar[deque[tuple[int, int]]] = deque(maxlen=1_000)
    """Batches that were damaged. One that was damaged on its way is sound when fetched again."""

    def __init__(self, data: bytes | None) -> None:
        self._data = data or b""
        self._at = 0
        self._next = self._slice()
        self._batch: _Batch | None = None

    def size_in_bytes(self) -> int:
        return len(self._data)

    def has_next(self) -> bool:
        return self._next is not None or self._is_within_a_batch

    def next_batch(self) -> Any:
        """Return the next batch. None at the end.

        Raises:
            DamagedBatch: it may be sound when fetched again, or its end is not known yet.
        """
        if self._is_within_a_batch:
            return self._batch
        data = self._next
        if data is None:
            return None
        if len(data) < _LEAST_BYTES:
            raise DamagedBatch("a batch without a head")
        self._next = self._slice()
        if data[_MAGIC_AT] < _MAGIC:
            return _Legacy(LegacyRecordBatch(data, data[_MAGIC_AT]))
        if len(data) < _HEAD.size:
            raise DamagedBatch("a batch without a head")
        batch = DefaultRecordBatch(data)
        if batch.validate_crc():
            self._batch = _Batch(batch, data, kept_bytes=self.kept_bytes)
            return self._batch
        fingerprint = (batch.base_offset, zlib.crc32(data))
        if fingerprint not in self._suspects:
            self._suspects.append(fingerprint)
            raise DamagedBatch(f"a batch at offset {batch.base_offset} has a wrong checksum")
        return _Damaged(batch.base_offset, self._last_offset(batch, data))

    @property
    def _is_within_a_batch(self) -> bool:
        return self._batch is not None and self._batch.is_interrupted

    def _last_offset(self, batch: Any, data: memoryview) -> int:
        """The last offset of a damaged batch. Its own header counts only if it says the same twice."""
        head = _HEAD.unpack_from(data)
        delta, count = head[6], head[12]
        if delta == count - 1 and delta >= 0:
            return int(batch.base_offset + delta)
        if self._next is not None and len(self._next) >= _HEAD.size:
            (following,) = struct.unpack_from(">q", self._next)
            if following > batch.base_offset and self._next[_MAGIC_AT] == _MAGIC:
                return int(following - 1)
        raise DamagedBatch(f"a batch at offset {batch.base_offset} is damaged, and does not tell its end")

    def _slice(self) -> memoryview | None:
        """The bytes of the next batch. None if they are incomplete, as at the end of a fetch."""
        if len(self._data) - self._at < _LENGTH.size:
            return None
        _, length = _LENGTH.unpack_from(self._data, self._at)
        start, end = self._at, self._at + _LENGTH.size + length
        if length < 0 or end > len(self._data):
            return None
        self._at = end
        return memoryview(self._data)[start:end]


class _Batch:
    """One batch of today's format. aiokafka's own code answers everything but its records."""

    def __init__(self, batch: Any, data: memoryview, *, kept_bytes: int) -> None:
        self._batch = batch
        self._data = data
        self._kept_bytes = kept_bytes
        self._walk: Iterator[ReadRecord | None] | None = None
        self.is_interrupted = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        """The record of a control batch: whether a transaction was committed."""
        return next(self._batch)

    def validate_crc(self) -> bool:
        """It is validated already."""
        return True

    def __iter__(self) -> Iterator[ReadRecord]:
        """Its records, from where the last iterator was interrupted.

        Raises:
            StillUnfolding: it is interrupted, so that other tasks have their turn.
        """
        self._walk = self._walk or self._begun()
        self.is_interrupted = False
        for record in self._walk:
            if record is not None:
                yield record
            elif _gives_turns.get():
                self.is_interrupted = True
                raise StillUnfolding

    def _begun(self) -> Iterator[ReadRecord | None]:
        head = _HEAD.unpack_from(self._data)
        attributes, delta, first_ms, last_ms = head[5:9]
        said = BatchHead(
            codec=attributes & _CODEC_BITS,
            count=head[12],
            base_offset=head[0],
            last_offset=head[0] + delta,
            base_timestamp_ms=first_ms,
            append_time_ms=last_ms if attributes & _APPEND_TIME_BIT else None,
        )
        return records_of(said, self._data[_HEAD.size :], kept_bytes=self._kept_bytes)


class _PartitionRecords(aiokafka.consumer.fetcher.PartitionRecords):  # type: ignore[misc]
    """Goes on after an interruption."""

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except StillUnfolding:
            self._records_iterator = self._unpack_records()  # the last one ended with the error
            raise


class _Damaged:
    """A batch whose head is damaged. One record stands for all of it."""

    producer_id = None
    is_control_batch = is_transactional = False

    def __init__(self, base_offset: int, last_offset: int) -> None:
        self.base_offset = base_offset
        self.next_offset = last_offset + 1

    def validate_crc(self) -> bool:
        return True

    def __iter__(self) -> Iterator[ReadRecord]:
        yield rest_of(_nothing_known(self.base_offset, self.next_offset - 1), self.base_offset, _DAMAGED)


class _Legacy:
    """A batch in a format older than Kafka 0.11, which no broker writes any more. It has no headers."""

    producer_id = None
    is_control_batch = is_transactional = False

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self.next_offset = batch.next_offset

    def validate_crc(self) -> bool:
        return True  # checked below: a damaged batch must not hold up the partition

    def __iter__(self) -> Iterator[Any]:
        problem = _DAMAGED
        try:
            if self._batch.validate_crc():
                yield from self._batch
                return
        except Exception as error:  # noqa: BLE001 - whatever it is, the others go on
            problem = f"the message of this record cannot be read ({type(error).__name__})"
        last = self.next_offset - 1
        yield rest_of(_nothing_known(last, last), last, problem)


def _nothing_known(base_offset: int, last_offset: int) -> BatchHead:
    return BatchHead(codec=0, count=0, base_offset=base_offset, last_offset=last_offset, base_timestamp_ms=-1)

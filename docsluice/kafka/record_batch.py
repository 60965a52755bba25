"""The records of a batch in Kafka's format of today (magic 2), each whole or with its flaw. Pure.

aiokafka's own code raises at a bad record and cannot get past it: a seek behind the record fetches the same batch
again. Here the other records of the batch are read. The largest record that is kept bounds memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from docsluice.kafka.decompression import AT_A_TIME_BYTES, LARGEST_VARINT_BYTES, Unfolding, Unreadable
from docsluice.kafka.flaw import ALL_PARTS, Flaw

KEPT_KEY_BYTES = 64 * 1024
"""If a record is not kept whole, a longer key is left out too."""
_TIME_OF_A_RECORD_BYTES = 512
"""Reading a small record takes as long as decompressing this many bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRecord:
    """A record as aiokafka wants it. `checksum`, which the format does not have, carries the flaw."""

    offset: int
    timestamp: int
    timestamp_type: int = 0
    key: bytes | None = None
    value: bytes | None = b""
    headers: tuple[tuple[str, bytes | None], ...] = ()
    checksum: Flaw | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchHead:
    """The head of a batch. `append_time_ms`, if set, is the time of all its records."""

    codec: int
    count: int
    base_offset: int
    last_offset: int
    base_timestamp_ms: int
    append_time_ms: int | None = None

    def timestamp_ms(self, delta: int) -> int:
        """A record's time."""
        return self.base_timestamp_ms + delta if self.append_time_ms is None else self.append_time_ms


def records_of(head: BatchHead, data: memoryview, *, kept_bytes: int) -> Iterator[ReadRecord | None]:
    """Each record of the batch. `data` are its records part, compressed or not.

    A batch of 1 MB may take seconds. None is yielded when other tasks may have their turn.

    A record of more than `kept_bytes` has no value and no headers. If the rest of the batch cannot be read, one record
    with the batch's last offset stands for it.
    """
    unfolding, expected, turns = Unfolding(head.codec, data), head.base_offset, 0
    try:
        for number in range(1, head.count + 1):
            length = unfolding.length()
            if length <= kept_bytes:
                record = _whole(head, unfolding.read(length), expected)
            else:
                record = yield from _left_out(head, unfolding, length)
            expected = record.offset + 1
            yield record
            spent = unfolding.position + number * _TIME_OF_A_RECORD_BYTES
            if spent // AT_A_TIME_BYTES > turns:
                turns = spent // AT_A_TIME_BYTES
                yield None
    except Unreadable as problem:
        if expected <= head.last_offset:
            yield rest_of(head, expected, f"the batch of this record cannot be read: {problem}")


def rest_of(head: BatchHead, first_offset: int, problem: str) -> ReadRecord:
    """A record that stands for all of the batch from an offset on."""
    last = head.last_offset
    meant = f"all offsets from {first_offset} to {last} are passed over" if first_offset < last else ""
    return ReadRecord(
        offset=last,
        timestamp=head.timestamp_ms(0),
        checksum=Flaw(problem="; ".join(filter(None, (problem, meant))), left_out=ALL_PARTS, first_offset=first_offset),
    )


class _Body:
    """The bytes of one record."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def varint(self) -> int:
        """Read the next number, see `Unfolding.varint`.

        An endless number would take quadratic time, so its length is bounded.

        Raises:
            ValueError: it is too long.
            IndexError: the record ends within it.
        """
        number = shift = 0
        for _ in range(LARGEST_VARINT_BYTES):
            byte = self._data[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
                return (number >> 1) ^ -(number & 1)
            shift += 7
        raise ValueError("a number in it is longer than any")

    def part(self) -> bytes | None:
        """Read bytes with their length before them. None if the length is negative.

        Raises:
            ValueError: the record ends within them.
        """
        size = self.varint()
        if size < 0:
            return None
        end = self._at + size
        if end > len(self._data):
            raise ValueError("a part of it is longer than the record")
        found = self._data[self._at : end]
        self._at = end
        return found

    def skip(self, count: int) -> None:
        self._at += count

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)


def _whole(head: BatchHead, data: bytes, expected: int) -> ReadRecord:
    """Read a record whose bytes are all in memory."""
    body, offset, timestamp = _Body(data), expected, head.timestamp_ms(0)
    key: bytes | None = None
    value: bytes | None = b""
    left_out = ALL_PARTS
    headers: list[tuple[str, bytes | None]] = []
    try:
        body.skip(1)  # its attributes, which are unused
        timestamp = head.timestamp_ms(body.varint())
        offset = max(expected, head.base_offset + body.varint())
        key = body.part()
        left_out = ALL_PARTS - {"key"}
        value = body.part()
        left_out = frozenset({"headers"})
        problem = _read_headers(body, headers)
        left_out = frozenset()
        if not body.is_at_end:
            problem = "the record is longer than its parts"
    except (IndexError, ValueError):
        problem = "the record is damaged"
    return ReadRecord(
        offset=min(offset, head.last_offset),
        timestamp=timestamp,
        timestamp_type=int(head.append_time_ms is not None),
        key=key,
        value=value,
        headers=tuple(headers),
        checksum=Flaw(problem=problem, left_out=left_out) if problem else None,
    )


def _read_headers(body: _Body, headers: list[tuple[str, bytes | None]]) -> str:
    """Read the headers into `headers`. Returns a sentence if a name is not UTF-8. It gets replacement characters."""
    problem, count = "", body.varint()
    if count < 0:
        raise ValueError("a number of headers below none")
    for number in range(1, count + 1):
        name = body.part() or b""
        try:
            shown = name.decode("utf-8")
        except UnicodeDecodeError:
            shown = name.decode("utf-8", errors="replace")
            problem = problem or f"the name of header {number} is not UTF-8; have the producer write it in UTF-8"
        headers.append((shown, body.part()))
    return problem


def _left_out(head: BatchHead, unfolding: Unfolding, length: int) -> Generator[None, None, ReadRecord]:
    """A record that is too large to be kept: its value is counted and hashed, and its headers are skipped."""
    end = unfolding.position + length
    unfolding.read(1)  # its attributes
    timestamp, offset = head.timestamp_ms(unfolding.varint()), head.base_offset + unfolding.varint()
    key, key_bytes, left_out = None, unfolding.varint(), {"headers", "value"}
    if 0 <= key_bytes <= KEPT_KEY_BYTES:
        key = unfolding.read(key_bytes)
    elif key_bytes > 0:
        left_out.add("key")
        yield from unfolding.skip(min(key_bytes, end - unfolding.position))
    value_bytes, digest = max(0, unfolding.varint()), hashlib.sha256()
    if unfolding.position + value_bytes > end:
        raise Unreadable("a part of a record is longer than the record")
    yield from unfolding.skip(value_bytes, digest.update)
    yield from unfolding.skip(end - unfolding.position)
    return ReadRecord(
        offset=min(offset, head.last_offset),
        timestamp=timestamp,
        timestamp_type=int(head.append_time_ms is not None),
        key=key,
        checksum=Flaw(
            problem=f"the record has {length:,} bytes, {value_bytes:,} of them its value: more than is kept in memory",
            is_too_large=True,
            left_out=frozenset(left_out),
            value_bytes=value_bytes,
            value_sha256=digest.hexdigest(),
            key_bytes=key_bytes if "key" in left_out else None,
        ),
    )

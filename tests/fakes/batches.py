"""Record batches byte by byte, as no client of ours would write them."""

from __future__ import annotations

import gzip
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

import cramjam
from aiokafka.record.util import calc_crc32c

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_NONE_LENGTH = -1
TIMESTAMP_MS = int(time.time() * 1000)
"""An older one, and a broker would soon delete them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRecord:
    """A record whose header names are bytes."""

    value: bytes | None = b"{}"
    key: bytes | None = None
    headers: Sequence[tuple[bytes, bytes | None]] = ()
    timestamp_delta: int = 0
    offset_delta: int | None = None


def varint(number: int) -> bytes:
    """Zigzag, seven bits a byte."""
    left, out = (number << 1) ^ (number >> 63), bytearray()
    left &= 2**64 - 1
    while left > 0x7F:
        out.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*out, left])


def part(data: bytes | None) -> bytes:
    return varint(_NONE_LENGTH) if data is None else varint(len(data)) + data


def record_bytes(record: RawRecord, *, delta: int) -> bytes:
    """One record with its length before it."""
    body = b"\0" + varint(record.timestamp_delta)
    body += varint(delta if record.offset_delta is None else record.offset_delta)
    body += part(record.key) + part(record.value) + varint(len(record.headers))
    body += b"".join(part(name) + part(value) for name, value in record.headers)
    return varint(len(body)) + body


def batch(
    records: Sequence[RawRecord] | bytes,
    *,
    codec: str = "none",
    codec_number: int | None = None,
    base_offset: int = 0,
    count: int | None = None,
    last_offset_delta: int | None = None,
    attributes: int = 0,
    is_damaged: bool = False,
) -> bytes:
    """A batch of these records, or of the bytes that stand for them, already compressed."""
    if isinstance(records, bytes):
        body, number = records, 1 if count is None else count
    else:
        plain = b"".join(record_bytes(record, delta=delta) for delta, record in enumerate(records))
        body, number = compressed(plain, codec), len(records) if count is None else count
    last = number - 1 if last_offset_delta is None else last_offset_delta
    attributes |= CODECS[codec] if codec_number is None else codec_number
    covered = struct.pack(">hiqqqhii", attributes, last, TIMESTAMP_MS, TIMESTAMP_MS, -1, -1, -1, number) + body
    crc = calc_crc32c(covered) ^ (1 if is_damaged else 0)
    rest = struct.pack(">ibI", -1, 2, crc) + covered
    return struct.pack(">qi", base_offset, len(rest)) + rest


def compressed(plain: bytes, codec: str) -> bytes:
    match codec:
        case "gzip":
            return gzip.compress(plain, compresslevel=6, mtime=0)
        case "snappy":
            return bytes(cramjam.snappy.compress_raw(plain))
        case "lz4":
            return bytes(cramjam.lz4.compress(plain))
        case "zstd":
            return bytes(cramjam.zstd.compress(plain))
        case _:
            return plain


def zeros_of(size: int, codec: str) -> bytes:
    """A batch's bytes that unfold to one record of so many zeros, made without holding them."""
    before = b"\0" + varint(0) + varint(0) + part(b"bomb") + varint(size)
    head = varint(len(before) + size + 1) + before
    compressor = {"zstd": cramjam.zstd, "gzip": cramjam.gzip, "lz4": cramjam.lz4}[codec].Compressor()
    compressor.compress(head)
    for start in range(0, size, 2**20):
        compressor.compress(bytes(min(2**20, size - start)))
    compressor.compress(varint(0))
    return bytes(compressor.finish())

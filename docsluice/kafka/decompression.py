"""The bytes of a record batch, decompressed piece by piece, so that memory is bounded however much there is. Pure.

The codecs of aiokafka decompress a batch in one piece: 100 kB may become gigabytes. Fetch sizes bound compressed bytes
only. Here a piece is 256 KiB, and only requested pieces are decompressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator

import cramjam
import lz4.frame
import zstandard

PIECE_BYTES = 256 * 1024
MOST_UNFOLDED_BYTES = 4 * 1024 * 1024 * 1024
"""The most bytes of one batch. The rest is not read.

Skipping them takes four seconds, with gzip eleven. It must be shorter than the group's session. Otherwise a member that
begins in the middle of such a batch would never get through it. Producers do write batches of 3 GB: thousands of
similar records.
"""
AT_A_TIME_BYTES = 8 * 1024 * 1024
"""Bytes skipped before other tasks have their turn: a fiftieth of a second of gzip."""
_INPUT_BYTES = 16 * 1024
_ZSTD_WINDOW_BYTES = 128 * 1024 * 1024
"""zstd's own default limit. Kafka's windows are 8 MiB at most."""
_SNAPPY_BLOCK_BYTES = 64 * 1024 * 1024
"""A snappy block can only be decompressed whole. Those of the Java client are 32 KiB."""
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER_BYTES = 16
_GZIP = 31
LARGEST_VARINT_BYTES = 10
_FAILURES = (zlib.error, zstandard.ZstdError, cramjam.DecompressionError, RuntimeError, struct.error)


class Unreadable(Exception):
    """The rest of a batch cannot be read. The message says why, and quotes nothing."""


class Unfolding:
    """Reads a batch's records part from its beginning to its end."""

    def __init__(self, codec: int, data: memoryview, *, most_bytes: int = MOST_UNFOLDED_BYTES) -> None:
        self._pieces = _pieces(codec, data)
        self._most_bytes = most_bytes
        self._piece = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        """The number of bytes read."""
        return self._before + self._at

    def read(self, count: int) -> bytes:
        """Read the next `count` bytes.

        Raises:
            Unreadable: there are fewer.
        """
        found = self._piece[self._at : self._at + count]
        self._at += len(found)
        if len(found) == count:
            return found
        parts, missing = [found], count - len(found)
        while missing:
            parts.append(self.some(missing))
            missing -= len(parts[-1])
        return b"".join(parts)

    def skip(self, count: int, heard: Callable[[bytes], None] = lambda _piece: None) -> Iterator[None]:
        """Skip `count` bytes. `heard` gets them, piece by piece. Yields when other tasks may have their turn.

        Raises:
            Unreadable: there are fewer.
        """
        passed = 0
        while count:
            piece = self.some(count)
            count -= len(piece)
            passed += len(piece)
            heard(piece)
            if passed >= AT_A_TIME_BYTES:
                passed = 0
                yield

    def some(self, most: int) -> bytes:
        """Read the next bytes: at least one, at most `most` and one piece.

        Raises:
            Unreadable: there are none.
        """
        if self._at == len(self._piece):
            self._next_piece()
        found = self._piece[self._at : self._at + most]
        self._at += len(found)
        return found

    def length(self) -> int:
        """Read the next number, a record's length.

        Raises:
            Unreadable: there is none, or it is below zero.
        """
        number = self.varint()
        if number < 0:
            raise Unreadable("a record of it has no length")
        return number

    def varint(self) -> int:
        """Read the next number, as Kafka writes lengths and differences.

        Raises:
            Unreadable: there is none.
        """
        number = shift = 0
        for _ in range(LARGEST_VARINT_BYTES):
            byte = self.some(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that more follow
                return (number >> 1) ^ -(number & 1)
            shift += 7
        raise Unreadable("a length in it is none")

    def _next_piece(self) -> None:
        self._before += len(self._piece)
        self._at, self._piece = 0, b""
        try:
            self._piece = next(self._pieces, b"")
        except _FAILURES as error:
            raise Unreadable(f"it cannot be decompressed ({type(error).__name__})") from error
        if not self._piece:
            raise Unreadable("it ends within a record")
        if self._before + len(self._piece) > self._most_bytes:
            self._piece = b""
            raise Unreadable(f"it unfolds to more than {self._most_bytes:,} bytes")


def _pieces(codec: int, data: memoryview) -> Iterator[bytes]:
    match codec:
        case 0:
            yield from _slices(data, PIECE_BYTES)
        case 1:
            yield from _of_gzip(data)
        case 2:
            yield from _of_snappy(data)
        case 3:
            yield from _of_lz4(data)
        case 4:
            source = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
            reader = source.stream_reader(data, read_across_frames=True)
            while piece := reader.read(PIECE_BYTES):
                yield piece
        case _:
            raise Unreadable(f"it is compressed with codec {codec}, which this release does not know")


def _slices(data: memoryview, count: int) -> Iterator[bytes]:
    for start in range(0, len(data), count):
        yield bytes(data[start : start + count])


def _of_gzip(data: memoryview) -> Iterator[bytes]:
    member = zlib.decompressobj(_GZIP)
    for fresh in _slices(data, _INPUT_BYTES):
        left = fresh
        while left:
            if member.eof:
                member = zlib.decompressobj(_GZIP)
            piece = member.decompress(left, PIECE_BYTES)
            left = member.unused_data if member.eof else member.unconsumed_tail
            if piece:
                yield piece
    if piece := member.flush():
        yield piece


def _of_lz4(data: memoryview) -> Iterator[bytes]:
    frame = lz4.frame.LZ4FrameDecompressor()
    for fresh in _slices(data, _INPUT_BYTES):
        left = fresh
        while True:
            piece = frame.decompress(left, max_length=PIECE_BYTES)
            if piece:
                yield piece
            left = (frame.unused_data or b"") if frame.eof else b""
            if not left and (frame.eof or frame.needs_input):
                break


def _of_snappy(data: memoryview) -> Iterator[bytes]:
    if bytes(data[: len(_XERIAL_MAGIC)]) != _XERIAL_MAGIC:
        yield _snappy_block(data)
        return
    at = _XERIAL_HEADER_BYTES
    while at < len(data):
        (size,) = struct.unpack_from("!i", data, at)
        at += 4
        if size <= 0:
            raise Unreadable("a block of it has no size")
        yield _snappy_block(data[at : at + size])
        at += size


def _snappy_block(block: memoryview) -> bytes:
    size = cramjam.snappy.decompress_raw_len(block)
    if size > _SNAPPY_BLOCK_BYTES:
        raise Unreadable(f"a block of it unfolds to {size:,} bytes at once")
    return bytes(cramjam.snappy.decompress_raw(block))

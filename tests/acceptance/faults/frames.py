"""Kafka's framing: a size, and the few header fields that tell one request from another. Pure, but for the reading."""

from __future__ import annotations

import asyncio
import struct
from enum import IntEnum
from typing import NamedTuple

_SIZE = struct.Struct(">i")
_REQUEST_HEADER = struct.Struct(">hhi")
_RESPONSE_HEADER = struct.Struct(">i")


class Api(IntEnum):
    """The requests whose acknowledgement it hurts to lose."""

    PRODUCE = 0
    OFFSET_COMMIT = 8
    INIT_PRODUCER_ID = 22
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    TXN_OFFSET_COMMIT = 28


class RequestHeader(NamedTuple):
    """The beginning of every request, whatever its version."""

    api_key: int
    api_version: int
    correlation_id: int


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """The next frame, its size included.

    Raises:
        IncompleteReadError: the peer has closed the connection.
    """
    size = await reader.readexactly(_SIZE.size)
    return size + await reader.readexactly(_SIZE.unpack(size)[0])


def request_header(frame: bytes) -> RequestHeader:
    """What a request's frame asks for."""
    return RequestHeader(*_REQUEST_HEADER.unpack_from(frame, _SIZE.size))


def answered(frame: bytes) -> int:
    """The correlation id of the request that a response's frame answers."""
    return int(_RESPONSE_HEADER.unpack_from(frame, _SIZE.size)[0])

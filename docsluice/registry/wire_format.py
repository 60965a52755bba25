"""Confluent's wire format: which schema a value names, and what it holds beside that. Pure."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, TypeAlias

from docsluice.messages import Headers

SchemaName: TypeAlias = int | uuid.UUID
"""A schema's id in a registry, or its GUID. Neither ever gets another schema."""
VALUE_SCHEMA_HEADER: Final = "__value_schema_id"
_BY_ID, _BY_GUID = b"\x00", b"\x01"
_ID_BYTES, _GUID_BYTES = 5, 17
"""With the byte before them that tells which of the two it is."""


@dataclass(frozen=True, slots=True)
class Framed:
    """A value that names its schema."""

    schema: SchemaName
    data: bytes


def framed(value: bytes, headers: Headers) -> Framed | None:
    """The schema that a value names, in a header as newer serializers do, or in its first five bytes. None without."""
    for name, said in reversed([*headers]):
        if name == VALUE_SCHEMA_HEADER and (schema := _named(said or b"")) is not None:
            return Framed(schema, value)
    if value[:1] == _BY_ID and len(value) >= _ID_BYTES:
        return Framed(int.from_bytes(value[1:_ID_BYTES], "big"), value[_ID_BYTES:])
    return None


def in_frame(schema_id: int, data: bytes) -> bytes:
    """A value that names its schema."""
    return _BY_ID + schema_id.to_bytes(4, "big") + data


def _named(said: bytes) -> SchemaName | None:
    """What a header names. Protobuf's serializers put more behind it."""
    if said[:1] == _BY_GUID and len(said) >= _GUID_BYTES:
        return uuid.UUID(bytes=said[1:_GUID_BYTES])
    if said[:1] == _BY_ID and len(said) >= _ID_BYTES:
        return int.from_bytes(said[1:_ID_BYTES], "big")
    return None

"""A schema as a registry has it, and what reads its values. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from docsluice.registry.avro import NoSchema, avro_reader
from docsluice.validation.event_problems import shown_name
from docsluice.validation.json_values import json_value
from docsluice.validation.record_bytes import json_of

ValueReader: TypeAlias = Callable[[bytes], Any]
_WRITE_ANOTHER = "have the producer write Avro or JSON"


@dataclass(frozen=True, slots=True)
class Reference:
    """A schema that another one uses, by subject and version."""

    subject: str
    version: int


@dataclass(frozen=True, slots=True)
class RegisteredSchema:
    """A schema as the registry has it."""

    kind: str
    """`AVRO`, `JSON`, `PROTOBUF`, or another one's word."""
    text: str
    references: tuple[Reference, ...] = ()


def value_reader(schema: RegisteredSchema, used: Sequence[RegisteredSchema] = ()) -> ValueReader:
    """What makes plain JSON of a schema's values. `used` are the schemas that it refers to, the innermost first.

    It raises `Unfit` for bytes that do not fit, and `Unreadable` for JSON that is none.

    Raises:
        NoSchema: its values cannot be read.
    """
    match schema.kind:
        case "AVRO":
            return avro_reader(_parsed(schema.text), [_parsed(one.text) for one in used])
        case "JSON":
            return _json
        case "PROTOBUF":
            raise NoSchema(f"it is Protobuf, which is not read; {_WRITE_ANOTHER}")
        case kind:
            raise NoSchema(f"it is of the kind {shown_name(kind)}, which is not known; {_WRITE_ANOTHER}")


def _json(data: bytes) -> Any:
    return json_of(data)


def _parsed(text: str) -> Any:
    """An Avro schema. That of a primitive type may stand without quotes."""
    try:
        return json_value(text)
    except ValueError:
        if text.strip().isidentifier():
            return text.strip()
        raise NoSchema("it is no JSON") from None

"""JSON with its schema, as Kafka Connect's JsonConverter reads it with `schemas.enable=true`. Pure.

Sinks make the columns of a table of it. Times are Connect's timestamps, and dollars its decimals. The type of a field
hangs on its name alone: one value of another type than its column's would end a sink.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from docsluice.messages import Usage, plain_decimal, rfc3339

_SCALE = 12
"""Digits of a dollar behind the point. Providers charge by the millionth of a token's million."""
_DECIMAL = {
    "type": "bytes",
    "name": "org.apache.kafka.connect.data.Decimal",
    "version": 1,
    "parameters": {"scale": str(_SCALE)},
}
_TIMESTAMP = {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1}
_COUNT: Mapping[str, Any] = {"type": "int64"}
_TEXT: Mapping[str, Any] = {"type": "string"}
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ESCAPED_NUL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_DOLLARS = frozenset({"cost_usd", "saved_usd"})
_TIMES = frozenset({"started_at", "finished_at"})
METADATA = "metadata"
"""The field of all metadata, as JSON in a text."""
_COUNTS = frozenset({"schema_version", "attempts", "source_partition", "source_offset", *Usage.model_fields})


def enveloped(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a flat result as `schema` and `payload`.

    Fields that are not docsluice's own are texts. What is no text is its JSON, and null is null.
    """
    typed = {name: _typed(name, value) for name, value in fields.items()}
    schemas = [{**kind, "optional": True, "field": name} for name, (kind, _) in typed.items()]
    payload = {name: value for name, (_, value) in typed.items()}
    return {"schema": {"type": "struct", "optional": False, "fields": schemas}, "payload": payload}


def opened(value: Any) -> Any:
    """What `enveloped` was made of. Another value is returned as it is.

    Raises:
        ValueError: a field is none of ours.
    """
    if not isinstance(value, dict) or value.keys() != {"schema", "payload"} or not isinstance(value["payload"], dict):
        return value
    fields = dict(value["payload"])
    try:
        for name in _DOLLARS & fields.keys():
            units = int.from_bytes(base64.b64decode(str(fields[name])), "big", signed=True)
            fields[name] = plain_decimal(Decimal(units).scaleb(-_SCALE))
        for name in _TIMES & fields.keys():
            fields[name] = rfc3339(datetime.fromtimestamp(int(fields[name]) / 1000, UTC))
        if METADATA in fields:
            fields[METADATA] = json.loads(fields[METADATA])
    except (TypeError, ArithmeticError, OSError, RecursionError) as error:
        raise ValueError("no field of Connect's") from error
    return fields


def _typed(name: str, value: Any) -> tuple[Mapping[str, Any], Any]:
    if name in _DOLLARS:
        return _DECIMAL, _decimal(value)
    if name in _TIMES:
        return _TIMESTAMP, round(datetime.fromisoformat(value).timestamp() * 1000)
    if name in _COUNTS:
        return _COUNT, value
    return _TEXT, value if value is None else _text(value)


def _text(value: Any) -> str:
    """A text as it is, another value as JSON. PostgreSQL takes neither with a NUL."""
    if isinstance(value, str):
        return value.replace("\0", _REPLACEMENT)
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))  # so that LIKE finds what has an accent
    return _ESCAPED_NUL.sub(rf"\1{_REPLACEMENT}", written)


def _decimal(written: str) -> str:
    units = int(Decimal(written).scaleb(_SCALE).to_integral_value())
    return base64.b64encode(units.to_bytes(units.bit_length() // 8 + 1, "big", signed=True)).decode()

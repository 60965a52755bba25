"""JSON with its schema, as Kafka Connect's JsonConverter reads it with `schemas.enable=true`. Pure.

Sinks make the columns of a table of it. Times are Connect's timestamps, and dollars its decimals.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from docsluice.messages import plain_decimal, rfc3339
from docsluice.text.ascii_json import compact

_SCALE = 12
"""Digits of a dollar behind the point. Providers charge by the millionth of a token's million."""
_DECIMAL = {
    "type": "bytes",
    "name": "org.apache.kafka.connect.data.Decimal",
    "version": 1,
    "parameters": {"scale": str(_SCALE)},
}
_TIMESTAMP = {"type": "int64", "name": "org.apache.kafka.connect.data.Timestamp", "version": 1}
_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_DOLLARS = frozenset({"cost_usd", "saved_usd"})
_TIMES = frozenset({"started_at", "finished_at"})
_LARGEST_INTEGER = 2**63 - 1


def enveloped(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a flat result as `schema` and `payload`. Deeper values than a list of texts are JSON in a text."""
    schemas: list[dict[str, Any]] = []
    payload: dict[str, Any] = {}
    for name, value in fields.items():
        kind, payload[name] = _dollars(value) if name in _DOLLARS else _time(value) if name in _TIMES else _plain(value)
        schemas.append({**kind, "optional": True, "field": name})
    return {"schema": {"type": "struct", "optional": False, "fields": schemas}, "payload": payload}


def opened(value: Any) -> Any:
    """What `enveloped` was made of. Another value is returned as it is.

    Raises:
        ValueError: a number is none.
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
    except (TypeError, ArithmeticError, OSError) as error:
        raise ValueError("no number of Connect's") from error
    return fields


def _dollars(written: str) -> tuple[Mapping[str, Any], str]:
    units = int(Decimal(written).scaleb(_SCALE).to_integral_value())
    return _DECIMAL, base64.b64encode(units.to_bytes(units.bit_length() // 8 + 1, "big", signed=True)).decode()


def _time(written: str) -> tuple[Mapping[str, Any], int]:
    return _TIMESTAMP, round(datetime.fromisoformat(written).timestamp() * 1000)


def _plain(value: Any) -> tuple[Mapping[str, Any], Any]:
    match value:
        case bool():
            return {"type": "boolean"}, value
        case int() if abs(value) <= _LARGEST_INTEGER:
            return {"type": "int64"}, value
        case float():
            return {"type": "double"}, value
        case str():
            return _TEXT, value
        case list() if all(isinstance(one, str) for one in value):
            return _TEXTS, value
        case _:
            return _TEXT, compact(value)

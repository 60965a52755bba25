"""Avro's logical types as JSON has them: times in RFC 3339, decimals and UUIDs as texts. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS = 86_400
_MOST_DIGITS = 1000
"""More are no decimal of anybody's, and take quadratic time."""
_FRACTIONS: Final[Mapping[str, int]] = {"millis": 1000, "micros": 1_000_000, "nanos": 1_000_000_000}
_UUID_BYTES = 16


def logical(schema: Mapping[str, Any], read: Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    """What reads a value of a logical type. None for a type that has none, or one that does not fit it.

    `read` gives the value below: a whole number, a text, or bytes.
    """
    shape = _shape(schema)
    return None if shape is None else lambda cursor: shape(read(cursor))


def _shape(schema: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    match schema.get("type"), schema.get("logicalType"):
        case (("bytes" | "fixed"), "decimal"):
            scale = schema.get("scale", 0)
            return _decimal(scale) if isinstance(scale, int) and 0 <= scale <= _MOST_DIGITS else None
        case "fixed", "uuid" if schema.get("size") == _UUID_BYTES:
            return lambda data: str(uuid.UUID(bytes=data))
        case "int", "date":
            return _date
        case (("int" | "long"), str(name)) if name.startswith("time-"):
            return _time(name.removeprefix("time-"))
        case "long", str(name) if name.startswith("timestamp-"):
            return _timestamp(name.removeprefix("timestamp-"), zone="Z")
        case "long", str(name) if name.startswith("local-timestamp-"):
            return _timestamp(name.removeprefix("local-timestamp-"), zone="")
        case _:
            return None


def _decimal(scale: int) -> Callable[[bytes], str]:
    """A decimal as a text. One with impossibly many digits becomes that of its bytes."""

    def shown(data: bytes) -> str:
        if len(data) > _MOST_DIGITS:
            return data.hex()
        digits = str(abs(unscaled := int.from_bytes(data, "big", signed=True)))
        sign = (0,) if unscaled >= 0 else (1,)
        return f"{Decimal((sign[0], tuple(map(int, digits)), -scale)):f}"

    return shown


def _date(days: int) -> str | int:
    try:
        return (date(1970, 1, 1) + timedelta(days=days)).isoformat()
    except OverflowError:
        return days


def _time(unit: str) -> Callable[[int], str | int] | None:
    if (parts := _FRACTIONS.get(unit)) is None:
        return None

    def shown(count: int) -> str | int:
        seconds, fraction = divmod(count, parts)
        if not 0 <= seconds < _DAY_SECONDS:
            return count
        minutes, second = divmod(seconds, 60)
        return time(minutes // 60, minutes % 60, second).isoformat() + _fraction(fraction, parts)

    return shown


def _timestamp(unit: str, *, zone: str) -> Callable[[int], str | int] | None:
    """A moment in RFC 3339. One outside of the calendar stays a number."""
    if (parts := _FRACTIONS.get(unit)) is None:
        return None

    def shown(count: int) -> str | int:
        seconds, fraction = divmod(count, parts)
        try:
            moment = _EPOCH + timedelta(seconds=seconds)
        except OverflowError:
            return count
        return moment.replace(tzinfo=None).isoformat() + _fraction(fraction, parts) + zone

    return shown


def _fraction(count: int, parts: int) -> str:
    return f".{count:0{len(str(parts)) - 1}d}" if count else ""

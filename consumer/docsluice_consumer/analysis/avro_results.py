"""Flat results in Avro: their schema, which the pipeline's tasks give, and their bytes. Pure.

Each field may be null, and is so by default. Then a reader of the new schema reads what was written by an old one,
whichever tasks and fields came and went in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from docsluice.messages import DocumentResult
from docsluice.registry.wire_format import in_frame
from docsluice.result_forms import field_names, flat, output_name
from docsluice.text.ascii_json import compact

_METADATA: Final = "metadata"
_SCALE = 12
"""Digits of a dollar behind the point, as in Connect's form."""
_PRECISION = 38
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXTS = {"type": "array", "items": "string"}
_TEXT_BY_NAME = {"type": "map", "values": "string"}
_DOLLARS = {"type": "bytes", "logicalType": "decimal", "precision": _PRECISION, "scale": _SCALE}
_TIME = {"type": "long", "logicalType": "timestamp-millis"}
_KINDS: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("cost_usd", "saved_usd"), _DOLLARS),
    **dict.fromkeys(("started_at", "finished_at"), _TIME),
    **dict.fromkeys(
        (
            "schema_version",
            "attempts",
            "input_tokens",
            "output_tokens",
            "cached_tokens",
            "reasoning_tokens",
            "source_partition",
            "source_offset",
        ),
        "long",
    ),
}
"""The types of a flat result's own fields. All others are texts."""


def avro_name(task: str) -> str:
    """The field of a task's output. `metadata` is a field of its own."""
    return f"outputs_{task}" if task == _METADATA else output_name(task)


def avro_schema(outputs: Mapping[str, bool], fields: Collection[str] | None) -> dict[str, Any]:
    """The schema of a flat result. `outputs` tells of each task whether its output is a list of texts.

    `fields` are as for `docsluice.result_forms.flat`.
    """
    own = [name for name in field_names() if fields is None or name in fields]
    kinds = {name: _KINDS.get(name, "string") for name in own}
    kinds |= {avro_name(task): _TEXTS if is_list else "string" for task, is_list in outputs.items()}
    kinds[_METADATA] = _TEXT_BY_NAME
    return {
        "type": "record",
        "name": "DocumentResult",
        "namespace": "docsluice",
        "fields": [{"name": name, "type": ["null", kind], "default": None} for name, kind in kinds.items()],
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class AvroResults:
    """Writes flat results by their schema."""

    schema: Mapping[str, Any]
    ids: Mapping[str, int] = field(default_factory=dict)
    """The schema's id in the registry, by topic."""

    def value(self, result: DocumentResult, *, topic: str, fields: Sequence[str] | None) -> bytes:
        """The value of a result's record on a topic."""
        values = flat(result.model_copy(update={"metadata": {}, "outputs": {}}), fields=fields)
        values |= {avro_name(task): answer for task, answer in result.outputs.items()}
        values[_METADATA] = {
            name: one if isinstance(one, str) else compact(one) for name, one in result.metadata.items()
        }
        return in_frame(self.ids[topic], self._written(values))

    def _written(self, values: Mapping[str, Any]) -> bytes:
        parts: list[bytes] = []
        for one in self.schema["fields"]:
            value = values.get(one["name"])
            parts.append(_number(0) if value is None else _number(1) + _writer(one["type"][1])(value))
        return b"".join(parts)


def changed_fields(old: str, new: Mapping[str, Any]) -> list[str]:
    """The fields of another type than in an older schema, each with both types."""
    try:
        before = {one["name"]: one["type"] for one in json.loads(old)["fields"]}
    except (ValueError, TypeError, LookupError):
        return []
    now = {one["name"]: one["type"] for one in new["fields"]}
    return [
        f"{name} was {compact(before[name])} and is {compact(kind)}"
        for name, kind in now.items()
        if name in before and before[name] != kind
    ]


def _writer(kind: Any) -> Callable[[Any], bytes]:
    if kind is _DOLLARS:
        return _dollars
    if kind is _TIME:
        return _time
    if kind is _TEXTS:
        return _texts
    if kind is _TEXT_BY_NAME:
        return _text_by_name
    return _number if kind == "long" else _text


def _number(value: int) -> bytes:
    found, written = (value << 1) ^ (value >> 63), bytearray()
    while found > 0x7F:  # noqa: PLR2004 - seven bits
        written.append(found & 0x7F | 0x80)
        found >>= 7
    written.append(found)
    return bytes(written)


def _in_bytes(data: bytes) -> bytes:
    return _number(len(data)) + data


def _text(value: Any) -> bytes:
    return _in_bytes((value if isinstance(value, str) else compact(value)).encode(errors="replace"))


def _texts(values: Sequence[str]) -> bytes:
    return (_number(len(values)) + b"".join(map(_text, values)) if values else b"") + _number(0)


def _text_by_name(values: Mapping[str, str]) -> bytes:
    entries = b"".join(_text(name) + _text(one) for name, one in values.items())
    return (_number(len(values)) + entries if values else b"") + _number(0)


def _dollars(written: str) -> bytes:
    units = int(Decimal(written).scaleb(_SCALE).to_integral_value())
    return _in_bytes(units.to_bytes(units.bit_length() // 8 + 1, "big", signed=True))


def _time(written: str) -> bytes:
    return _number(round((datetime.fromisoformat(written) - _EPOCH).total_seconds() * 1000))

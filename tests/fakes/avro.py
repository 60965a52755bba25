"""Avro's own tools, which are not ours: what they write and read, in a registry's frame."""

from __future__ import annotations

import io
from typing import Any

import fastavro


def written(schema: Any, value: Any) -> bytes:
    """What fastavro makes of a value."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), value)
    return out.getvalue()


def framed(schema_id: int, schema: Any, value: Any) -> bytes:
    """A value in Confluent's wire format."""
    return b"\x00" + schema_id.to_bytes(4, "big") + written(schema, value)


def read(schema: Any, data: bytes) -> Any:
    """What fastavro reads behind a frame."""
    return fastavro.schemaless_reader(io.BytesIO(data[5:]), fastavro.parse_schema(schema))


TICKET: dict[str, Any] = {
    "type": "record",
    "name": "Ticket",
    "namespace": "shop",
    "fields": [
        {"name": "ticket_id", "type": "long"},
        {"name": "subject", "type": "string"},
        {"name": "body", "type": ["null", "string"]},
        {"name": "status", "type": {"type": "enum", "name": "Status", "symbols": ["OPEN", "CLOSED"]}},
        {"name": "opened_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    ],
}


def ticket(number: int, **more: Any) -> dict[str, Any]:
    """A ticket that this schema fits."""
    fields = {"subject": f"Printer {number}", "body": "It burns.", "status": "OPEN", "opened_at": 1_700_000_000_000}
    return {"ticket_id": number} | fields | more

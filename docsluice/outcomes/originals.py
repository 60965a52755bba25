"""The document in a dead letter: the record's own value is still in it, byte for byte. Pure."""

import base64
import contextlib
from collections.abc import Mapping
from typing import Any

from docsluice.messages import Headers
from docsluice.validation.event_fields import fields_of
from docsluice.validation.event_problems import NoEvent, is_scalar
from docsluice.validation.json_values import json_value
from docsluice.validation.record_bytes import Unreadable, registry_frames

LARGEST_VALUE_BYTES = 16 * 1024 * 1024
"""What the service's own dead-letter topic takes. A larger value is not parsed."""


def event_in(key: bytes | None, value: bytes | None, headers: Headers) -> Mapping[str, Any]:
    """The document event that a record holds, as the service reads it. Empty if there is none.

    An event whose content type says something else is found too, for the person who corrects the record.
    """
    if value is None or len(value) > LARGEST_VALUE_BYTES:
        return {}
    with contextlib.suppress(NoEvent, Unreadable):
        fields = fields_of(key, value, headers)
        if isinstance(fields, dict) and "document_id" in fields:
            return fields
    return _in_any_form(value)


def _in_any_form(value: bytes) -> Mapping[str, Any]:
    event = _object(value)
    if "document_id" in event or "specversion" not in event:
        return event
    if isinstance(event.get("data"), dict):
        return dict(event["data"])
    return _object(_from_base64(event.get("data_base64")))


def document_id_of(event: Mapping[str, Any]) -> str:
    """The event's id. Empty if it has none."""
    document_id = event.get("document_id")
    return document_id if isinstance(document_id, str) else ""


def metadata_of(event: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """The event's metadata, as far as the contract allows it: one plain value for each name."""
    metadata = event.get("metadata")
    if not isinstance(metadata, dict):
        return {}
    return {name: value for name, value in metadata.items() if is_scalar(value)}


def _object(value: bytes | None) -> Mapping[str, Any]:
    if not value or len(value) > LARGEST_VALUE_BYTES:
        return {}
    for data in (value, *(frame.data for frame in registry_frames(value))):
        try:
            found = json_value(data)
        except ValueError:
            continue
        return found if isinstance(found, dict) else {}
    return {}


def _from_base64(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text)
    except ValueError:
        return None

"""The forms of a document event: plain JSON, text/plain, and CloudEvents 1.0 in both modes of the Kafka binding. Pure.

Other bytes are named for what they are: another charset, a compressed value, a registry's frame.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from docsluice.messages import Headers
from docsluice.validation.event_problems import NAMED_TWICE, NoEvent, shown_name
from docsluice.validation.record_bytes import Unreadable, in_utf8, json_of, text_of, twice_in, without_mark

_STRUCTURED = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_TEXT = "text/plain"
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^;"'\s]{1,40})""")
_VERSION = re.compile(r"[0-9.]{1,8}")
_BASE64 = "data_base64"
_ENVELOPE = frozenset({"specversion", "data", _BASE64, "datacontenttype", "subject", "id"})
_SCHEMA = "__value_schema_id"
_OF_A_REGISTRY = (
    f"the value has a schema in a registry, as its header {_SCHEMA} says, and is not JSON: it is Avro, Protobuf or"
    " damaged; set DOCSLUICE_SCHEMA_REGISTRY_URL, or have the producer write JSON"
)
_ATTRIBUTES = frozenset({"specversion", "id", "source", "type"})
"""Those that every CloudEvent has."""

Format: TypeAlias = Literal["json", "text"]


@dataclass(frozen=True, slots=True)
class Content:
    """What a record holds: the fields of its JSON, or its text under the names that an event's fields have."""

    fields: Any
    text: str | None = None
    """The text of a record that is one. None of JSON."""
    unnamed: NoEvent | Unreadable | None = None
    """Why a text has no document_id, if it has none."""


def fields_of(key: bytes | None, value: bytes, headers: Headers) -> Any:
    """The fields of the event that a record holds. They may still be no valid event.

    Raises:
        NoEvent: there are none.
        Unreadable: the bytes are neither text nor JSON.
    """
    return event_fields(content_of(key, value, headers))


def event_fields(content: Content) -> Any:
    """The fields of a content that is an event as it is.

    Raises:
        NoEvent: it is a text without a name.
        Unreadable: it is a text whose name cannot be read.
    """
    if content.unnamed is not None:
        raise content.unnamed
    return content.fields


def content_of(
    key: bytes | None, value: bytes, headers: Headers, *, form: Format | None = None, charset: str | None = None
) -> Content:
    """What a record holds. Without a `form` and a `charset`, its content type tells them.

    Raises:
        NoEvent: it is a CloudEvent without data, or several.
        Unreadable: the bytes are neither text nor JSON.
    """
    # Spring writes the data's type as an attribute, and its value as JSON, in quotes.
    said = _header(headers, "content-type") or _header(headers, "ce_datacontenttype")
    content_type = said.strip('"').lower()
    found = _CHARSET.search(content_type)
    said_charset = found[1] if found else ""
    if charset is not None:
        value, said_charset = in_utf8(value, charset), ""
    if form == "text" or (form is None and content_type.startswith(_TEXT)):
        return _named(text_of(value, charset=said_charset), key, headers)
    if content_type.startswith(_STRUCTURED):
        _check_format(content_type)
        return _data_in(json_of(value, charset=said_charset))
    try:
        fields = json_of(value, charset=said_charset)
    except Unreadable as error:
        if any(name == _SCHEMA for name, _ in headers):
            raise Unreadable(_OF_A_REGISTRY) from error
        raise
    return content_in(fields)


def content_in(fields: Any) -> Content:
    """What plain JSON holds. The envelope of a CloudEvent is opened.

    Raises:
        NoEvent: it is a CloudEvent without data.
        Unreadable: its data are neither text nor JSON.
    """
    return _data_in(fields) if _is_envelope(fields) else Content(fields)


def _check_format(content_type: str) -> None:
    """Refuse structured CloudEvents that are not one event in JSON."""
    media = content_type.partition(";")[0].strip()
    if media.startswith(_BATCH):
        raise NoEvent("the value is a batch of CloudEvents: send each event as a record of its own")
    form = media.removeprefix(_STRUCTURED)
    if form.startswith("+") and form != "+json":
        raise Unreadable(
            f"the value is a CloudEvent in {shown_name(form[1:])}: have the producer write {_STRUCTURED}+json"
        )


def _is_envelope(fields: Any) -> bool:
    """Whether fields are a structured CloudEvent whose content type was not said, as gateways and Connect leave it."""
    return isinstance(fields, dict) and fields.keys() >= _ATTRIBUTES and "document_id" not in fields


def _data_in(envelope: Any) -> Content:
    """What a CloudEvents envelope holds: its `data`. `subject`, if given, names a text."""
    if (name := twice_in(envelope, _ENVELOPE)) is not None:
        raise NoEvent(f"{name}: {NAMED_TWICE}")
    if isinstance(envelope, list):
        raise NoEvent("a list is no structured CloudEvent with specversion 1.0: send each event as a record of its own")
    version = envelope.get("specversion") if isinstance(envelope, dict) else None
    if version != "1.0":
        said = f", not {version}" if isinstance(version, str) and _VERSION.fullmatch(version) else ""
        raise NoEvent(f"a structured CloudEvent must be a JSON object with specversion 1.0{said}")
    if _BASE64 in envelope:
        try:
            data = base64.b64decode(envelope[_BASE64], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise Unreadable(f"{_BASE64} is not base64: {error}") from error
    elif "data" not in envelope:
        raise NoEvent("the CloudEvent has no data")
    else:
        data = envelope["data"]
    data_type = str(envelope.get("datacontenttype", "application/json")).lower()
    if data_type.startswith(_TEXT):
        text = text_of(data, what=_BASE64) if isinstance(data, bytes) else without_mark(data)
        named = envelope.get("subject") or envelope.get("id")
        return Content({"document_id": named, "text": text}, text if isinstance(text, str) else None)
    return Content(json_of(data, what=_BASE64) if isinstance(data, bytes) else data)


def _named(text: str, key: bytes | None, headers: Headers) -> Content:
    """A text by the name of its record: the key, or that of its CloudEvent."""
    try:
        name = text_of(key, what="the key") if key else _header(headers, "ce_subject") or _header(headers, "ce_id")
    except Unreadable as unnamed:
        return Content({"text": text}, text, unnamed)
    if not name:
        why = NoEvent("a text/plain record needs a key, which becomes its document_id")
        return Content({"text": text}, text, why)
    return Content({"document_id": name, "text": text}, text)


def _header(headers: Headers, name: str) -> str:
    """The last header of a name, ignoring case. Empty if absent."""
    found = ""
    for candidate, value in headers:
        if candidate.lower() == name and value is not None:
            found = value.decode("utf-8", errors="replace")
    return found.strip()

"""What reading a PATH yields: documents ready to send, rows that cannot be sent, and notes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from docsluice.documents.entries import ReadOptions
from docsluice.messages import DocumentEvent
from docsluice.validation.event_problems import (
    NAMED_TWICE,
    NoEvent,
    NotUnicode,
    shown_name,
    valid_event,
    written,
)
from docsluice.validation.json_values import json_value
from docsluice.validation.record_bytes import json_object, twice_in
from docsluice.validation.signatures import kind_of_text

_EVENT_FIELDS = frozenset(DocumentEvent.model_fields)
_EXPORTED_FIELDS = frozenset({"kind", "place", "state", "headers"})
"""Fields that together mark a line of `dead-letters export`."""
_JSON_NAMES: dict[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row was read. `line` counts from 1. None means the file as a whole."""

    file: str
    line: int | None = None

    def __str__(self) -> str:
        return self.file if self.line is None else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a sending has come: the number of the source, and the position of an entry in it."""

    source: int = 0
    entry: int = 0


BEGINNING = Position()


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A valid event: `value` is its JSON as it goes to the topic. `input_bytes` is what was read to get it.

    `row` is the row of a table that it was in, as it was read. It is empty unless the options keep rows.
    """

    place: Place
    document_id: str
    value: bytes
    input_bytes: int = 0
    position: Position = BEGINNING
    row: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> bytes:
        """The record's key: records of one document stay in order."""
        return self.document_id.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """A row that cannot be sent, and why. `problem` never holds the row's text."""

    place: Place
    problem: str
    input_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that the sender should know, though it does not prevent sending."""

    place: Place
    text: str


Row: TypeAlias = Document | BadRow | Note


class Unfit(ValueError):
    """The row's fields are no document. The message says why."""


def event_fields(row: Mapping[str, Any], options: ReadOptions) -> tuple[dict[str, Any], list[str]]:
    """Pick the event out of a row. The second value names the columns that fit nowhere.

    A row that already is an event is taken as it is. Otherwise, columns beside id and text become metadata if they hold
    one plain value (a null counts as absent). A `metadata` object is kept and added to. The error fields of an exported
    dead letter are left out. Of the metadata, only the fields that the options name are taken.

    Raises:
        Unfit: id or text is missing or of the wrong kind.
    """
    id_field, text_field = options.id_field, options.text_field
    if row.keys() >= _EXPORTED_FIELDS and row["kind"] == "dead_letter":
        row = {name: row[name] for name in row if name in {*_EVENT_FIELDS, id_field, text_field}}
    if _is_event(row):
        return {**row, "metadata": options.chosen(row.get("metadata", {}))}, []
    document_id = row.get(id_field)
    if isinstance(document_id, int) and not isinstance(document_id, bool):
        document_id = str(document_id)  # numeric ids of a database
    fields: dict[str, Any] = {
        "document_id": _required(id_field, document_id),
        "text": _required(text_field, row.get(text_field)),
    }
    metadata: dict[str, Any] = {}
    left_out = []
    for name, value in row.items():
        if name in (id_field, text_field) or value is None:
            continue
        if isinstance(value, str | int | float | bool):
            metadata[name] = value
        elif name == "metadata" and isinstance(value, dict):
            metadata |= value
        else:
            left_out.append(name)
    return {**fields, "metadata": options.chosen(metadata)}, list(options.chosen(dict.fromkeys(left_out)))


def document(place: Place, fields: Mapping[str, Any], *, input_bytes: int, position: Position = BEGINNING) -> Document:
    """Check the fields against the contract and write the event down as JSON.

    Raises:
        Unfit: the contract does not allow them, each problem named.
    """
    try:
        event = valid_event(dict(fields))
        value = written(event)
    except NoEvent as problem:
        raise Unfit(str(problem)) from None
    except NotUnicode as error:
        raise Unfit("holds text that is not valid Unicode (half of a surrogate pair)") from error
    return Document(place=place, document_id=event.document_id, value=value, input_bytes=input_bytes, position=position)


def parse_json(line: str) -> dict[str, Any]:
    """One line of JSON as an object.

    Raises:
        Unfit: it is not JSON, or not an object.
    """
    value = parse_json_value(line)
    if isinstance(value, list):
        raise Unfit("must be a JSON object, not a list; a file that holds one list is named .json")
    return an_object(value)


def parse_json_value(text: str) -> Any:
    """JSON, whatever it holds.

    Raises:
        Unfit: it is not JSON.
    """
    try:
        return json_value(text, parse_constant=no_constant, object_pairs_hook=json_object)
    except ValueError as error:
        if kind := kind_of_text(text, error):
            raise Unfit(f"not JSON: it is {kind}") from error
        position = f" at character {error.pos + 1}" if isinstance(error, json.JSONDecodeError) else ""
        raise Unfit(f"not JSON: {getattr(error, 'msg', error)}{position}") from error


def an_object(row: Any) -> dict[str, Any]:
    """The same row, which is an object with each name once.

    Raises:
        Unfit: it is something else.
    """
    if not isinstance(row, dict):
        raise Unfit(f"must be a JSON object, not {json_name(row)}")
    for where, fields in (("", row), ("metadata.", row.get("metadata"))):
        if (name := twice_in(fields)) is not None:
            raise Unfit(f"{where}{shown_name(name)}: {NAMED_TWICE}")
    return row


def json_name(value: object) -> str:
    """What a person calls this kind of JSON value."""
    return _JSON_NAMES.get(type(value), type(value).__name__)


def _required(name: str, value: object) -> str:
    if value is None:
        raise Unfit(f"no {name!r}")
    if not isinstance(value, str):
        raise Unfit(f"{name!r} must be a string, not {json_name(value)}")
    if not value.strip():
        raise Unfit(f"{name!r} is blank")
    return value


def _is_event(row: Mapping[str, Any]) -> bool:
    return (
        row.keys() <= _EVENT_FIELDS
        and {"document_id", "text"} <= row.keys()
        and not {"metadata", "schema_version"}.isdisjoint(row.keys())
        and isinstance(row.get("metadata", {}), dict)
        and isinstance(row.get("schema_version", 1), int)
    )


def no_constant(name: str) -> None:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is no JSON value")

"""Bytes to `DocumentEvent`: plain JSON, text/plain, and CloudEvents 1.0 in both modes of the Kafka binding.

Other bytes are named for what they are: another charset, a compressed value, a registry's frame.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import contextlib
import json
import re
import sys
from collections.abc import Collection
from typing import Any, NamedTuple

from docsluice.kafka.flaw import Flaw
from docsluice.messages import DeadLetterReason, DocumentEvent, Headers, Stage
from docsluice.validation.byte_formats import RegistryFrame, format_of, registry_frames, wide_encoding
from docsluice.validation.event_problems import NoEvent, NotUnicode, shown_name, valid_event, written
from docsluice.validation.json_values import json_value
from docsluice_consumer.errors import RecordRejected

_STRUCTURED = "application/cloudevents"
_TEXT = "text/plain"
_CHARSET = re.compile(r"""charset\s*=\s*["']?([^;"'\s]{1,40})""")
_KNOWN_CHARSET = re.compile(
    r"(x-)?(utf-?(16|32)([-_]?[lb]e)?|utf-?7|iso[-_]?8859[-_]\d+|iso-2022-\w+|latin-?\d+|windows-?\d+|cp-?\d+"
    r"|shift[-_]?jis|euc[-_]\w+|gb\w+|big5\w*|koi8-\w|hz)"
)
_VALUE = "the value"
MAX_DOCUMENT_BYTES = 8 * 1024 * 1024
"""The default: about what a context of two million tokens holds, at four bytes a token."""
_WITHOUT_REGISTRY = (
    "{what} has a schema registry's frame, schema id {schema}, not JSON: what follows is Avro, Protobuf or damaged, and"
    " cannot be read without the registry; have the producer write JSON, framed or plain"
)
_ENVELOPE = frozenset({"specversion", "data", "data_base64", "datacontenttype", "subject", "id"})
_WRITE_UTF8 = "have the producer write UTF-8"


class ReadEvent(NamedTuple):
    """An event, and the names of its unknown fields."""

    event: DocumentEvent
    unknown_fields: tuple[str, ...] = ()


def whole_value(value: bytes | None, flaw: Flaw | None, *, most_bytes: int) -> bytes:
    """Return a record's value, if it can be worked on.

    Raises:
        RecordRejected: it has a flaw, or is larger than a document may be.
    """
    if flaw is not None and not flaw.is_too_large:
        raise _undecodable(flaw.problem)
    size = flaw.value_bytes if flaw is not None else len(value or b"")
    if flaw is not None or size is None or size > most_bytes:
        allowed = f"DOCSLUICE_MAX_DOCUMENT_BYTES allows {most_bytes:,}"
        said = f"the value has {size or 0:,} bytes" if flaw is None else flaw.problem
        raise RecordRejected(DeadLetterReason.TOO_LARGE, f"{said}; {allowed}", stage=Stage.DECODE)
    return value or b""


def decode(*, key: bytes | None, value: bytes, headers: Headers) -> DocumentEvent:
    """See `read_record`. The event alone."""
    return read_record(key=key, value=value, headers=headers).event


def read_record(*, key: bytes | None, value: bytes, headers: Headers) -> ReadEvent:
    """Read one record.

    Raises:
        RecordRejected: `undecodable` when the bytes cannot be read at all, `invalid_event` when they can but are no
            document event.
    """
    content_type = _header(headers, "content-type").lower()
    found = _CHARSET.search(content_type)
    charset = found[1] if found else ""
    if content_type.startswith(_STRUCTURED):
        return _structured(_json(value, charset=charset))
    if content_type.startswith(_TEXT):
        return _event({"document_id": _text_id(key, headers), "text": _text(value, charset=charset)})
    return _event(_json(value, charset=charset))


def _structured(envelope: Any) -> ReadEvent:
    """Read a CloudEvents envelope: the event is its `data`. `subject`, if given, names the document."""
    _refuse_ambiguous(envelope, _ENVELOPE)
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        raise _invalid("a structured CloudEvent must be a JSON object with specversion 1.0")
    if "data_base64" in envelope:
        try:
            data = base64.b64decode(envelope["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise _undecodable(f"data_base64 is not base64: {error}") from error
    elif "data" not in envelope:
        raise _invalid("the CloudEvent has no data")
    else:
        data = envelope["data"]
    data_type = str(envelope.get("datacontenttype", "application/json")).lower()
    if data_type.startswith(_TEXT):
        text = _text(data, what="data_base64") if isinstance(data, bytes) else _without_mark(data)
        return _event({"document_id": envelope.get("subject") or envelope.get("id"), "text": text})
    return _event(_json(data, what="data_base64") if isinstance(data, bytes) else data)


def _text_id(key: bytes | None, headers: Headers) -> str:
    if key:
        return _text(key, what="the key")
    named = _header(headers, "ce_subject") or _header(headers, "ce_id")
    if not named:
        raise _invalid("a text/plain record needs a key, which becomes its document_id")
    return named


def _header(headers: Headers, name: str) -> str:
    """The last header of a name, ignoring case. Empty if absent."""
    found = ""
    for candidate, value in headers:
        if candidate.lower() == name and value is not None:
            found = value.decode("utf-8", errors="replace")
    return found.strip()


def _without_mark(data: Any) -> Any:
    return data.removeprefix("\ufeff") if isinstance(data, str) else data


def _text(data: bytes, *, what: str = _VALUE, charset: str = "") -> str:
    """Decode UTF-8, without a byte order mark. Anything else is named in the error."""
    data = data.removeprefix(codecs.BOM_UTF8)
    if (wide := wide_encoding(data)) and not format_of(data):
        raise _undecodable(f"{what} is in {wide}, not in UTF-8: {_WRITE_UTF8}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if named := format_of(data):
            raise _undecodable(_compressed(what, named)) from error
        said = f", and the content-type says charset={charset}" if _is_other(charset) else ""
        raise _undecodable(f"{what} is not valid UTF-8 at byte {error.start}{said}: {_WRITE_UTF8}") from error
    if _reads_otherwise(data, text, charset):
        raise _undecodable(f"{what} is in {charset}, as the content-type says, not in UTF-8: {_WRITE_UTF8}")
    return text


def _is_other(charset: str) -> bool:
    """Whether a charset that is not UTF-8 was named. What is ASCII in name is UTF-8, too."""
    return charset not in {"", "utf-8", "utf8", "us-ascii", "ascii"} and charset.isprintable()


def _reads_otherwise(data: bytes, text: str, charset: str) -> bool:
    """Whether valid UTF-8 bytes mean something else in the named charset.

    A one-byte charset is often named wrongly, so it is ignored for valid UTF-8.
    """
    if not _is_other(charset) or not _KNOWN_CHARSET.fullmatch(charset):
        return False
    try:
        said = data.decode(charset)
    except (LookupError, ValueError):
        return False
    return said != text and (text.isascii() or charset.startswith(("utf-16", "utf-32", "utf16", "utf32")))


def _json(data: bytes, *, what: str = _VALUE, charset: str = "") -> Any:
    if not data.removeprefix(codecs.BOM_UTF8).strip():
        raise _undecodable(f"{what} is empty: it holds no document, and it is no tombstone, whose value is null")
    if frames := registry_frames(data):
        framed = _framed(frames)
        if framed is not None:
            return framed
        if not wide_encoding(data):
            raise _undecodable(_WITHOUT_REGISTRY.format(what=what, schema=frames[0].schema))
    text = _text(data, what=what, charset=charset)
    try:
        return _parsed(text)
    except ValueError as error:
        named = format_of(data)
        # The decoder's message holds a position and never the text itself.
        raise _undecodable(_compressed(what, named) if named else f"{what} is not JSON: {error}") from error


def _framed(frames: list[RegistryFrame]) -> Any | None:
    """The JSON behind the frame of a schema registry, if there is any."""
    for frame in frames:
        with contextlib.suppress(ValueError):
            return _parsed(frame.data.decode("utf-8-sig"))
    return None


def _parsed(text: str) -> Any:
    """JSON as Python's values.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json_value(text, object_pairs_hook=_object)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # Python's own limit: longer numbers take quadratic time
        if isinstance(error.__cause__, RecursionError):
            raise
        raise ValueError(f"a number in it has more than {sys.get_int_max_str_digits():,} digits") from error


class _Ambiguous(dict[str, Any]):
    """An object in which names come twice. Readers take the first, or the last, or refuse it."""

    twice: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    ambiguous, seen, twice = _Ambiguous(found), set[str](), set[str]()
    for name, _ in pairs:
        (twice if name in seen else seen).add(name)
    ambiguous.twice = frozenset(twice)
    return ambiguous


def _refuse_ambiguous(fields: Any, names: Collection[str] | None = None, *, where: str = "") -> None:
    """Raise if one of the names (None: any) comes twice. In fields that are not read it does not matter."""
    if not isinstance(fields, _Ambiguous):
        return
    meant = sorted(name for name in fields.twice if names is None or name in names)
    if meant:
        raise _invalid(f"{where}{shown_name(meant[0])}: is there more than once, and only one can be meant")


def _compressed(what: str, named: str) -> str:
    hint = "; Kafka's own compression.type is undone by itself" if named.startswith("compressed") else ""
    return f"{what} is {named}: have the producer write the plain JSON or text{hint}"


def _event(fields: Any) -> ReadEvent:
    _refuse_ambiguous(fields, DocumentEvent.model_fields)
    if isinstance(fields, dict):
        _refuse_ambiguous(fields.get("metadata"), where="metadata.")
    try:
        event = valid_event(fields)
        written(event)  # half a surrogate pair passes as text, but could never be sent anywhere
    except NoEvent as problem:
        raise _invalid(str(problem)) from None
    except NotUnicode as error:
        raise _undecodable(str(error)) from error
    return ReadEvent(event, tuple(name for name in fields if name not in DocumentEvent.model_fields))


def _undecodable(message: str) -> RecordRejected:
    return RecordRejected(DeadLetterReason.UNDECODABLE, message, stage=Stage.DECODE)


def _invalid(message: str) -> RecordRejected:
    return RecordRejected(DeadLetterReason.INVALID_EVENT, message, stage=Stage.DECODE)

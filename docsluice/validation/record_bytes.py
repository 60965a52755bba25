"""What the bytes of a record hold: text, or JSON. Bytes that hold neither are named for what they are. Pure.

That may be another charset, a compressed value, a file, or a schema registry's frame.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import re
import sys
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from docsluice.validation.json_values import json_value
from docsluice.validation.signatures import format_of, kind_of_text

VALUE = "the value"
_KNOWN_CHARSET = re.compile(
    r"(x-)?(utf-?(16|32)([-_]?[lb]e)?|utf-?7|iso[-_]?8859[-_]\d+|iso-2022-\w+|latin-?\d+|windows-?\d+|cp-?\d+"
    r"|shift[-_]?jis|euc[-_]\w+|gb\w+|big5\w*|koi8-\w|hz)"
)
_WITHOUT_REGISTRY = (
    "{what} has a schema registry's frame, schema id {schema}, not JSON: what follows is Avro, Protobuf or damaged, and"
    " cannot be read without the registry; set DOCSLUICE_SCHEMA_REGISTRY_URL, or have the producer write JSON"
)
_WRITE_UTF8 = "have the producer write UTF-8"
_PLAIN_TEXT = "text, which needs the header content-type: text/plain"
_JSON_STARTS = frozenset('{["')
_MARKS_OF_UTF8 = re.compile(b"(?:\xef\xbb\xbf)+")
_SAMPLE_BYTES = 256
_LEAST_UNITS = 2

_MARKS = (  # the longer first: a mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "UTF-32LE"),
    (codecs.BOM_UTF32_BE, "UTF-32BE"),
    (codecs.BOM_UTF16_LE, "UTF-16LE"),
    (codecs.BOM_UTF16_BE, "UTF-16BE"),
)


class Unreadable(ValueError):
    """Bytes that are neither text nor JSON. The message says what they are, and never quotes them."""


class Ambiguous(dict[str, Any]):
    """An object in which names come twice. Readers take the first, or the last, or refuse it."""

    twice: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class RegistryFrame:
    """What a serializer of a schema registry writes before the data itself."""

    schema: str
    """The schema's id, as the registry names it."""
    data: bytes


def json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object with these names and values. It knows which names come twice."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    ambiguous, seen, twice = Ambiguous(found), set[str](), set[str]()
    for name, _ in pairs:
        (twice if name in seen else seen).add(name)
    ambiguous.twice = frozenset(twice)
    return ambiguous


def twice_in(fields: Any, names: Collection[str] | None = None) -> str | None:
    """The first of the names (None: any) that comes twice. None if there is none."""
    if not isinstance(fields, Ambiguous):
        return None
    return min((name for name in fields.twice if names is None or name in names), default=None)


def without_mark(data: Any) -> Any:
    """A string without a byte order mark. Anything else as it is."""
    return data.lstrip("\ufeff") if isinstance(data, str) else data


def unmarked(data: bytes) -> bytes:
    """Bytes without the byte order mark of UTF-8. Programs that each add one leave several."""
    marks = _MARKS_OF_UTF8.match(data)
    return data[marks.end() :] if marks else data


def text_of(data: bytes, *, what: str = VALUE, charset: str = "") -> str:
    """UTF-8 as text, without a byte order mark. `charset` is what the content type says, if anything.

    Raises:
        Unreadable: it is something else.
    """
    data = unmarked(data)
    if (wide := wide_encoding(data)) and not format_of(data):
        raise Unreadable(f"{what} is in {wide}, not in UTF-8: {_WRITE_UTF8}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        if named := format_of(data):
            raise Unreadable(_compressed(what, named)) from error
        said = f", and the content-type says charset={charset}" if _is_other(charset) else ""
        raise Unreadable(f"{what} is not valid UTF-8 at byte {error.start}{said}: {_WRITE_UTF8}") from error
    if _reads_otherwise(data, text, charset):
        raise Unreadable(f"{what} is in {charset}, as the content-type says, not in UTF-8: {_WRITE_UTF8}")
    return text


def in_utf8(data: bytes, charset: str, *, what: str = VALUE) -> bytes:
    """The bytes of another charset, which was told and is believed.

    Raises:
        Unreadable: they are something else.
    """
    try:
        return codecs.decode(data, charset).encode()
    except UnicodeError as error:
        raise Unreadable(f"{what} is not valid {charset}, the charset that the pipeline file names") from error


def json_of(data: bytes, *, what: str = VALUE, charset: str = "") -> Any:
    """The value that is written as JSON, plain or in a registry's frame. See `text_of`.

    Raises:
        Unreadable: it is something else.
    """
    if not unmarked(data).strip():
        raise Unreadable(f"{what} is empty: it holds no document, and it is no tombstone, whose value is null")
    if frames := registry_frames(data):
        framed = _framed(frames)
        if framed is not None:
            return framed
        if not wide_encoding(data):
            raise Unreadable(_WITHOUT_REGISTRY.format(what=what, schema=frames[0].schema))
    text = text_of(data, what=what, charset=charset)
    try:
        return _parsed(text)
    except ValueError as error:
        if named := format_of(data):
            raise Unreadable(_compressed(what, named)) from error
        # The decoder's message holds a position and never the text itself.
        kind = kind_of_text(text, error) or (None if text.lstrip()[:1] in _JSON_STARTS else _PLAIN_TEXT)
        raise Unreadable(f"{what} is not JSON: {f'it is {kind}' if kind else error}") from error


def wide_encoding(data: bytes) -> str | None:
    """The UTF-16 or UTF-32 that the bytes are in, by their mark or by their zeros. None when they are in neither.

    The names are those that Python's codecs know. Without a mark, texts are found that are mostly ASCII.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            return name
    sample = data[:_SAMPLE_BYTES]
    if 0 not in sample:
        return None
    for name, width, place in (("UTF-32LE", 4, 0), ("UTF-32BE", 4, 3), ("UTF-16LE", 2, 0), ("UTF-16BE", 2, 1)):
        units = [sample[at : at + width] for at in range(0, len(sample) - width + 1, width)]
        narrow = sum(unit[place] != 0 and unit.count(0) == width - 1 for unit in units)
        if len(units) >= _LEAST_UNITS and 2 * narrow > len(units) and bytes(width) not in units:
            return name
    return None


def registry_frames(data: bytes) -> list[RegistryFrame]:
    """The frames that the bytes may begin with, the likeliest first. None where they begin with no frame.

    Confluent's is a zero byte and an id of four bytes. Apicurio's may have eight. AWS Glue's begins with a three, says
    in the second byte whether the data are compressed, and has an id of sixteen bytes.
    """
    if data[:1] == b"\x00":
        return [RegistryFrame(str(int.from_bytes(data[1:end], "big")), data[end:]) for end in (5, 9) if len(data) > end]
    if data[:2] in {b"\x03\x00", b"\x03\x05"} and len(data) > 18:  # noqa: PLR2004 - two and sixteen bytes
        return [RegistryFrame(data[2:18].hex(), data[18:])]
    return []


def is_charset(name: str) -> bool:
    """Whether a name is that of a charset which is read in linear time."""
    try:
        codecs.lookup(name)
    except (LookupError, ValueError):
        return False
    return not _is_other(name.lower()) or _KNOWN_CHARSET.fullmatch(name.lower()) is not None


def _is_other(charset: str) -> bool:
    """Whether a charset other than UTF-8 was named. A text in ASCII is in UTF-8, too."""
    return charset not in {"", "utf-8", "utf8", "us-ascii", "ascii"} and charset.isprintable()


def _reads_otherwise(data: bytes, text: str, charset: str) -> bool:
    """Whether the bytes mean something else in the charset that was named, though they are valid UTF-8.

    A charset of one byte a character is often named wrongly. If the characters are valid UTF-8, it is not believed.
    """
    if not _is_other(charset) or not _KNOWN_CHARSET.fullmatch(charset):
        return False
    try:
        said = data.decode(charset)
    except (LookupError, ValueError):
        return False
    return said != text and (text.isascii() or charset.startswith(("utf-16", "utf-32", "utf16", "utf32")))


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
        return json_value(text, object_pairs_hook=json_object)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # Python's own limit: longer ones take quadratic time
        if isinstance(error.__cause__, RecursionError):
            raise
        raise ValueError(f"a number in it has more than {sys.get_int_max_str_digits():,} digits") from error


def _compressed(what: str, named: str) -> str:
    hint = "; Kafka's own compression.type is undone by itself" if named.startswith("compressed") else ""
    return f"{what} is {named}: have the producer write the plain JSON or text{hint}"

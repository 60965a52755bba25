"""Formats that are known by how they begin: compressed values, files, and what was encoded as text again. Pure."""

from __future__ import annotations

import base64
import json
import re

_SIGNATURES = (
    (b"\x1f\x8b", "compressed with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\x82SNAPPY\x00", "compressed with snappy"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed with snappy"),
    (b"BZh", "compressed with bzip2"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"\x78\x01", "compressed with zlib"),
    (b"\x78\x9c", "compressed with zlib"),
    (b"\x78\xda", "compressed with zlib"),
    (b"PK\x03\x04", "a ZIP archive, as .docx and .xlsx files are"),
    (b"%PDF-", "a PDF"),
    (b"Obj\x01", "an Avro file"),
    (b"\xc3\x01", "Avro's single-object encoding"),
    (b"PAR1", "a Parquet file"),
    (b"\xac\xed\x00\x05", "a serialized Java object"),
    (b"\xd0\xcf\x11\xe0", "an old Office file, as .doc and .xls are"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"SQLite format 3\x00", "an SQLite database"),
)
_BASE64 = re.compile(r"\s*[A-Za-z0-9+/_-]{16,}={0,2}\s*")
_BASE64_SAMPLE = 64
"""Characters, a multiple of four. Enough for the longest signature."""


def format_of(data: bytes) -> str | None:
    """What a file that begins so is, as the end of "it is …". None when nothing known begins so."""
    return next((words for signature, words in _SIGNATURES if data.startswith(signature)), None)


def kind_of_text(text: str, error: ValueError) -> str | None:
    """What a text is that is no JSON, as the end of "it is …". None when it is nothing known.

    `error` is what the JSON decoder said of it.
    """
    start = text.lstrip(" \t\r\n")[:1]
    if start == "<":
        return "XML or HTML"
    if packed := base64_of(text):
        return f"base64 of {packed}"
    rest = _after_json(text, error)
    if start == "\x1e" or rest in {"{", "["}:
        return "a sequence of JSON values, not one"
    return {"\x00": "followed by zero bytes, as C ends its strings", ",": "followed by a comma"}.get(rest)


def base64_of(text: str) -> str | None:
    """What a text in base64 holds. None if it is no base64, or of nothing known."""
    if not _BASE64.fullmatch(text):
        return None
    sample = text.strip().rstrip("=")[:_BASE64_SAMPLE].replace("-", "+").replace("_", "/")
    data = base64.b64decode(sample[: len(sample) // 4 * 4])
    if data.lstrip()[:1] in {b"{", b"["}:
        return "JSON"
    named = format_of(data)
    return f"a value {named}" if named and named.startswith("compressed") else named


def _after_json(text: str, error: ValueError) -> str:
    """The character after a whole JSON value. Empty if the text begins with none."""
    if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
        return text[error.pos]
    return ""

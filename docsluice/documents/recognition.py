"""Names files without documents in the expected form, by their beginning. Pure."""

import codecs
import json
from collections.abc import Mapping
from typing import Any

from docsluice.validation.record_bytes import unmarked
from docsluice.validation.signatures import format_of

START_BYTES = 64 * 1024
"""The most bytes of a file that are looked at."""
_BATCH_REQUEST = frozenset({"custom_id", "body"})
_BATCH_ANSWER = frozenset({"custom_id", "response"})
_WANTED = "wanted is a line for each document, with its id and its text"


def no_text(start: bytes) -> str | None:
    """What a file is that is no text, by its first bytes. None if it may be text."""
    data = unmarked(start)
    if (named := format_of(data)) and not _is_utf8(data):
        remedy = "unpack it first" if named.startswith("compressed") else "a suffix of its own tells how to read it"
        return f"it is {named}: {remedy}"
    return None


def no_ends(start: bytes) -> str | None:
    """Why a file seems to be one line, if its lines end as no reader here knows. None if not."""
    if b"\n" in start or b"\r" not in start.strip():
        return None
    return "its lines end in a carriage return alone, as old Macintosh programs write: tr '\\r' '\\n' converts it"


def no_lines(start: bytes) -> str | None:
    """What a file is whose JSON spans several lines. None if it may be JSON Lines."""
    found = [line for line in unmarked(start).splitlines() if line.strip()]
    first = found[0].strip() if found else b""
    if len(found) < 2 or first[:1] not in {b"[", b"{"} or not _is_cut(first) or _is_json(found[1]):  # noqa: PLR2004
        return None
    kind = "one JSON list" if first.startswith(b"[") else "JSON"
    return f"it is {kind} over several lines, not a JSON object in each line: name it .json, or jq -c writes such lines"


def no_documents(row: Mapping[str, Any]) -> str | None:
    """What a file is, by its first object, if the form is well known. None if it may be a document."""
    if row.keys() >= _BATCH_REQUEST:
        return f"it is an OpenAI batch file (requests with custom_id and body), no documents; {_WANTED}"
    if row.keys() >= _BATCH_ANSWER:
        return f"it is the output of an OpenAI batch (answers with custom_id and response), no documents; {_WANTED}"
    if isinstance(row.get("messages"), list) and row.keys() <= {"messages", "tools", "parallel_tool_calls"}:
        return f"it is a fine-tuning file (lines of chat messages), no documents; {_WANTED}"
    return None


def _is_utf8(start: bytes) -> bool:
    """Whether the beginning is UTF-8. The last character may be cut."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return False
    return b"\x00" not in start


def _is_cut(line: bytes) -> bool:
    """Whether a line is the beginning of valid JSON."""
    try:
        text = line.decode()
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos >= len(text)
    except (ValueError, RecursionError):
        return False
    return False


def _is_json(line: bytes) -> bool:
    """Whether a line is a JSON object of its own."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False

"""JSON as Python's values, without the garbage collections that a large one causes. Pure."""

from __future__ import annotations

import functools
import gc
import json
from typing import Any, Final

NO_JSON: Final = object()
"""Stands for the value of what is no JSON, since null is a value."""
_LARGE = 16 * 1024
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def json_value(written: str | bytes, **how: Any) -> Any:
    """As `json.loads`, and JSON that is nested too deep is refused, too.

    Each new list counts towards a collection, which looks at all earlier lists. Two megabytes of `[]` take a second
    with collections, and a tenth of it without. JSON has no cycles for them to find.

    Raises:
        ValueError: it is not JSON.
    """
    if len(written) <= _LARGE or not gc.isenabled():
        return _loaded(written, how)
    gc.disable()
    try:
        return _loaded(written, how)
    finally:
        gc.enable()


def compact_json(value: Any) -> str:
    """A value as JSON without blanks."""
    return _COMPACT.encode(value)


def _loaded(written: str | bytes, how: dict[str, Any]) -> Any:
    try:
        if not how:
            return json.loads(written)
        text = written if isinstance(written, str) else written.decode(json.detect_encoding(written), "surrogatepass")
        return _decoder(**how).decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply to read") from error


@functools.lru_cache
def _decoder(**how: Any) -> json.JSONDecoder:
    """`json.loads` would make one for each value, which takes longer than to read a short one."""
    return json.JSONDecoder(**how)

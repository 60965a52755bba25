"""When a provider wants the next call: in a header, in a field of the body, or in its words."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from docsluice_consumer.llm.error_body import ProviderError
from docsluice_consumer.llm.rate_limit_headers import duration_seconds

LONGEST_SECONDS = 3600.0
_UNIT = r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|d)"
_IN_WORDS = re.compile(
    r"(?:try again|retry|retrying|wait|available again|resets?)\s+(?:after\s+|in\s+|for\s+)?(?:about\s+)?"
    rf"((?:\d+(?:\.\d+)?\s?{_UNIT}(?![a-z])[\s,]*|\d+(?:\.\d+)?{_UNIT}(?=\d))+)",
    re.IGNORECASE,
)
_SHORT_UNITS = (
    (re.compile(r"milliseconds?"), "ms"),
    (re.compile(r"(?:seconds?|secs?)"), "s"),
    (re.compile(r"(?:minutes?|mins?)"), "m"),
    (re.compile(r"hours?"), "h"),
)


def retry_after_seconds(
    headers: Mapping[str, str], *, now: datetime, error: ProviderError | None = None
) -> float | None:
    """Read `retry-after-ms`, `retry-after` in seconds or as an HTTP date, else what the body says, in seconds.

    An hour at most: a call an hour costs nothing, and obeying a nonsensical header could cost the day.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return _bounded(float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    try:
        moment = email.utils.parsedate_to_datetime(headers["retry-after"])
        return _bounded((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    except (KeyError, ValueError, OverflowError, TypeError):
        return _in_body(error) if error else None


def _in_body(error: ProviderError) -> float | None:
    for told in error.delays:
        seconds = duration_seconds(told)
        if seconds is not None:
            return _bounded(seconds)
    found = _IN_WORDS.search(error.words)
    if not found:
        return None
    text = "".join(found[1].lower().replace(",", " ").split())
    for long, short in _SHORT_UNITS:
        text = long.sub(short, text)
    seconds = duration_seconds(text)
    return None if seconds is None else _bounded(seconds)


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_SECONDS)

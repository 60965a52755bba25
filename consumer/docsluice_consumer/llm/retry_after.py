"""When a provider wants the next call: in a header, in a field of the body, or in its words."""

from __future__ import annotations

import email.utils
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from docsluice_consumer.llm.error_body import ProviderError
from docsluice_consumer.llm.rate_limit_headers import duration_seconds, seconds_until

LONGEST_SECONDS = 3600.0
_A_POINT_IN_TIME = 1e9
"""A larger number is a Unix time, in seconds or milliseconds."""
_UNIT = r"(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|h|d)"
_IN_WORDS = re.compile(
    r"(?:try again|retry|retrying|wait|available again|resets?)\s+(?:after\s+|in\s+|for\s+)?(?:about\s+)?"
    rf"((?:\d+(?:\.\d+)?\s?{_UNIT}(?![a-z])[\s,]*|\d+(?:\.\d+)?{_UNIT}(?=\d))+)",
    re.IGNORECASE,
)
_USED_UP = (
    ("x-ratelimit-remaining", "x-ratelimit-reset"),
    ("ratelimit-remaining", "ratelimit-reset"),
    ("x-rate-limit-remaining", "x-rate-limit-reset"),
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
    """Read `retry-after-ms`, `retry-after` in seconds or as an HTTP date, else the body, else when a limit is reset.

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
        in_body = _in_body(error, now=now.timestamp()) if error else None
        return _until_reset(headers, now=now.timestamp()) if in_body is None else in_body


def _until_reset(headers: Mapping[str, str], *, now: float) -> float | None:
    """When a limit of which nothing remains is whole again. None if that time has passed, because clocks differ."""
    resets = [headers.get(reset) for remaining, reset in _USED_UP if headers.get(remaining, "").strip() == "0"]
    known = [seconds for reset in resets if (seconds := seconds_until(reset, now))]
    return _bounded(max(known)) if known else None


def _in_body(error: ProviderError, *, now: float) -> float | None:
    for told in error.delays:
        seconds = duration_seconds(told)
        if seconds is not None and seconds >= _A_POINT_IN_TIME:
            seconds = seconds_until(told, now) or None
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

"""Reads a provider's limits from the headers of an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from docsluice.messages import Usage

_NAMES = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_SPELLINGS = (
    ("x-ratelimit-limit-{}", "x-ratelimit-remaining-{}", "x-ratelimit-reset-{}"),
    ("anthropic-ratelimit-{}-limit", "anthropic-ratelimit-{}-remaining", "anthropic-ratelimit-{}-reset"),
)
_OF_A_MINUTE = {
    "x-ratelimit-limit-requests-minute": "requests",
    "x-ratelimit-limit-req-minute": "requests",
    "x-ratelimit-limit-tokens-minute": "tokens",
}
"""Cerebras and Mistral name the period in the header, so these are believed as they are."""
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_DURATION = 32
_TOLERANCE = 0.25
"""Providers round the remaining amount down, and the reset time to milliseconds."""
_MOST_MODELS = 1000
_EPOCH_SECONDS, _EPOCH_MILLISECONDS = 1e9, 1e12
"""A larger number is a point in time, not a duration."""


class ReportedLimits:
    """Reads each model's limits a minute, and remembers which numbers turned out to be such limits.

    The header does not say the limit's period, and some providers send that of a day. But limit, remaining and reset
    together tell how fast it comes back. Only a limit that comes back in a minute is believed.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], float] = {}
        self._refuted: dict[tuple[str, str], float] = {}
        self._to_tell: list[tuple[str, float]] = []

    def read(
        self, headers: Mapping[str, str], *, model: str = "", now: float = 0.0, usage: Usage | None = None
    ) -> dict[str, float]:
        """The limits a minute by quota, as far as they are named and believed. `now` is the Unix time.

        `usage` is that of the call with these headers. A limit that this call alone exceeds is not believed.
        """
        said = self._said(headers, model=model, now=now)
        for name, used in _counted(usage).items():
            if name in said and used > said[name]:
                self._refute(model, name, said[name])
        return {name: limit for name, limit in said.items() if self._refuted.get((model, name)) != limit}

    def newly_refuted(self) -> list[tuple[str, float]]:
        """Quotas and limits that the last reading refuted for the first time, for the log."""
        told, self._to_tell = self._to_tell, []
        return told

    def _refute(self, model: str, name: str, limit: float) -> None:
        if (model, name) not in self._refuted:
            self._to_tell.append((name, limit))
        if len(self._refuted) >= _MOST_MODELS:
            self._refuted.clear()
        self._refuted[model, name] = limit

    def _said(self, headers: Mapping[str, str], *, model: str, now: float) -> dict[str, float]:
        said = {}
        for name, limit, remaining, reset in _told(headers):
            key = (model, name)
            if self._known.get(key) != limit and _is_of_a_minute(limit, remaining, seconds_until(reset, now)):
                self._know(key, limit)
            if self._known.get(key) == limit:
                said[name] = limit
        for header, name in _OF_A_MINUTE.items():
            limit_a_minute = _number(headers.get(header))
            if limit_a_minute is not None and limit_a_minute >= 1:
                said[name] = limit_a_minute
        return said

    def _know(self, key: tuple[str, str], limit: float) -> None:
        if len(self._known) >= _MOST_MODELS:
            self._known.clear()
        self._known[key] = limit


def _counted(usage: Usage | None) -> dict[str, int]:
    """The least that a call took from each quota. The answer's length was unknown when the call was admitted."""
    if usage is None:
        return {}
    read = usage.input_tokens - usage.cached_tokens
    return {"tokens": read, "input_tokens": read}


def duration_seconds(text: str | None) -> float | None:
    """`20ms`, `6m0s`, or plain seconds. None for anything else."""
    text = (text or "").strip().lower()
    if len(text) > _LONGEST_DURATION:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


def _told(headers: Mapping[str, str]) -> Iterator[tuple[str, float, float | None, str | None]]:
    for limits, remaining, reset in _SPELLINGS:
        for suffix, name in _NAMES.items():
            limit = _number(headers.get(limits.format(suffix)))
            if limit is not None and limit >= 1:
                left = _number(headers.get(remaining.format(suffix)))
                yield name, limit, left, headers.get(reset.format(suffix))


def seconds_until(reset: str | None, now: float) -> float | None:
    """Seconds until a limit is whole again, from a duration, a Unix time or a date."""
    seconds = duration_seconds(reset)
    if seconds is None:
        try:
            moment = datetime.fromisoformat((reset or "").strip()[:_LONGEST_DURATION])
            seconds = moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() - now
        except (ValueError, OverflowError):
            return None
    elif seconds >= _EPOCH_MILLISECONDS:
        seconds = seconds / 1000.0 - now
    elif seconds >= _EPOCH_SECONDS:
        seconds -= now
    return max(0.0, seconds)


def _is_of_a_minute(limit: float, remaining: float | None, reset_seconds: float | None) -> bool:
    if remaining is None or not reset_seconds or remaining >= limit:
        return False
    per_minute = (limit - remaining) / reset_seconds * 60.0
    return abs(per_minute - limit) <= _TOLERANCE * limit


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None

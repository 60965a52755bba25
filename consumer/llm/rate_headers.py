"""What a provider says of its limits in the `x-ratelimit-*` headers of an answer."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SUFFIXES = {
    "requests": "requests",
    "tokens": "tokens",
    "input-tokens": "input_tokens",
    "output-tokens": "output_tokens",
}
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_LONGEST_DURATION = 32
_TOLERANCE = 0.25
"""Providers round what is left down, and the time until it is back to milliseconds."""


class SaidLimits:
    """Reads limits a minute, and remembers which of the numbers turned out to be one.

    The header does not say of which time the limit is: some providers send that of a day. But limit, remaining and
    reset together tell how fast it comes back, and only one that comes back in a minute is believed.
    """

    def __init__(self) -> None:
        self._known: dict[str, float] = {}

    def read(self, headers: Mapping[str, str]) -> dict[str, float]:
        """By the quota's name, what is allowed a minute, as far as it is said and believed."""
        said = {}
        for suffix, name in _SUFFIXES.items():
            limit = _number(headers.get(f"x-ratelimit-limit-{suffix}"))
            if limit is None or limit < 1:
                continue
            remaining = _number(headers.get(f"x-ratelimit-remaining-{suffix}"))
            if self._known.get(name) != limit and _is_of_a_minute(
                limit, remaining, duration_seconds(headers.get(f"x-ratelimit-reset-{suffix}"))
            ):
                self._known[name] = limit
            if self._known.get(name) == limit:
                said[name] = limit
        return said


def duration_seconds(text: str | None) -> float | None:
    """`20ms`, `6m0s`, or plain seconds; None for anything else."""
    text = (text or "").strip().lower()
    if len(text) > _LONGEST_DURATION:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)


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

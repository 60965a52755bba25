"""Lengths of time as people say them. Pure."""

from __future__ import annotations

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def in_words(seconds: float) -> str:
    """The two largest units that are not zero: "20 minutes", "1 hour 30 minutes". At least "0 seconds"."""
    rest = max(0, round(seconds))
    for index, (unit, size) in enumerate(_UNITS):
        if rest >= size:
            smaller, smaller_size = _UNITS[min(index + 1, len(_UNITS) - 1)]
            count, more = divmod(rest, size)
            less = more // smaller_size if smaller_size < size else 0
            return f"{_counted(count, unit)} {_counted(less, smaller)}" if less else _counted(count, unit)
    return "0 seconds"


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}{'' if count == 1 else 's'}"

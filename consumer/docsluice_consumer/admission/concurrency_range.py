"""The setting for calls in flight: a number, or a range to find it in. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_AUTO = re.compile(r"(?P<fixed>\d{1,9})|auto:(?P<floor>\d{1,9})\.\.(?P<ceiling>\d{1,9})")
_MOST_CONCURRENCY = 10_000
_CONCURRENCY_RULE = (
    f"must be a whole number from 1 to {_MOST_CONCURRENCY:,}, or a range in which to find it, such as auto:4..128"
)


class Concurrency(NamedTuple):
    """Bounds on calls in flight. If they differ, the best number between them is found."""

    floor: int
    ceiling: int


def concurrency_range(text: str) -> Concurrency:
    """Read `16`, or `auto:4..128`.

    Raises:
        ValueError: a sentence that says what it must be.
    """
    numbers = _AUTO.fullmatch(text)
    if numbers is None:
        raise ValueError(_CONCURRENCY_RULE)
    found = Concurrency(int(numbers["floor"] or numbers["fixed"]), int(numbers["ceiling"] or numbers["fixed"]))
    if not 1 <= found.floor <= found.ceiling <= _MOST_CONCURRENCY:
        raise ValueError(_CONCURRENCY_RULE)
    return found


def checked_concurrency(text: str) -> str:
    """Check it, and leave it as it is written."""
    concurrency_range(text)
    return text

"""Texts as letters and digits alone, in one case: servers escape, wrap and fold what they quote. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""Where a stretch of a text begins, and the place behind its end."""

_NO_LETTERS = re.compile(r"[\W_]+")


def flat(text: str) -> str:
    """The letters and digits of a text, in one case."""
    return _NO_LETTERS.sub("", text.casefold())


def flat_with_places(text: str) -> tuple[str, list[int]]:
    """The same, and where in the text each of them stands."""
    letters = [(letter, place) for place, character in enumerate(text) for letter in flat(character)]
    return "".join(letter for letter, _ in letters), [place for _, place in letters]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, and those that overlap or touch as one."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found

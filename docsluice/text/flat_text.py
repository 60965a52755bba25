"""Texts as letters and digits only, in one case, because servers escape, wrap and fold quotations. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]
"""A stretch of a text: its start, and the place after its end."""

_NO_LETTERS = re.compile(r"[\W_]+")


def flat(text: str) -> str:
    """The letters and digits of a text, in one case."""
    return _NO_LETTERS.sub("", text.casefold())


def flat_with_places(text: str) -> tuple[str, list[int]]:
    """The same, with each character's place in the text."""
    folded = text.casefold()
    places: Iterable[int] = range(len(text))
    if len(folded) != len(text):  # some letter has become two
        places = [place for place, character in enumerate(text) for _ in character.casefold()]
    return "".join(filter(str.isalnum, folded)), [
        at for at, letter in zip(places, folded, strict=True) if letter.isalnum()
    ]


def joined(spans: Iterable[Span]) -> list[Span]:
    """The spans in order, with overlapping or touching ones joined."""
    found: list[Span] = []
    for start, end in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], end)
        else:
            found.append((start, end))
    return found

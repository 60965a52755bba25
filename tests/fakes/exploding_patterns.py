"""Regular expressions on which an engine that backtracks works for ever, and texts that they nearly match."""

from __future__ import annotations

import random

_ATOMS = ("a", r"\w", "[a-z]", ".", "(?:a|a)", "(?:a|aa)", r"[\w.-]", "(?:a?)", r"(?:\w\s?)")
_AGAIN = ("*", "+", "{1,9}", "*?", "{2,}")


def exploding_pattern(chance: random.Random) -> str:
    """One to three repetitions within each other, of one or two of such atoms, anchored at both ends."""
    pattern = "".join(chance.sample(_ATOMS, chance.randint(1, 2)))
    for _ in range(chance.randint(1, 3)):
        pattern = f"(?:{pattern}{chance.choice(_AGAIN)}{chance.choice(('', 'b?', '|a'))})"
    return f"^{pattern}{chance.choice(_AGAIN)}$"


def near_miss(length: int) -> str:
    """A text that matches none of them, and of which every beginning but the whole does."""
    return "a" * (length - 1) + "!\n!"

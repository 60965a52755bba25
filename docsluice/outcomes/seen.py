"""Recognises repeats of outcomes, in bounded memory. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

REMEMBERED: Final = 500_000
"""Identities kept to recognise repeats. A repeat comes soon after the first, and memory must not grow."""


class Seen:
    """Remembers the last identities of outcomes."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._identities: OrderedDict[str, None] = OrderedDict()

    def add(self, identities: Iterable[str]) -> bool:
        """Remember an outcome by its identities. Returns False if one of them is known: it is a repeat."""
        named = tuple(identities)
        if any(identity in self._identities for identity in named):
            return False
        self._identities.update(dict.fromkeys(named))
        while len(self._identities) > self._remembered:
            self._identities.popitem(last=False)
        return True

"""Environment variables with our prefix that are no settings, and most likely misspelt. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

PREFIX = "DOCSLUICE_"


def unknown_among(names: Iterable[str], *, known: Collection[str]) -> list[str]:
    """A sentence for each name with our prefix that is not `known`, with the one that was probably meant."""
    return [
        f"{name} is no setting{_suggestion(name, known)}"
        for name in sorted(names)
        if name.startswith(PREFIX) and name not in known
    ]


def _suggestion(name: str, known: Collection[str]) -> str:
    """The closest name. The prefix is ignored, because it would make all names alike."""
    bare = name.removeprefix(PREFIX)
    likely = {variable.removeprefix(PREFIX): variable for variable in sorted(known)}
    # Two swapped letters lower the similarity more than a missing one does, but happen more often.
    close = [one for one in likely if sorted(one) == sorted(bare)] or difflib.get_close_matches(bare, likely, n=1)
    return f"; did you mean {likely[close[0]]}?" if close else ""

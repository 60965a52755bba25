"""Environment variables with our prefix that are no settings, most likely misspelt ones. Pure."""

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
    """Without the prefix, which would make all of them alike."""
    bare = name.removeprefix(PREFIX)
    likely = {variable.removeprefix(PREFIX): variable for variable in sorted(known)}
    # Two letters that have changed places make a name less alike than a missing one does, and happen more often.
    close = [one for one in likely if sorted(one) == sorted(bare)] or difflib.get_close_matches(bare, likely, n=1)
    return f"; did you mean {likely[close[0]]}?" if close else ""

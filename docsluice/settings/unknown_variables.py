"""Environment variables with our prefix that are no settings, and most likely misspelt. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

PREFIX = "DOCSLUICE_"
_OTHER_PREFIXES, _ALIKE = ("KAFKA_", "OPENAI_"), 0.9
"""Other programs have variables with these, too. So only a name that is nearly one of ours is told."""

_SERVICE = "_SERVICE_HOST"
"""Kubernetes tells each container of each service, in variables that begin with the service's name."""


def unknown_among(names: Iterable[str], *, known: Collection[str]) -> list[str]:
    """A sentence for each name that looks like a setting and is not `known`, with the one that was probably meant."""
    names = sorted(set(names) - set(known))
    services = tuple(name.removesuffix(_SERVICE) for name in names if name.endswith(_SERVICE))
    links = tuple(f"{service}_{kind}" for service in services for kind in ("SERVICE_", "PORT"))
    names = [name for name in names if not name.startswith(links)]
    ours = [f"{name} is no setting{_suggestion(name, known)}" for name in names if name.startswith(PREFIX)]
    return ours + [
        f"{name} is no setting; did you mean {close[0]}?"
        for name in names
        if name.startswith(_OTHER_PREFIXES) and (close := difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE))
    ]


def _suggestion(name: str, known: Collection[str]) -> str:
    """The closest name. The prefix is ignored, because it would make all names alike."""
    bare = name.removeprefix(PREFIX)
    likely = {variable.removeprefix(PREFIX): variable for variable in sorted(known)}
    # Two swapped letters lower the similarity more than a missing one does, but happen more often.
    close = [one for one in likely if sorted(one) == sorted(bare)] or difflib.get_close_matches(bare, likely, n=1)
    return f"; did you mean {likely[close[0]]}?" if close else ""

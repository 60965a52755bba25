"""The name that was probably meant by one that is not known. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(typed: str, known: Iterable[str]) -> str:
    """`; did you mean x?` with the closest known name, to end a sentence with. Empty if none is close."""
    close = difflib.get_close_matches(typed, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""

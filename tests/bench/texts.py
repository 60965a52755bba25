"""Texts of a chosen length, each different from all others."""

from __future__ import annotations

from pathlib import Path

_SHIPPED = Path(__file__).parents[2] / "deploy" / "docsluice_local" / "documents"
_STEP = 997


def texts(count: int, *, characters: int) -> dict[str, str]:
    """So many documents (id to text), cut from the shipped ones and numbered."""
    whole = " ".join(path.read_text("utf-8") for path in sorted(_SHIPPED.glob("*.txt")))
    whole *= 2 + characters // len(whole)
    last = len(whole) - characters
    return {
        f"doc-{number}": f"{number}. {whole[(start := number * _STEP % last) : start + characters]}"
        for number in range(count)
    }

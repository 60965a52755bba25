"""Documents of chosen lengths, the same ones for the same seed."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping

from docsluice_local.rehearsal.chat import BYTES_PER_TOKEN, text_hash

_WORDS = (
    *("reef", "tide", "coral", "storm", "ledger", "margin", "invoice", "budget", "kernel", "packet", "cache", "socket"),
    *("vaccine", "enzyme", "tendon", "pulse", "harbour", "lantern", "meadow", "orchard", "quarry", "saddle", "timber"),
)
_SEED = 20_260


def documents(count: int, *, tokens: tuple[int, int], seed: int = _SEED) -> Mapping[str, str]:
    """`count` documents, id to text, between so many tokens long: as many of every order of magnitude."""
    draws = random.Random(seed)
    shortest, longest = (math.log(bound) for bound in tokens)
    return {
        f"doc-{number}": _text(number, round(math.exp(draws.uniform(shortest, longest))), draws)
        for number in range(count)
    }


def tokens_of(text: str) -> int:
    """How many the provider will count."""
    return len(text.encode()) // BYTES_PER_TOKEN


def name_in_log(text: str) -> str:
    """What the provider's log calls the document."""
    return text_hash(text)


def _text(number: int, tokens: int, draws: random.Random) -> str:
    size = tokens * BYTES_PER_TOKEN
    text = f"Document {number}."
    while len(text) < size:
        text += " " + " ".join(draws.choices(_WORDS, k=50))
    return text[:size]

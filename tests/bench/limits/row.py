"""What a row of the table is: one run, and what the provider's log says about it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

COLUMNS = ("scenario", "allowed", "used", "429s", "documents", "dead letters", "figures", "verdict")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a row is played on.

    Attributes:
        quick: whether to be content with short runs, whose figures are rough.
        folder: for this row's logs and data alone.
        say: shows a line about how far the run is. The next one takes its place.
    """

    quick: bool
    folder: Path
    say: Callable[[str], None]

    @property
    def ramp_seconds(self) -> float:
        """How long after the first call the steady state begins."""
        return 5.0 if self.quick else 10.0

    def seconds(self, full: float, quick: float) -> float:
        """The one or the other."""
        return quick if self.quick else full


@dataclass(frozen=True, kw_only=True)
class Result:
    """What has been found.

    Attributes:
        allowed: the limit, in words.
        used: the share of it that was used in the steady state. None where the row is about something else.
        refused: calls that were too many for a limit of the provider's.
        ended: documents that have ended, in either way.
        dead_letters: those that have ended badly.
        figures: whatever else there is to tell.
        misses: a sentence for each target that was missed. None when all were met.
    """

    allowed: str
    used: float | None
    refused: int
    ended: int
    dead_letters: int
    figures: str
    misses: tuple[str, ...]

    def cells(self, name: str) -> list[str]:
        """The row as it is shown."""
        return [
            name,
            self.allowed,
            "-" if self.used is None else f"{self.used:.3f}",
            f"{self.refused:,}",
            f"{self.ended:,}",
            f"{self.dead_letters:,}",
            self.figures,
            "MISSED: " + "; ".join(self.misses) if self.misses else "met",
        ]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row. `play` raises when there is nothing to judge, because a program ended or nothing moves any more."""

    name: str
    play: Callable[[Bench], Coroutine[None, None, Result]]


def misses(*targets: tuple[bool, str]) -> tuple[str, ...]:
    """Of targets, each with whether it was met and what to say otherwise, the sentences of those that were not."""
    return tuple(sentence for is_met, sentence in targets if not is_met)

"""What a part of the benchmarks is made of: cases, each played once a round, and the figures that they give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line asks for.

    Attributes:
        quick: whether to be content with short runs, whose figures are rough.
        only: the contenders or setups to play. Empty: all.
        documents: in place of a part's own number. None: its own.
        million: whether the longest backlog is a million.
        minutes: of steadiness.
    """

    quick: bool = False
    only: Sequence[str] = ()
    documents: int | None = None
    million: bool = False
    minutes: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Played:
    """The figures of one case in one round, and words that belong to them."""

    figures: Mapping[str, float]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of a part's table. `play` raises when there is nothing to show."""

    setup: str
    contender: str
    play: Callable[[], Played]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A figure's column. `times`: it has another beside it, with the quotient to the part's baseline."""

    figure: str
    title: str
    digits: int = 0
    times: bool = False


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the median of a figure should be, of one contender or of all. `times`: its quotient to the baseline."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None
    contender: str | None = None
    setup: str | None = None
    times: bool = False

    def is_met(self, value: float) -> bool:
        """Whether the value is good enough."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        bound = f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"
        return f"{self.figure}{' times' if self.times else ''} {bound}"


@dataclass(frozen=True, kw_only=True)
class Part:
    """One benchmark. `baseline` is the contender of the same setup that `times` compares with."""

    name: str
    caption: str
    columns: Sequence[Column]
    cases: Callable[[Stage, Options], Iterable[Case]]
    baseline: str | None = None
    targets: Sequence[Target] = field(default=())
    rounds: int = 3


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one case gave in one round."""

    part: str
    setup: str
    contender: str
    round: int
    figures: Mapping[str, float]
    note: str = ""


def chosen(cases: Iterable[Case], options: Options) -> list[Case]:
    """The cases of the contenders and the setups that were asked for."""
    return [case for case in cases if not options.only or {case.contender, case.setup} & {*options.only}]


def folder_of(path: Path, name: str) -> Path:
    """A folder of that name, made."""
    made = path / name
    made.mkdir(parents=True)
    return made

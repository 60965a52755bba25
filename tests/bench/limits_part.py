"""What is used of a provider's limits, through outages too: the rows of `tests.bench.limits` as cases."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from tests.bench.limits.registry import ROWS
from tests.bench.limits.row import Bench, Row
from tests.bench.part import Case, Column, Options, Part, Played, Target
from tests.bench.stage import Stage


def _cases(stage: Stage, options: Options) -> Iterator[Case]:
    for row in ROWS.values():
        yield Case(setup=row.name, contender="docsluice", play=partial(_play, row, stage, quick=options.quick))


def _play(row: Row, stage: Stage, *, quick: bool) -> Played:
    bench = Bench(quick=quick, folder=stage.place(), say=lambda _status: None)
    result = asyncio.run(row.play(bench))
    figures = {
        "refused": float(result.refused),
        "ended": float(result.ended),
        "dead_letters": float(result.dead_letters),
        "misses": float(len(result.misses)),
        **({} if result.used is None else {"used": result.used}),
    }
    return Played(figures=figures, note=". ".join((f"{result.allowed}: {result.figures}", *result.misses)))


PART = Part(
    name="limits",
    caption="Used: the share of the allowed limit, from the provider's own log.",
    columns=(
        Column(figure="used", title="used", digits=3),
        Column(figure="refused", title="429s"),
        Column(figure="ended", title="documents"),
        Column(figure="dead_letters", title="dead letters"),
        Column(figure="misses", title="targets missed"),
    ),
    cases=_cases,
    targets=(Target(figure="misses", at_most=0),),
    rounds=1,
)

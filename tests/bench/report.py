"""Findings as tables: on a terminal, and in Markdown between the markers of a page. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.part import Column, Finding, Part, Target


@dataclass(frozen=True, kw_only=True)
class Row:
    """All rounds of one case."""

    setup: str
    contender: str
    values: Mapping[str, Sequence[float]]
    note: str

    def median(self, figure: str) -> float | None:
        """None if no round has the figure."""
        values = self.values.get(figure)
        return median(values) if values else None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A part's findings."""

    part: Part
    rows: Sequence[Row]

    @property
    def header(self) -> list[str]:
        """The columns' titles."""
        titles = [title for column in self._columns for title in _titles(column)]
        return ["", "", *titles, *(["notes"] if self._has_notes else [])]

    @property
    def cells(self) -> list[list[str]]:
        """Each row's words: the median, and the lowest and highest of the rounds where they differ from it."""
        return [
            [
                row.setup,
                row.contender,
                *[cell for column in self._columns for cell in self._cells(row, column)],
                *([row.note] if self._has_notes else []),
            ]
            for row in self.rows
        ]

    def misses(self) -> list[str]:
        """A sentence for each target that a row has missed. A figure that was not measured misses nothing."""
        return [
            f"{row.setup}, {row.contender}: {target}, is {value:.3f}"
            for target in self.part.targets
            for row in self.rows
            if _is_meant(target, row)
            and (value := self._times(row, target.figure) if target.times else row.median(target.figure)) is not None
            and not target.is_met(value)
        ]

    @property
    def _columns(self) -> list[Column]:
        return [column for column in self.part.columns if any(column.figure in row.values for row in self.rows)]

    @property
    def _has_notes(self) -> bool:
        return any(row.note for row in self.rows)

    def _cells(self, row: Row, column: Column) -> list[str]:
        cells = [_spread(row.values.get(column.figure, ()), column.digits)]
        if column.times:
            times = self._times(row, column.figure)
            cells.append("-" if times is None else f"{times:.2f}")
        return cells

    def _times(self, row: Row, figure: str) -> float | None:
        base = next((one for one in self.rows if (one.setup, one.contender) == (row.setup, self.part.baseline)), None)
        value, of = row.median(figure), base and base.median(figure)
        return value / of if value is not None and of else None


def tables(parts: Sequence[Part], findings: Sequence[Finding]) -> list[Table]:
    """A table of each part that has findings, its rows in the order in which they were played first."""
    return [
        Table(part=part, rows=_rows(mine))
        for part in parts
        if (mine := [finding for finding in findings if finding.part == part.name])
    ]


def markdown(table: Table) -> str:
    """The table with its markers, as it stands in a page."""
    lines = [table.header, ["---"] * len(table.header), *table.cells]
    shown = "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |" for cells in lines)
    return f"{_begin(table.part.name)}\n\n{table.part.caption}\n\n{shown}\n\n{_END}"


def updated(page: str, shown: Sequence[Table]) -> str:
    """The page with these tables in the places of those of the same parts.

    Raises:
        ValueError: the page has no place for one of them.
    """
    for table in shown:
        place = re.compile(f"{re.escape(_begin(table.part.name))}.*?{re.escape(_END)}", re.DOTALL)
        written = markdown(table)
        page, count = place.subn(lambda _match, written=written: written, page)  # type: ignore[misc]
        if not count:
            raise ValueError(f"the page has no marker {_begin(table.part.name)}")
    return page


_END = "<!-- end -->"


def _begin(name: str) -> str:
    return f"<!-- measured: {name} -->"


def _rows(findings: Sequence[Finding]) -> list[Row]:
    rows: dict[tuple[str, str], list[Finding]] = {}
    for finding in findings:
        rows.setdefault((finding.setup, finding.contender), []).append(finding)
    return [
        Row(setup=setup, contender=contender, values=_values(rounds), note=rounds[-1].note)
        for (setup, contender), rounds in rows.items()
    ]


def _values(rounds: Sequence[Finding]) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for finding in rounds:
        for figure, value in finding.figures.items():
            values.setdefault(figure, []).append(value)
    return values


def _is_meant(target: Target, row: Row) -> bool:
    return target.contender in {None, row.contender} and target.setup in {None, row.setup}


def _titles(column: Column) -> list[str]:
    return [column.title, "times"] if column.times else [column.title]


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return "-"
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"

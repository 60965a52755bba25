"""What `make bench` makes of its findings, and how it plays in turns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench import __main__ as program
from tests.bench.part import Case, Column, Finding, Options, Part, Played, Target
from tests.bench.report import markdown, tables, updated
from tests.bench.rounds import play
from tests.bench.stage import Stage

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "performance.md"


def _cases(_stage: Stage, _options: Options) -> Iterator[Case]:
    for contender in ("ours", "plain", "broken"):
        yield Case(setup="small", contender=contender, play=_played if contender != "broken" else _broken)


def _played() -> Played:
    return Played(figures={"pace": 10.0})


def _broken() -> Played:
    raise RuntimeError("it has ended:\nline\nTraceback")


PART = Part(
    name="speed",
    caption="How fast.",
    columns=(Column(figure="pace", title="a second", digits=1, times=True), Column(figure="none", title="nothing")),
    cases=_cases,
    baseline="plain",
    targets=(Target(figure="pace", contender="ours", times=True, at_least=2.0), Target(figure="pace", at_most=50.0)),
)


def _found(contender: str, *paces: float, note: str = "") -> list[Finding]:
    return [
        Finding(part="speed", setup="small", contender=contender, round=number, figures={"pace": pace}, note=note)
        for number, pace in enumerate(paces, start=1)
    ]


def test_a_table_has_median_spread_and_quotient() -> None:
    """The quotient is that of the medians. A column without figures is left out."""
    (table,) = tables([PART], [*_found("ours", 30, 90, 40), *_found("plain", 20)])
    assert table.header == ["", "", "a second", "times"]
    assert table.cells == [["small", "ours", "40.0 (30.0 to 90.0)", "2.00"], ["small", "plain", "20.0", "1.00"]]
    assert table.misses() == []


def test_a_missed_target_is_told() -> None:
    """Each by itself, and none of a contender that it is not about."""
    (table,) = tables([PART], [*_found("ours", 60), *_found("plain", 40)])
    assert table.misses() == ["small, ours: pace times at least 2, is 1.500", "small, ours: pace at most 50, is 60.000"]


def test_without_the_baseline_there_is_no_quotient() -> None:
    """And nothing to miss."""
    (table,) = tables([PART], _found("ours", 30, note="a word"))
    assert table.cells == [["small", "ours", "30.0", "-", "a word"]]
    assert table.misses() == []


def test_a_page_gets_new_tables_between_its_markers() -> None:
    """All else stays. A page without the marker is told."""
    old, new = (markdown(tables([PART], _found("ours", pace))[0]) for pace in (1, 2))
    page = f"# Speed\n\nBefore.\n\n{old}\n\nAfter.\n"
    table = tables([PART], _found("ours", 2))
    assert updated(page, table) == page.replace(old, new)
    assert updated(updated(page, table), table) == updated(page, table)
    with pytest.raises(ValueError, match="speed"):
        updated("# Speed\n", table)


def test_cases_are_played_in_turns(tmp_path: Path) -> None:
    """Round after round. One that fails is told, and the others go on."""
    lines: list[str] = []
    stage = Stage(tmp_path, peers_python=None)
    found = list(play([PART], stage, Options(), rounds=2, say=lines.append))
    assert [(one.round, one.contender) for one in found] == [(1, "ours"), (1, "plain"), (2, "ours"), (2, "plain")]
    assert [line for line in lines if "FAILED" in line] == [
        f"round {number}  speed: small, broken: FAILED: it has ended: Traceback" for number in (1, 2)
    ]


def test_only_what_was_named_is_played(tmp_path: Path) -> None:
    """By the names of contenders or setups."""
    stage = Stage(tmp_path, peers_python=None)
    played = {
        name: [one.contender for one in play([PART], stage, Options(only=[name]), rounds=1, say=lambda _: None)]
        for name in ("plain", "small", "large")
    }
    assert played == {"plain": ["plain"], "small": ["ours", "plain"], "large": []}


def test_figures_of_a_file_are_shown_without_measuring(tmp_path: Path, capsys: Any) -> None:
    """`--from` reads them, and the exit code tells of a missed target."""
    of_a_start = {"part": "recovery", "setup": "s", "contender": "docsluice", "round": 1, "figures": {"seconds": 9.0}}
    file = tmp_path / "figures.json"
    file.write_text(json.dumps({"machine": {}, "findings": [of_a_start]}), encoding="utf-8")
    assert program.main(["--from", str(file), "--markdown"]) == 1
    shown = capsys.readouterr()
    assert "| s | docsluice | 9.00 |" in shown.out
    assert "MISSED  recovery: s, docsluice: seconds at most 3, is 9.000" in shown.err


@pytest.mark.parametrize("name", program.USUAL)
def test_the_page_has_a_place_for_every_usual_part(name: str) -> None:
    """So that `--update docs/performance.md` never fails after an hour of measuring."""
    assert f"<!-- measured: {name} -->" in PAGE.read_text(encoding="utf-8")

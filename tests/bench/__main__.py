"""`make bench`: measures everything side by side, in rounds, and prints tables. Exit code 1 when a target is missed.

`make bench ARGS="engine utilisation --quick"` runs some parts, with short runs. `--update docs/performance.md` puts the
tables into that page.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import rich.table
from rich.console import Console

from tests.bench import (
    capacity_part,
    engine,
    limits_part,
    recovery,
    scale,
    scale_out,
    shared_parts,
    single,
    start_up,
    utilisation,
)
from tests.bench.machine import machine
from tests.bench.part import Finding, Options
from tests.bench.report import Table, markdown, tables, updated
from tests.bench.rounds import play
from tests.bench.stage import ROOT, Stage

_MODULES = (engine, utilisation, limits_part, scale_out, scale, recovery, start_up, shared_parts, capacity_part)
USUAL = {module.PART.name: module.PART for module in _MODULES}
PARTS = {**USUAL, **{part.name: part for part in single.PARTS}}
_PEERS_PYTHON = ROOT / ".venv" / "peers" / "bin" / "python"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, or read what was measured before, show it, and return the exit code."""
    arguments = _parser().parse_args(argv)
    pages = [Path(page).resolve() for page in arguments.update]
    kept = Path(arguments.json).resolve() if arguments.json else None
    if arguments.of:
        findings = [finding for file in arguments.of for finding in _read(Path(file))]
    else:
        findings = _measured(arguments, kept)
    shown = tables([*PARTS.values()], findings)
    for table in shown:
        if arguments.markdown:
            print(markdown(table), end="\n\n")  # noqa: T201 - it is for a page
        else:
            Console(width=None if sys.stdout.isatty() else 160).print(_rich(table))
    for page in pages:
        page.write_text(updated(page.read_text("utf-8"), shown), encoding="utf-8")
    missed = [f"{table.part.name}: {miss}" for table in shown for miss in table.misses()]
    for miss in missed:
        _say(f"MISSED  {miss}")
    return 1 if missed else 0


def _measured(arguments: argparse.Namespace, kept: Path | None) -> list[Finding]:
    """Play what was asked for. After an interrupt, what was found so far is shown."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)  # topics that were just made have no leader yet
    _leave_settings_behind()
    findings: list[Finding] = []
    options = Options(
        quick=arguments.quick,
        only=arguments.only,
        documents=arguments.documents,
        million=arguments.million,
        minutes=arguments.minutes,
    )
    parts = [PARTS[name] for name in arguments.parts or USUAL]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.chdir(folder)  # away from any .env
        stage = Stage(Path(folder), peers_python=arguments.peers_python)
        try:
            for finding in play(parts, stage, options, rounds=arguments.rounds, say=_say):
                findings.append(finding)
                if kept:  # again after each, for a run may take an hour
                    told = {"machine": machine(), "findings": [*map(asdict, findings)]}
                    kept.write_text(json.dumps(told, indent=1), encoding="utf-8")
        except KeyboardInterrupt:
            _say("interrupted")
        finally:
            os.chdir(ROOT)
    return findings


def _read(file: Path) -> list[Finding]:
    return [Finding(**finding) for finding in json.loads(file.read_text("utf-8"))["findings"]]


def _rich(table: Table) -> rich.table.Table:
    shown = rich.table.Table(*table.header, title=table.part.name, caption=table.part.caption)
    for cells in table.cells:
        shown.add_row(*cells)
    return shown


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress


def _leave_settings_behind() -> None:
    """A person's own settings are not for what is measured. The checkout's modules are for all of us."""
    for name in list(os.environ):
        if name.startswith(("DOCSLUICE_", "OPENAI_", "KAFKA_")):
            del os.environ[name]
    os.environ["PYTHONPATH"] = str(ROOT)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        choices=[*PARTS, []],
        help=f"of {', '.join(PARTS)}; default: {', '.join(USUAL)}",
    )
    parser.add_argument("--quick", action="store_true", help="one round of short runs, with rougher figures")
    parser.add_argument("--rounds", type=int, help="in place of the part's own number")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="contenders or setups, such as docsluice")
    parser.add_argument("--documents", type=int, help="of each case of engine and local-model")
    parser.add_argument("--million", action="store_true", help="a backlog of a million records in scale, too")
    parser.add_argument("--minutes", type=float, default=30.0, help="of steadiness")
    parser.add_argument("--json", metavar="FILE", help="write the figures of each round to this file")
    parser.add_argument(
        "--from", nargs="+", dest="of", metavar="FILE", help="show the figures of such files, and measure nothing"
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown, with the markers of a page")
    parser.add_argument(
        "--update", action="append", default=[], metavar="PAGE", help="put the tables between the markers of this page"
    )
    parser.add_argument(
        "--peers-python",
        default=str(_PEERS_PYTHON) if _PEERS_PYTHON.exists() else None,
        help="an interpreter that has the peers' libraries; without it only docsluice is measured",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

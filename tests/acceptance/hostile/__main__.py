"""`make hostile`: what comes from outside attacks the service, beside ordinary documents that must not feel it.

Prints a table: how each case ended, how much longer the ordinary documents took, memory, and silence at `/livez`. Exit
code 1 when a promise is broken.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from docsluice_local.broker import Broker
from docsluice_local.kafka import apache_kafka, why_not
from tests.acceptance.faults.replicas import ROOT
from tests.acceptance.hostile.case import Case, Seen
from tests.acceptance.hostile.cases import CASES, UNDISTURBED
from tests.acceptance.hostile.drawn import drawn
from tests.acceptance.hostile.stage import play
from tests.fakes.hung_disk import IS_POSSIBLE
from tests.integration.wire import Wire

_WIDTH = 150
_LOGS = ROOT / ".docsluice" / "hostile"
_COLUMNS = (
    "case",
    "results",
    "hostile ones",
    "seconds",
    "times",
    "peak MiB",
    "/livez silent s",
    "loop lag s",
    "log MiB",
)
_TIMEOUT_SECONDS = 180.0
_MOST_TIMES = 2.0


def main() -> int:
    """Run the chosen cases, or all of them, and return the exit code."""
    arguments = _parser().parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if reason := why_not():
        console.print(reason)
        return 2
    if not any(name.startswith("a clock") for name in CASES):
        console.print("faketime is not installed: the clocks that are off are left out")
    if not IS_POSSIBLE:
        console.print("no C compiler (cc) on Linux: the disks that hang are left out")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    shutil.rmtree(_LOGS, ignore_errors=True)
    _LOGS.mkdir(parents=True)
    os.environ["PYTHONPATH"] = str(ROOT)
    os.chdir(_LOGS)  # away from any .env
    table, failed = Table(*_COLUMNS), False
    cases = {**CASES, **{case.name: case for case in drawn(arguments.seed)}}
    try:
        with tempfile.TemporaryDirectory() as folder, apache_kafka(data_dir=Path(folder)) as broker:
            alone = _run(UNDISTURBED, broker, arguments)
            table.add_row(*_row(UNDISTURBED, alone, alone))
            for name in arguments.cases or cases:
                console.print(f"{name} …", markup=False, highlight=False)
                seen = _run(cases[name], broker, arguments)
                table.add_row(*_row(cases[name], seen, alone))
                problems = seen.problems(cases[name], documents=arguments.documents)
                if seen.seconds > _MOST_TIMES * alone.seconds + cases[name].outage_seconds:
                    problems.append(f"the others took {seen.seconds / alone.seconds:.2f} times as long")
                for problem in problems:
                    failed = True
                    console.print(f"  {problem}", markup=False, highlight=False)
    finally:  # an interrupted run shows what it has found so far
        console.print(table)
        console.print(f"logs in {_LOGS}")
    return int(failed)


def _run(case: Case, broker: Broker, arguments: argparse.Namespace) -> Seen:
    wire = Wire(bootstrap_servers=broker.bootstrap_servers)
    folder = _LOGS / case.name.replace(" ", "-").replace("/", "-")
    playing = play(
        case,
        wire,
        documents=arguments.documents,
        folder=folder,
        seed=arguments.seed,
        timeout_seconds=_TIMEOUT_SECONDS,
        broker=broker,
    )
    return asyncio.run(playing)


def _row(case: Case, seen: Seen, alone: Seen) -> list[str]:
    ends = ", ".join(f"{count} {end}" for end, count in sorted(seen.ends.items()))
    return [
        case.name,
        f"{seen.results:,}",
        ends or "-",
        f"{seen.seconds:.1f}",
        f"{seen.seconds / alone.seconds:.2f}" if alone.seconds else "-",
        f"{seen.peak_mib:,.0f}",
        f"{seen.longest_silence_seconds:.1f}",
        f"{seen.loop_lag_seconds:.2f}",
        f"{seen.log_mib:.2f}",
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make hostile", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of: {', '.join(CASES)}, drawn …")
    parser.add_argument("--documents", type=int, default=500, help="ordinary documents beside each case")
    parser.add_argument("--seed", type=int, default=1, help="of the drawn cases, and of what is random in others")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`make bench-limits`: what consumers make of a provider's limits, audited from the provider's own log of calls.

Each row of the table is one run of real consumer processes. Exit code 1 when a row misses its target.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shutil
import subprocess
import sys

from aiokafka.errors import KafkaError

from docsluice_local.process import ChildFailedError
from tests.bench.limits.audit import NothingToAuditError
from tests.bench.limits.consumers import ROOT
from tests.bench.limits.registry import ROWS
from tests.bench.limits.row import Bench
from tests.bench.limits.run import GaveUpError
from tests.bench.limits.screen import Screen

_LOGS = ROOT / ".docsluice" / "limits"
_FAILURES = (ChildFailedError, GaveUpError, NothingToAuditError, KafkaError, OSError, subprocess.TimeoutExpired)


def main() -> int:
    """Run the chosen rows, or all of them, and return the exit code."""
    arguments = _parser().parse_args()
    _leave_settings_behind()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)  # topics that were just made have no leader yet
    _LOGS.mkdir(parents=True, exist_ok=True)
    os.chdir(_LOGS)  # away from any .env
    screen = Screen()
    with screen.open():
        met = [_played(name, quick=arguments.quick, screen=screen) for name in arguments.rows or ROWS]
    screen.console.print(f"logs in {_LOGS}")
    return 0 if all(met) else 1


def _played(name: str, *, quick: bool, screen: Screen) -> bool:
    """Play a row, show it, and tell whether it has met its targets."""
    screen.begin(name)
    bench = Bench(quick=quick, folder=_LOGS / name, say=screen.say)
    shutil.rmtree(bench.folder, ignore_errors=True)
    bench.folder.mkdir()
    try:
        result = asyncio.run(ROWS[name].play(bench))
    except _FAILURES as problem:
        screen.add_failure(name, _short(problem))
        return False
    screen.add(name, result)
    return not result.misses


def _short(problem: Exception) -> str:
    """The first and the last line of what it says: a log's end, where it quotes one."""
    lines = str(problem).strip().splitlines() or [type(problem).__name__]
    return lines[0] if len(lines) == 1 else f"{lines[0]} {lines[-1][:300]}"


def _leave_settings_behind() -> None:
    """A person's own settings are not for the consumers that are measured. The checkout's modules are for all of us."""
    for name in list(os.environ):
        if name.startswith(("DOCSLUICE_", "OPENAI_", "KAFKA_")):
            del os.environ[name]
    os.environ["PYTHONPATH"] = str(ROOT)


def _row(argument: str) -> str:
    if argument not in ROWS:
        raise argparse.ArgumentTypeError(f"must be of {', '.join(ROWS)}")
    return argument


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.limits", description=__doc__)
    parser.add_argument("rows", nargs="*", type=_row, metavar="row", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="shorter runs, with rougher figures")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""`make faults`: Kafka, the provider and the replicas fail in every way, and every document is accounted for.

Each scenario runs once for each delivery mode, on topics of its own. Exit code 1 when a document is lost, or repeated
with exactly-once delivery.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.table import Table

from docsluice_local.kafka import why_not
from tests.acceptance.faults.ground import ground
from tests.acceptance.faults.registry import SCENARIOS
from tests.acceptance.faults.replicas import ROOT
from tests.acceptance.faults.trial import Mode, Outcome, Trial, run

_WIDTH = 150  # where nobody says how wide the screen is
_LOGS = ROOT / ".docsluice" / "faults"
_COLUMNS = (
    *("scenario", "mode", "documents", "results", "dead letters", "lost", "repeated", "calls"),
    *("in flight at kills", "cut off", "paid again", "resumed after s", "crashes", ""),
)


def main() -> int:
    """Run the chosen scenarios, or all of them, and return the exit code."""
    arguments = _parser().parse_args()
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    if reason := why_not():
        console.print(reason)
        return 2
    _leave_settings_behind()
    logs = _LOGS / str(arguments.seed)
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    os.chdir(logs)  # away from any .env
    console.print(f"seed {arguments.seed}, logs in {logs}")
    table = Table(*_COLUMNS)
    failed = False
    try:
        with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as on:
            for trial in _trials(arguments, logs):
                console.print(f"{trial.scenario.name}, {trial.mode} …")
                outcome = run(trial, on)
                failed = failed or bool(outcome.failures)
                table.add_row(*_row(trial, outcome))
                for line in (*outcome.failures, *outcome.notes):
                    console.print(f"  {line}", markup=False, highlight=False)
    finally:  # after an interrupt, a long run shows what it has found so far
        console.print(table)
        console.print(f"repeat this run with --seed {arguments.seed}")
    return int(failed)


def _trials(arguments: argparse.Namespace, logs: Path) -> list[Trial]:
    return [
        Trial(
            scenario=SCENARIOS[name],
            mode=mode,
            seed=arguments.seed,
            documents=arguments.documents or SCENARIOS[name].documents,
            settings=dict(setting.split("=", 1) for setting in arguments.setting),
            log_dir=logs / f"{name}-{mode}",
        )
        for name in arguments.scenarios or SCENARIOS
        for mode in arguments.mode or get_args(Mode)
    ]


def _row(trial: Trial, outcome: Outcome) -> list[str]:
    found = outcome.account
    resumed = "-" if outcome.resume_seconds is None else f"{outcome.resume_seconds:.1f}"
    endings = (found.documents, found.results, found.dead_letters, len(found.lost), found.repeated)
    calls = (found.calls, outcome.in_flight, found.cut_off, found.paid_again)
    return [
        trial.scenario.name,
        trial.mode,
        *(f"{figure:,}" for figure in (*endings, *calls)),
        resumed,
        str(outcome.crashes),
        "FAILED" if outcome.failures else "ok",
    ]


def _leave_settings_behind() -> None:
    """A person's own settings are not for the consumers on trial. The checkout's modules are for all our processes."""
    for name in list(os.environ):
        if name.startswith(("DOCSLUICE_", "OPENAI_", "KAFKA_")):
            del os.environ[name]
    os.environ["PYTHONPATH"] = str(ROOT)
    # The onlookers' clients would fill the screen with what the scenarios do to them on purpose.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)


def _scenario(argument: str) -> str:
    if argument not in SCENARIOS:
        raise argparse.ArgumentTypeError(f"no scenario is called {argument}; there are {', '.join(SCENARIOS)}")
    return argument


def _setting(argument: str) -> str:
    if "=" not in argument:
        raise argparse.ArgumentTypeError("must be NAME=VALUE")
    return argument


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.faults", description=__doc__)
    parser.add_argument(
        "scenarios", nargs="*", type=_scenario, metavar="scenario", help=f"of {', '.join(SCENARIOS)}; default: all"
    )
    parser.add_argument("--mode", action="append", choices=get_args(Mode), help="default: both")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="default: a new one")
    parser.add_argument("--documents", type=int, help="for each scenario; default: what the scenario says")
    parser.add_argument(
        *("--setting", "-s"), type=_setting, action="append", default=[], help="NAME=VALUE for all consumers"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""What a start takes: from the program's start to its first call, and for `--help`."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from statistics import median

from docsluice_local.kafka import apache_kafka
from tests.bench.contenders import BASELINE, DEFAULT
from tests.bench.part import Case, Column, Options, Part, Played
from tests.bench.parts import send
from tests.bench.process_cost import age_seconds, cpu_seconds, resident_mib
from tests.bench.stage import ROOT, Stage
from tests.bench.texts import texts
from tests.bench.utilisation import wait_for_calls

_CONTENDERS = (DEFAULT, BASELINE, "faststream-ack-first", "langchain")
_COMMANDS = (("--help",), ("run", "--help"))
_PROGRAM = "import sys; from docsluice.cli.program import main; sys.exit(main())"
_STARTS = 5
_PARTITIONS = 6
_DOCUMENTS = 16


def _cases(stage: Stage, _options: Options) -> Iterator[Case]:
    for name in stage.present(*_CONTENDERS):
        yield Case(setup="to the first call", contender=name, play=partial(_first_call, name, stage=stage))
    for command in _COMMANDS:
        yield Case(setup="to its end", contender=" ".join(("docsluice", *command)), play=partial(_command, command))


def _first_call(name: str, *, stage: Stage) -> Played:
    place = stage.place()
    with apache_kafka(data_dir=place / "kafka") as broker, stage.provider(place) as provider:
        asyncio.run(send(broker.bootstrap_servers, texts(_DOCUMENTS, characters=1000), partitions=_PARTITIONS))
        with stage.contender(
            name,
            servers=broker.bootstrap_servers,
            provider=provider,
            place=place,
            in_flight=_DOCUMENTS,
            partitions=_PARTITIONS,
        ) as child:
            wait_for_calls(provider, child)
            return Played(
                figures={
                    "seconds": age_seconds(child),
                    "cpu_seconds": cpu_seconds(child),
                    "resident_mib": resident_mib(child),
                }
            )


def _command(command: tuple[str, ...]) -> Played:
    """The median of some runs, for one takes too short to be told by a clock of hundredths."""
    runs = [_run(command) for _ in range(_STARTS)]
    return Played(figures={name: median(run[name] for run in runs) for name in runs[0]})


def _run(command: tuple[str, ...]) -> dict[str, float]:
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", _PROGRAM, *command],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.monotonic() - began, "cpu_seconds": cpu}


PART = Part(
    name="start-up",
    caption="CPU seconds until a contender has made its first call, and of a command that only prints.",
    columns=(
        Column(figure="cpu_seconds", title="CPU seconds", digits=2),
        Column(figure="seconds", title="seconds", digits=2),
        Column(figure="resident_mib", title="MiB"),
    ),
    cases=_cases,
)

"""What `docsluice run` loads before it serves, and what the garbage collector does meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

AT_THE_START = """
import gc, json, os, sys
from docsluice_consumer.commands import service_commands

collections = []
gc.callbacks.append(lambda phase, about: collections.append(phase))

def tell(**_):
    known = {"modules": [*sys.modules], "collections": len(collections), "is_collecting": gc.isenabled(),
             "threshold": gc.get_threshold()[0],
             "frozen": gc.get_freeze_count(), "looked_through": len(gc.get_objects())}
    print(json.dumps(known), flush=True)
    os._exit(0)

service_commands._signals = tell  # the first thing that is called with the service built
from docsluice.cli.program import main
main(["run"])
"""


@pytest.fixture(scope="module")
def at_the_start(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The state of a process that is about to serve, with no setting but a key."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DOCSLUICE", "OPENAI"))}
    ended = subprocess.run(
        [sys.executable, "-c", AT_THE_START],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path_factory.mktemp("start"),
        env={**environment, "OPENAI_API_KEY": "none-is-needed"},
    )
    known: dict[str, Any] = json.loads(ended.stdout)
    return known


def test_run_loads_only_what_it_uses(at_the_start: dict[str, Any]) -> None:
    """Neither another program, nor what a setting must ask for, nor the price list before something is priced."""
    unused = {"docsluice_producer", "docsluice_local", "docsluice_consumer.check", "redis", "genai_prices"}
    assert not unused & {*at_the_start["modules"]}
    assert {"openai", "aiokafka", "docsluice_consumer.service"} <= {*at_the_start["modules"]}


def test_the_collector_rests_while_the_service_is_loaded(at_the_start: dict[str, Any]) -> None:
    """Nothing that is loaded is garbage."""
    assert at_the_start["collections"] == 0
    assert at_the_start["threshold"] >= 10_000, "or open records are looked through again and again"
    assert at_the_start["is_collecting"]


def test_the_collector_never_looks_through_what_is_loaded(at_the_start: dict[str, Any]) -> None:
    """Each of its full collections would take as long as dozens of documents."""
    assert at_the_start["frozen"] > 100 * at_the_start["looked_through"]

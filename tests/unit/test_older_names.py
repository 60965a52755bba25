"""Names that others script against: they work beside the repository's folders, and are not installed."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path, PurePath

import pytest

ROOT = Path(__file__).parents[2]
OLDER = ["consumer", "producer", *(f"deploy.local.{name}" for name in ("broker", "model", "rehearsal", "demo"))]


@pytest.mark.long
@pytest.mark.parametrize("module", OLDER)
def test_an_older_name_still_runs(module: str) -> None:
    """Without a word of warning, which a script may take for a fault."""
    command = [sys.executable, "-W", "error", "-m", module, "--help"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("Usage: ")


def test_an_older_name_can_be_imported() -> None:
    """As scripts do that start Apache Kafka."""
    command = [sys.executable, "-W", "error", "-c", "from deploy.local.kafka import apache_kafka"]
    subprocess.run(command, cwd=ROOT, check=True)


def test_no_generic_name_is_installed() -> None:
    """A user's own folder may be called consumer."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {PurePath(package).name for package in packages} == {
        "docsluice",
        "docsluice_consumer",
        "docsluice_producer",
        "docsluice_local",
    }

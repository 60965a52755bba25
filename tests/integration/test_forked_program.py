"""A forked program is as good as one that a shell starts."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.forked_program import ForkedChild, ran

ROWS = b'{"document_id": "a", "text": "t"}\nnope\n'


@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        ("producer", ["--version"]),
        ("producer", ["send", "-", "--dry-run"]),
        ("producer", ["send", "here.jsonl", "--dry-run"]),
        ("producer", ["follow", "--until", "many"]),
        ("producer", ["follow", "--bootstrap-servers", "127.0.0.1:9", "--wait-seconds", "0"]),
        ("producer", ["dead-letters", "list", "--dead-letter-topic", "a b"]),
        ("producer", []),
        ("consumer", ["run"]),
        ("consumer", ["check", "--help"]),
        ("consumer", ["check"]),
    ],
)
def test_it_says_and_does_the_same(tmp_path: Path, program: str, arguments: list[str]) -> None:
    """Output, errors and exit code are those of the program, from the same folder, settings and standard input."""
    (tmp_path / "here.jsonl").write_bytes(ROWS)
    environment = {**os.environ, "DOCSLUICE_MODE": "both", "COLUMNS": "70"}
    command = [sys.executable, "-m", f"docsluice_{program}", *arguments]
    real = subprocess.run(command, input=ROWS, capture_output=True, env=environment, check=False)
    fork = asyncio.run(ran(program, *arguments, data=ROWS, environment=environment))
    assert real.stdout + real.stderr
    assert (fork.returncode, fork.stdout, fork.stderr) == (real.returncode, real.stdout, real.stderr)


def test_a_child_ends_by_itself(tmp_path: Path) -> None:
    """Its words are in its log, and its exit code is told as often as it is asked for."""
    child = ForkedChild("consumer", "run", log_path=tmp_path / "log", environment={"DOCSLUICE_MODE": "both"})
    child.start()
    assert child.wait(timeout_seconds=60) == 2
    assert (child.running, child.stop()) == (False, 2)
    assert "DOCSLUICE_MODE" in child.log_tail()


def test_a_child_is_killed(tmp_path: Path) -> None:
    """It leads a group of its own, which ends with it, and can be started again."""
    nowhere = ("--bootstrap-servers", "127.0.0.1:9")
    child = ForkedChild("producer", "follow", *nowhere, log_path=tmp_path / "log", environment={})
    for _ in range(2):
        child.start(is_ready=lambda: "no broker" in child.log_tail())
        assert child.pid is not None
        assert os.getpgid(child.pid) == child.pid
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout_seconds=0)
        child.kill()
        assert child.wait() == -signal.SIGKILL
        child.log_path.unlink()

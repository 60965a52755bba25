"""The program `docsluice`: which commands there are, what they say of themselves, and how they end."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from docsluice.cli.commands import COMMANDS
from docsluice.cli.program import main

LETTERS = ("list", "show", "redrive", "export", "drop")
PAGES = [[command.name] for command in COMMANDS if command.name != "dead-letters"]
PAGES += [["dead-letters", action] for action in LETTERS]


def test_help_loads_no_command() -> None:
    """It is what a newcomer waits for first, and completion after him."""
    code = "import sys; from docsluice.cli.program import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"docsluice_consumer", "docsluice_producer", "docsluice_local", "aiokafka", "openai", "pydantic", "asyncio"}
    assert not heavy & {*ended.stderr.split()}
    listed = " ".join(ended.stdout.split())
    assert all(f" {command.name} {command.summary}" in listed for command in COMMANDS)


@pytest.mark.parametrize("page", PAGES, ids=" ".join)
def test_a_page_begins_with_examples(page: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Behind one sentence, and before the flags; it names no file that only a checkout has."""
    assert main([*page, "--help"]) == 0
    shown = capsys.readouterr()
    usage, sentence, examples, *_ = shown.out.split("\n\n")
    assert usage.startswith(f"Usage: docsluice {' '.join(page)}")
    assert sentence.endswith(".")
    assert f"$ docsluice {' '.join(page)}" in examples
    assert not re.search(r"docs/|deploy/|make demo|Makefile", shown.out)
    assert shown.err == ""


HELP_PAGES = [[], *PAGES, ["dead-letters"]]
INTO_A_CLOSED_PIPE = """
import contextlib, io, json, os, sys
from docsluice.cli.program import main

calls = json.loads(sys.argv[1])
for call in calls:  # imports what all of them need
    with contextlib.redirect_stdout(io.StringIO()):
        main(call)
for call in calls:
    errors, their_errors = os.pipe()
    if not (pid := os.fork()):
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 1)
        os.dup2(their_errors, 2)
        sys.exit(main(call))
    os.close(their_errors)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print(json.dumps([call, code, os.read(errors, 10_000).decode()]))
"""
"""Each call as a process, with all that Python does at its end, but without the half second of its beginning."""


@pytest.fixture(scope="module")
def left_alone() -> dict[str, tuple[int, str]]:
    """The exit code and the errors of calls whose output nobody reads."""
    calls = json.dumps([*([*page, "--help"] for page in HELP_PAGES), ["rehearse", "--character", "list"]])
    command = [sys.executable, "-c", INTO_A_CLOSED_PIPE, calls]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return {" ".join(call): (code, errors) for call, code, errors in map(json.loads, ended.stdout.splitlines())}


@pytest.mark.long
@pytest.mark.parametrize("page", HELP_PAGES, ids=lambda page: " ".join(page) or "all")
def test_a_reader_of_help_that_leaves(page: list[str], left_alone: dict[str, tuple[int, str]]) -> None:
    """As in `docsluice run --help | head -1`: no traceback, and a good end."""
    assert left_alone[" ".join([*page, "--help"])] == (0, "")


@pytest.mark.long
def test_a_reader_of_a_list_that_leaves(left_alone: dict[str, tuple[int, str]]) -> None:
    """A list that nobody reads to its end is no bug either."""
    assert left_alone["rehearse --character list"] == (1, "")


WRONG_SHARES = ("503", "429=2", "nan", "503=nan", "503=x", "503=", "503=-1", "=1e3")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sned"], "did you mean send?; see docsluice --help"),
        (["rehearse", "--charakter", "x"], "there is no flag --charakter; did you mean --character?"),
        (["dead-letters", "redriv"], "did you mean redrive?; see docsluice dead-letters --help"),
        (["broker", "--port", "x"], "--port: must be a whole number; see docsluice broker --help"),
        (["broker", "--port", "65536"], "--port: must be <= 65535"),
        (["broker", "--kafka=x"], "--kafka: must be a flag without a value"),
        (["model", "--slots", "0"], "--slots: must be >= 1"),
        (["demo", "--mode", "both"], "--mode: must be one of fanout, fused"),
        (["demo", "--documents", "."], "no .txt files in ."),
        (["demo", "--model", "gpt-4o-mini"], "--model gpt-4o-mini needs OPENAI_API_KEY"),
        (["rehearse", "--slow-past", "0"], "--slow-past: must be > 0"),
        (["rehearse", "--fault-rate", "xyz=1"], "no fault is called 'xyz'"),
        *((["rehearse", "--fault-rate", wrong], "must be FAULT=SHARE such as 503=0.01") for wrong in WRONG_SHARES),
        (["rehearse", "--fault-rate", "503=0.7", "--fault-rate", "500=0.7"], "fault rates must not be negative, nor"),
        (["rehearse", "--character", "xyz"], "no character is called 'xyz'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what was probably meant, and where the right arguments are."""
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("docsluice: ")
    assert said in line


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_ctrl_c_shows_no_traceback(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever command it ends, and in whatever it was waiting."""
    monkeypatch.setattr("docsluice_producer.commands.select", Mock(side_effect=error))
    assert main(["send", "-", "--dry-run"]) == 130
    assert capsys.readouterr().err == "docsluice: interrupted\n"


INTERRUPTED_WHILE_LOADING = """
import sys

class CtrlC:
    def find_spec(self, name, path, target=None):
        if name in {"asyncio", "cyclopts", "typing"}:
            raise KeyboardInterrupt

for loaded in ("asyncio", "typing"):
    sys.modules.pop(loaded, None)
sys.meta_path.insert(0, CtrlC())
from docsluice.cli.program import main
sys.exit(main(["check"]))
"""


@pytest.mark.long
def test_ctrl_c_while_the_program_is_loaded_shows_no_traceback() -> None:
    """The imports take most of a command's first half second. None of them comes before somebody listens."""
    command = [sys.executable, "-c", INTERRUPTED_WHILE_LOADING]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (130, "docsluice: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "module", "extra"),
    [
        (["broker", "--port", "0"], "broker", "broker"),
        (["model"], "model", "local"),
        (["demo"], "model", "local"),
    ],
)
def test_what_is_not_installed_is_told_with_its_extra(
    arguments: list[str], module: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one line, before anything is started."""
    monkeypatch.setattr(f"docsluice_local.{module}.find_spec", lambda _: None)
    assert main(arguments) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.endswith(f"is not installed: pip install 'docsluice[{extra}]'")


def test_a_port_that_is_taken_is_no_broker_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It would be taken for ready, though another serves there."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["broker", "--port", str(port), "--data-dir", str(tmp_path)]) == 1
    assert f"something listens on port {port} already" in capsys.readouterr().err


def test_completion_knows_flags_and_choices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The script has every command's flags; the values of a setting are asked for."""
    monkeypatch.setenv("HOME", str(tmp_path))
    script = tmp_path / "completion"
    assert main(["--install-completion", "--shell", "bash", "--output", str(script)]) == 0
    assert {"--max-concurrency", "--if-changed", "--everything", "--character"} <= {
        *re.findall(r"--[a-z-]+", script.read_text(encoding="utf-8"))
    }
    capsys.readouterr()
    assert main(["__complete", "run", "--mode", ""]) == 0
    assert {"fanout", "fused"} <= {*capsys.readouterr().out.split()}


COMPLETED = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_docsluice
echo "${COMPREPLY[*]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_finds_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind each flag that takes a path, and where `send` takes one."""
    monkeypatch.chdir(tmp_path)
    Path("pipeline.yaml").touch()
    script = tmp_path / "completion"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["--install-completion", "--shell", "bash", "--output", str(script)]) == 0
    settings = ("pipeline", "env-file", "prices", "state-dir", "openai-api-key-file")
    certificates = ("cafile", "certfile", "keyfile")
    for words in (
        *(("run", f"--{name}") for name in settings),
        *(("check", f"--kafka-ssl-{name}") for name in certificates),
        ("send",),
        ("follow", "--to"),
        ("dead-letters", "export", "--to"),
    ):
        command = ["bash", "-c", COMPLETED, "bash", str(script), "docsluice", *words, "pipe"]
        completed = subprocess.run(command, capture_output=True, text=True, check=True)
        assert completed.stdout == "pipeline.yaml\n", words


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("arguments", [["--help"], ["rehearse", "--character", "list"], ["check"]])
def test_a_full_disk_as_output_is_told_in_a_line(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """And ends the command with a fault."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123 - a device
        command = [sys.executable, "-m", "docsluice.cli", *arguments]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "docsluice: the output could not be written: No space left on device\n"


@pytest.mark.long
def test_a_command_that_may_open_no_file_ends_with_a_line(tmp_path: Path) -> None:
    """It is imported when it is called, and then even its own code cannot be read."""
    few = ("sh", "-c", 'ulimit -n 6 && exec "$@"', "sh")  # the event loop has the last of them
    settings = {"OPENAI_API_KEY": "none-is-needed", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    ended = subprocess.run(
        [*few, sys.executable, "-m", "docsluice.cli", "check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, **settings},
    )
    assert ended.returncode == 1
    assert ended.stderr == "docsluice: too many open files (ulimit -n is 6): raise the limit\n"

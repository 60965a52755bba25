"""The command line of `docsluice-consumer`, as far as it needs no broker."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from docsluice_consumer.__main__ import main
from docsluice_consumer.commands.service_commands import _signals
from docsluice_consumer.settings import Settings, variable_of

SECRETS = {"openai_api_key", "kafka_sasl_password", "schema_registry_password", "shared_limits_url", "store_url"}


def _shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is printed by a command that ends well, on one line however it was wrapped."""
    assert main(list(arguments)) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return " ".join(shown.out.split())


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """As the log and the metrics say it."""
    assert _shown(capsys, "--version") == f"docsluice-consumer {importlib.metadata.version('docsluice')}"


def test_help_names_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of this program only."""
    said = _shown(capsys, "--help")
    assert "run Consume until told to stop." in said
    assert "check Try the settings" in said
    assert "send" not in said.partition("The service:")[2]


@pytest.mark.parametrize("command", ["run", "check"])
def test_help_says_what_each_flag_is_for(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its variable, its default and its choices; secrets have no flag, and no file is named that is not there."""
    said = _shown(capsys, command, "--help")
    for field in Settings.model_fields:
        assert (f"--{field.replace('_', '-')} " in said) == (field not in SECRETS)
        assert (f"({variable_of(field)}" in said) == (field not in SECRETS)
    assert "--model VALUE model for tasks that name none (DOCSLUICE_MODEL, default gpt-4o-mini)" in said
    assert "(DOCSLUICE_REQUEST_TIMEOUT_SECONDS, default 60)" in said
    assert "(DOCSLUICE_COMMIT_INTERVAL_SECONDS, default 0.5)" in said
    assert "--mode fanout|fused" in said
    assert "(DOCSLUICE_MODE)" in said
    assert "docs/" not in said
    assert "exit codes: 0 drained, or all well 1 a fault 2 bad settings or wrong usage" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the command must be one of run, check, plan; see docsluice-consumer --help"),
        (["chek"], "the command must be one of run, check, plan; did you mean check?; see docsluice-consumer --help"),
        (["run", "--modle", "sk-secret"], "there is no flag --modle; did you mean --mode?"),
        (["run", "--modle=sk-secret"], "there is no flag --modle; did you mean --mode?"),
        (["run", "--kafka=sk-secret"], "there is no flag --kafka"),
        (["run", "-psk-secret"], "there is no flag -p"),
        (["--openai-api-key", "sk-secret", "run"], "the command must be one of run, check, plan"),
        (["check", "sk-secret"], "there is a value without a flag"),
        (["run", "--model"], "--model needs a value; see docsluice-consumer run --help"),
        (
            ["run", "--openai-api-key", "sk-secret"],
            "--openai-api-key: there is no such flag, for a command line can be",
        ),
        (["run", "--kafka-sasl-password=sk-secret"], "--kafka-sasl-password: there is no such flag, for a command"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without the list of all flags, and without a value, which may be a secret."""
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    (line,) = shown.err.splitlines()
    assert line.startswith(f"docsluice-consumer: {said}")
    assert line.endswith(" --help")
    assert "sk-secret" not in line


def test_a_flag_of_a_secret_names_its_variable(capsys: pytest.CaptureFixture[str]) -> None:
    """There is no such flag, and this is what to do instead."""
    assert main(["run", "--openai-api-key=x"]) == 2
    assert "; set OPENAI_API_KEY; " in capsys.readouterr().err


def test_a_flag_that_is_said_twice_is_as_said_last(capsys: pytest.CaptureFixture[str]) -> None:
    """A script may append a flag to those that it was given."""
    assert main(["run", "--max-attempts", "0", "--max-attempts", "1", "--mode", "both"]) == 2
    assert capsys.readouterr().err == "docsluice-consumer: DOCSLUICE_MODE: must be one of fanout, fused\n"


def test_bad_settings_are_a_line_each_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    """Those of flags too."""
    assert main(["run", "--max-attempts", "0", "--mode", "both"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "docsluice-consumer: DOCSLUICE_MODE: must be one of fanout, fused",
        "docsluice-consumer: DOCSLUICE_MAX_ATTEMPTS: must be at least 1",
    ]


@pytest.mark.long
@pytest.mark.parametrize(("arguments", "code"), [(["check"], 1), (["check", "--help"], 0), (["--help"], 0)])
def test_a_reader_that_leaves_is_no_bug(arguments: list[str], code: int) -> None:
    """As in `docsluice-consumer check | head -1`: no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "OPENAI_BASE_URL": "http://127.0.0.1:1/v1", "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    command = [sys.executable, "-m", "docsluice_consumer", *arguments]
    ended = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (code, b"")


@pytest.fixture
def _handlers() -> Iterator[None]:
    """Put back what the process does on signals."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_each_of_these_signals_asks_for_a_drain(number: signal.Signals) -> None:
    """Also the one that a terminal sends when it is closed."""
    with _signals(resume=lambda: None) as stop:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stop.wait(), 5)


@pytest.mark.usefixtures("_handlers")
async def test_a_terminal_that_hangs_up_twice_cuts_nothing_off() -> None:
    """The shell and the kernel may both say so, and end the rest; what was begun is finished all the same."""
    with _signals(resume=lambda: None) as stop:
        for number in (signal.SIGHUP, signal.SIGHUP, signal.SIGTERM):
            os.kill(os.getpid(), number)
            await asyncio.wait_for(stop.wait(), 5)
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("_handlers")
async def test_under_nohup_a_hang_up_is_ignored() -> None:
    """A person who asked for that wants it to go on."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with _signals(resume=lambda: None) as stop:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert not stop.is_set()

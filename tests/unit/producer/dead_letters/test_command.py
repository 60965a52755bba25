"""The command line of `docsluice-producer dead-letters`, as far as it needs no broker."""

from __future__ import annotations

import argparse
import io
import re
from pathlib import Path

import pytest

from docsluice_producer.__main__ import main
from docsluice_producer.arguments import parser
from docsluice_producer.command_line import exits
from docsluice_producer.command_line.exits import Exit

ROOT = Path(__file__).parents[4]
COMMANDS = ("list", "show", "redrive", "export", "drop")


def flags(command: str) -> list[argparse.Action]:
    """Every flag and ID of a command, but for --help."""
    found: argparse.ArgumentParser = parser()
    for name in ("dead-letters", command):
        found = next(one for one in found._actions if isinstance(one, argparse._SubParsersAction)).choices[name]
    return [action for action in found._actions if action.dest != "help"]


@pytest.mark.parametrize(
    ("arguments", "named", "where"),
    [
        ([], "COMMAND", ""),
        (["lst"], "'lst'", ""),
        (["show"], "ID", " show"),
        (["list", "--verbose"], "--verbose", " list"),
        (["list", "--reason", "bad_luck"], "bad_luck", " list"),
        (["list", "--since", "yesterday"], "--since", " list"),
        (["list", "--limit", "0"], "--limit", " list"),
        (["redrive", "--per-second", "0"], "--per-second", " redrive"),
        (["redrive", "--force", "--max-replays", "2"], "--max-replays", " redrive"),
        (["redrive", "--force", "--max-replays", "3"], "--max-replays", " redrive"),
        (["redrive", "--max-replays", "3", "--force"], "--force", " redrive"),
        (["export"], "--to", " export"),
        (["export", "--to", "out.csv"], "--to out.csv", " export"),
        (["drop", "--yes"], "--everything", " drop"),
        (["drop", "--limit", "3", "--yes"], "--everything", " drop"),
        (["drop", "--everything"], "--yes", " drop"),
        *(
            (["drop", "--everything", "--yes", flag, value], "choose one: --everything, or --reason", " drop")
            for flag, value in (("--reason", "refused"), ("--step", "summary"), ("--since", "1d"), ("--id", "d1"))
        ),
        (["drop", "--reason", "refused"], "--yes", " drop"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    named: str,
    where: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong is named in one line, which ends with the --help of the very command. A drop is not assumed."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert main(["dead-letters", *arguments]) == Exit.WRONG_USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert named in line
    assert line.endswith(f"; see docsluice-producer dead-letters{where} --help")


@pytest.mark.parametrize("name", ["--topic", "--dead-letter-topic"])
def test_a_topic_must_have_a_possible_name(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As for send and follow."""
    assert main(["dead-letters", "redrive", name, "a/b"]) == Exit.WRONG_USAGE
    assert "'a/b'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["show", "x"], ["redrive"], ["redrive", "--dry-run"], ["export", "--to", "-"], ["drop", "--everything"]],
)
def test_no_broker_is_exit_code_1(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A broker that is not there is a fault in one line, not a trace."""
    arguments = ["dead-letters", *arguments, "--bootstrap-servers", "localhost:1", "--wait-seconds", "0"]
    assert main([*arguments, *(["--yes"] if "drop" in arguments else [])]) == Exit.FAULT
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("docsluice-producer: no broker at localhost:1")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_meaning_and_a_default(command: str) -> None:
    """Each flag's help is words and, in brackets, what happens without it. A default is the one that is shown."""
    for flag in flags(command):
        words = flag.help or ""
        if flag.option_strings:
            words, _, default = words.partition(" (default: ")
            assert default.endswith(")"), flag
        assert len(words.split()) > 2, flag
        assert flag.nargs == 0 or flag.choices or flag.metavar, flag
        if flag.default not in (None, False):
            assert "%(default)" in (flag.help or ""), flag


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_every_exit_code(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with one line for each exit code."""
    with pytest.raises(SystemExit):
        main(["dead-letters", command, "--help"])
    lines = capsys.readouterr().out.partition("exit codes:\n")[2].splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [
        [f"{code:d}", text] for code, text in exits.OF_DEAD_LETTERS.items()
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_names_every_flag(command: str) -> None:
    """docs/reference/dead-letters.md has each flag that is not one of the connection."""
    page = (ROOT / "docs" / "reference" / "dead-letters.md").read_text(encoding="utf-8")
    named = set(re.findall(r"--[a-z-]+", page))
    of_the_connection = {"--bootstrap-servers", "--wait-seconds", "--env-file"}
    assert {name for flag in flags(command) for name in flag.option_strings} - of_the_connection <= named

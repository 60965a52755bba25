"""The command line of `docsluice dead-letters`, as far as it needs no broker."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from docsluice_producer.__main__ import main
from docsluice_producer.command_line import exits
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.dead_letters.redriving import MOST_REPLAYS
from tests.unit.producer.test_producer_command import flags

ROOT = Path(__file__).parents[4]
COMMANDS = ("list", "show", "redrive", "export", "drop")


@pytest.mark.parametrize(
    ("arguments", "named", "where"),
    [
        ([], "one of list, show, redrive, export, drop", ""),
        (["lst"], "did you mean list?", ""),
        (["show"], "ID", " show"),
        (["list", "--verbose"], "--verbose", " list"),
        (["list", "--reason", "bad_luck"], "--reason: must be one of undecodable", " list"),
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
    """Whatever is wrong is named in one line, which ends with the --help of the very command; a drop is not assumed."""
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
    """Each flag's help is words; a value has a name that says what it is, and what happens without it is told."""
    for flag in flags("dead-letters", command):
        if flag.children:
            continue
        assert len((flag.parameter.help or "").split()) > 2, flag.name
        if flag.hint is not bool and flag.field_info.is_keyword and not flag.required:
            assert flag.parameter.metavar, flag.name
            assert (flag.field_info.default in (None, ())) == ("[default: " in (flag.parameter.help or "")), flag.name


def test_the_bound_on_replays_is_as_written() -> None:
    """It has no default of its own: that very number may not be said beside --force."""
    (bound,) = (flag for flag in flags("dead-letters", "redrive") if flag.name == "--max-replays")
    assert f"[default: {MOST_REPLAYS}]" in (bound.parameter.help or "")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_every_exit_code(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with the exit codes."""
    assert main(["dead-letters", command, "--help"]) == Exit.DONE
    said = " ".join(capsys.readouterr().out.partition("exit codes:\n")[2].split())
    assert said == " ".join(f"{code:d} {text}" for code, text in exits.OF_DEAD_LETTERS.items())


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_names_every_flag(command: str) -> None:
    """docs/reference/dead-letters.md has each flag that is not one of the connection."""
    page = (ROOT / "docs" / "reference" / "dead-letters.md").read_text(encoding="utf-8")
    named = set(re.findall(r"--[a-z-]+", page))
    of_the_connection = {"--bootstrap-servers", "--wait-seconds", "--env-file"}
    names = {name for flag in flags("dead-letters", command) for name in flag.names if name.startswith("--")}
    assert names - of_the_connection <= named

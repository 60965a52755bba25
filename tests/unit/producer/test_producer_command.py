"""The command line of `docsluice-producer`, as far as it needs no broker."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cyclopts import ArgumentCollection

from docsluice.cli.commands import app_of
from docsluice_consumer.settings import Settings, variable_of
from docsluice_producer.__main__ import main
from docsluice_producer.command_line import exits
from docsluice_producer.command_line.exits import Exit
from docsluice_producer.command_line.unknown_variables import SETTINGS

ROOT = Path(__file__).parents[3]
COMMANDS = {"send": exits.OF_SEND, "follow": exits.OF_FOLLOW}


def flags(*commands: str) -> ArgumentCollection:
    """Every flag and PATH of a command."""
    _, apps, _ = app_of("docsluice", ["send", "follow", "dead-letters"], called=commands[0]).parse_commands(commands)
    return apps[-1].assemble_argument_collection(parse_docstring=True)


def shown_help(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main([command, "--help"]) == 0
    return capsys.readouterr().out


def rows(path: Path, *documents: str) -> str:
    path.write_text(
        "".join(json.dumps({"document_id": one, "text": one}) + "\n" for one in documents), encoding="utf-8"
    )
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "one of send, follow, dead-letters"),
        (["snd"], "did you mean send?"),
        (["--verbose"], "one of send, follow, dead-letters"),
        (["send"], "PATH"),
        (["send", "-", "--ver\nbose", "--two"], "--ver bose"),
        (["follow", "x"], "a value without a flag"),
        (["send", "missing.txt"], "missing.txt"),
        (["send", "-", "--format", "xml"], "--format"),
        (["send", "-", "--topic", "no topic"], "'no topic'"),
        (["send", "-", "--topic", "."], "'.'"),
        (["send", "-", "--limit", "0"], "--limit"),
        (["send", "-", "--partitions", "3"], "--create-topic"),
        (["send", "-", "--wait-seconds", "soon"], "--wait-seconds"),
        (["send", "-", "--bootstrap-servers", "nowhere:x"], "KAFKA_BOOTSTRAP_SERVERS"),
        (["follow", "--since", "yesterday"], "--since"),
        (["follow", "--since", "1h", "--from-beginning"], "--from-beginning"),
        (["follow", "--until", "-1"], "--until"),
        (["follow", "--to", "out.xlsx"], "--to"),
        (["follow", "--result-topic", "a/b"], "'a/b'"),
        (["send", "-", "--pipeline-version", "0123456789ab"], "--pipeline-version is for --if-changed"),
        (["send", "-", "--metrics-url", "http://h/metrics"], "--metrics-url is for --if-changed"),
        (["send", "-", "--result-topic", "r"], "--result-topic is for --if-changed"),
        (["send", "-", "--if-changed", "--result-topic", "a/b"], "'a/b'"),
        (["send", "-", "--if-changed", "--pipeline-version", "v1"], "'v1'"),
        (
            ["send", "-", "--if-changed", "--metrics-url", "http://h/", "--pipeline-version", "0123456789ab"],
            "--pipeline-version",
        ),
        *(
            (["follow", "--metrics-url", url], f"--metrics-url: {url!r}")
            for url in (
                "",
                "localhost:9464/metrics",
                "ftp://localhost/metrics",
                "http:///metrics",
                "http://localhost:x/metrics",
                "http://localhost:0/metrics",
                "http://localhost:65536/metrics",
                "http://[::1/metrics",
                "http://local host/metrics",
                "http://localhost/\nmetrics",
            )
        ),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever is wrong with the arguments is said in one line that names it."""
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("docsluice-producer: ")
    assert named in line


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ([], "docsluice-producer"),
        (["snd"], "docsluice-producer"),
        (["send", "-", "--verbose"], "docsluice-producer send"),
        (["send", "-", "--limit", "0"], "docsluice-producer send"),
        (["send", "-", "--partitions", "3"], "docsluice-producer send"),
        (["follow", "x"], "docsluice-producer follow"),
        (["follow", "--since", "1h", "--from-beginning"], "docsluice-producer follow"),
    ],
)
def test_wrong_arguments_are_told_where_the_right_ones_are(
    arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line ends with the --help of the very command that was meant."""
    assert main(arguments) == Exit.WRONG_USAGE
    assert capsys.readouterr().err.endswith(f"; see {command} --help\n")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--vers"], "did you mean --version?"),
        (["send", "-", "--dry"], "--dry"),
        (["follow", "--from"], "--from"),
        (["dead-letters", "redrive", "--to", "documents"], "--to"),
        (["dead-letters", "redrive", "--f"], "--f"),
        (["dead-letters", "drop", "--ev", "--y"], "--ev"),
    ],
)
def test_no_flag_is_guessed_from_its_beginning(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part of a flag's name is no flag, of any command."""
    assert main(arguments) == Exit.WRONG_USAGE
    assert named in capsys.readouterr().err


def test_a_bad_setting_is_exit_code_2(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting of the environment that cannot work is named like an argument."""
    monkeypatch.setenv("DOCSLUICE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    assert main(["send", "-"]) == 2
    assert "DOCSLUICE_KAFKA_SASL_USERNAME" in capsys.readouterr().err


def test_a_port_where_no_consumer_can_be_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is wrong only when it is needed, and the ways around it are said."""
    monkeypatch.setenv("DOCSLUICE_HTTP_PORT", "0")
    assert main(["send", "-", "--if-changed"]) == Exit.WRONG_USAGE
    assert "--pipeline-version V" in capsys.readouterr().err
    version = ["--if-changed", "--pipeline-version", "0123456789ab"]
    away = ["--bootstrap-servers", "localhost:1", "--wait-seconds", "0"]
    assert main(["send", "-", *version, *away]) == Exit.FAULT


def test_no_broker_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A broker that is not there is a fault in one line, not a trace."""
    arguments = ["--bootstrap-servers", "localhost:1", "--wait-seconds", "0"]
    for command in (["send", rows(tmp_path / "a.jsonl", "a")], ["follow"]):
        assert main([*command, *arguments]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("docsluice-producer: no broker at localhost:1")


def test_a_dry_run_says_what_would_be_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every row is checked and counted, the topic named, and no broker needed."""
    assert main(["send", "--dry-run", "--topic", "t", rows(tmp_path / "a.jsonl", "first", "second")]) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].startswith("dry run: 2 documents would be sent to t, ")
    assert "ids: first, second" in shown.out
    assert shown.err == ""


def test_a_dry_run_reports_bad_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bad rows are told by file and line on standard error, counted on standard output, and are exit code 3."""
    path = tmp_path / "a.jsonl"
    rows(path, "good", " ")
    assert main(["send", "--dry-run", str(path)]) == Exit.INCOMPLETE
    shown = capsys.readouterr()
    assert shown.err == f"{path}:2: 'document_id' is blank\n"
    assert "1 document would be sent to documents" in shown.out
    assert "1 bad row or file not sent" in shown.out


def test_a_limit_counts_documents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--limit stops after so many good rows, and what is behind them is not even checked."""
    path = tmp_path / "a.jsonl"
    rows(path, " ", "a", "b")
    with path.open("a", encoding="utf-8") as file:
        file.write("not read\n")
    assert main(["send", "--dry-run", "--limit", "2", str(path)]) == Exit.INCOMPLETE
    assert "ids: a, b\n1 bad row or file not sent" in capsys.readouterr().out


def test_repeated_ids_are_told_and_no_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The summary counts documents with the id of an earlier one, over all files; the exit code stays 0."""
    paths = [rows(tmp_path / "a.jsonl", "a", "b", "a"), rows(tmp_path / "b.jsonl", "c", "a")]
    assert main(["send", "--dry-run", *paths]) == Exit.DONE
    shown = capsys.readouterr()
    assert "5 documents would be sent" in shown.out
    assert shown.out.splitlines()[-1].startswith("2 documents have the id of an earlier one, for instance a: ")
    assert shown.err == ""


def test_files_that_are_not_read_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder's other files are not skipped in silence."""
    (tmp_path / "a.txt").write_text("a", encoding="utf-8")
    (tmp_path / "b.png").write_text("b", encoding="utf-8")
    (tmp_path / "LICENSE").write_text("b", encoding="utf-8")
    assert main(["send", "--dry-run", str(tmp_path)]) == 0
    named = f"{tmp_path}/LICENSE, {tmp_path}/b.png"
    line = f"2 files of no known kind in the folders, not read (no suffix 1, .png 1): {named}"
    assert line in capsys.readouterr().out


@pytest.mark.long
def test_standard_input_is_read_as_it_says() -> None:
    """`-` reads JSON lines, or what --format says."""
    for flags, data in (
        ([], b'{"document_id": "a", "text": "t"}\n'),
        (["--format", "csv"], b"document_id,text\na,t\n"),
    ):
        command = [sys.executable, "-m", "docsluice_producer", "send", "-", "--dry-run", *flags]
        ended = subprocess.run(command, input=data, capture_output=True, check=False)
        assert (ended.returncode, ended.stderr) == (0, b"")
        assert b"1 document would be sent" in ended.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_has_a_meaning_and_a_default(command: str) -> None:
    """Each flag's help is words; a value has a name that says what it is, and what happens without it is told."""
    for flag in flags(command):
        if flag.children:
            continue
        assert len((flag.parameter.help or "").split()) > 2, flag.name
        if flag.hint is not bool and flag.field_info.is_keyword:
            assert flag.parameter.metavar, flag.name
            assert (flag.field_info.default in (None, ())) == ("[default: " in (flag.parameter.help or "")), flag.name


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_has_every_exit_code(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """--help ends with the exit codes of the command."""
    said = " ".join(shown_help(command, capsys).partition("exit codes:\n")[2].split())
    assert said == " ".join(f"{code:d} {text}" for code, text in COMMANDS[command].items())


def test_the_page_has_every_exit_code() -> None:
    """The page has a row for each exit code, in the words of --help, with a column for each command."""
    page = (ROOT / "docs" / "reference" / "producer.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip().replace("`", "") for cell in row.split("|")]
        for row in re.findall(r"^\| (\d.*) \|$", page, re.MULTILINE)
    ]
    commands = (exits.OF_SEND, exits.OF_FOLLOW, exits.OF_DEAD_LETTERS)
    assert rows == [[f"{code:d}", *(meanings.get(code, "-") for meanings in commands)] for code in Exit]


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """--version is the program's name and the installed version, on standard output."""
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"docsluice-producer {importlib.metadata.version('docsluice')}\n"


def test_a_misspelt_variable_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the service does, in the environment and in `.env`; nothing else is any different."""
    (tmp_path / ".env").write_text("DOCSLUICE_XYZZY=1\nDOCSLUICE_OPENAI_API_KEY=secret\nOTHER=1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCSLUICE_DEAD_LETTERS_TOPIC", "x")
    monkeypatch.setenv("DOCSLUICE_MAX_CONCURRENCY", "4")
    assert main(["send", rows(tmp_path / "d.jsonl", "a"), "--dry-run"]) == Exit.DONE
    assert capsys.readouterr().err.splitlines() == [
        "docsluice-producer: DOCSLUICE_DEAD_LETTERS_TOPIC is no setting; did you mean DOCSLUICE_DEAD_LETTER_TOPIC?",
        "docsluice-producer: DOCSLUICE_OPENAI_API_KEY is no setting; did you mean OPENAI_API_KEY?",
        "docsluice-producer: DOCSLUICE_XYZZY is no setting",
    ]


def test_every_setting_is_known() -> None:
    """The service's own ones, none less and none more."""
    assert {variable_of(field) for field in Settings.model_fields} == SETTINGS

"""A `.env` is taken as it is written, and sends no secret that is not its own where nobody has said so."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from docsluice.cli.output import CommandFailed
from docsluice.settings.env_file import EnvFile, read_env_file
from docsluice_consumer.__main__ import main
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.settings import Settings, load_settings
from docsluice_producer.kafka.connection_flags import Connection
from tests.fakes.process_logs import logs_as_before

KEY, PASSWORD = "sk-0123456789abcdef0123456789", "correct horse battery staple"
ELSEWHERE = "http://elsewhere.example/v1"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with logs_as_before():
        yield


def _problems(**more: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**more)
    for problem in caught.value.problems:
        assert KEY not in problem
        assert PASSWORD not in problem
    return caught.value.problems


def _env_file(content: str, name: str = ".env") -> Path:
    path = Path(name)
    path.write_text(content, encoding="utf-8")
    return path


# As it is written


def test_nothing_is_put_in_the_place_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key of the environment would become a model's name, and stand in every metric and result."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OTHER", "x")
    for content in ("DOCSLUICE_MODEL=${OPENAI_API_KEY}", "DOCSLUICE_GROUP_ID=a-${OTHER}-b", "DOCSLUICE_MODEL=$OTHER"):
        _env_file(content)
        (problem,) = _problems()
        assert problem.startswith(f"{content.partition('=')[0]}: ")
        assert "write the value itself" in problem


def test_a_password_may_look_like_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Taken by the letter. Only one that is nothing else is a mistake, and so is such a key, wherever it stands."""
    sasl = "DOCSLUICE_KAFKA_SECURITY_PROTOCOL=SASL_SSL\nDOCSLUICE_KAFKA_SASL_USERNAME=me\n"
    _env_file(sasl + "OPENAI_API_KEY=sk-1\nDOCSLUICE_KAFKA_SASL_PASSWORD='a${HOME}b'\n")
    assert load_settings().kafka_sasl_password == SecretStr("a${HOME}b")
    _env_file(sasl + "OPENAI_API_KEY=${MY_KEY}\nDOCSLUICE_KAFKA_SASL_PASSWORD=${HOME}\n")
    assert [problem.partition(":")[0] for problem in _problems()] == [
        "OPENAI_API_KEY",
        "OPENAI_API_KEY",
        "DOCSLUICE_KAFKA_SASL_PASSWORD",
    ]
    _env_file("")
    monkeypatch.setenv("OPENAI_API_KEY", "${MY_KEY}")
    assert _problems() == ["OPENAI_API_KEY: refers to a variable, and nothing is put in its place; give the key itself"]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffOPENAI_API_KEY=sk-1",
        "openai_api_key=sk-1",
        "export OPENAI_API_KEY='sk-1'",
        'A\r\n# b\r\n\r\nOPENAI_API_KEY = "sk-1" # c\r\n',
        "OPENAI_API_KEY=sk-0\rOPENAI_API_KEY=sk-1\r",
    ],
)
def test_what_a_file_may_look_like(content: str) -> None:
    """With a byte order mark, in small letters, as a shell would have it."""
    _env_file(content)
    assert load_settings().openai_api_key == SecretStr("sk-1")


def test_a_folder_of_that_name_is_none() -> None:
    """People keep their virtual environments there."""
    Path(".env").mkdir()
    assert read_env_file(None) == EnvFile()


@pytest.mark.parametrize("explicit", [True, False])
def test_a_file_that_cannot_be_read_is_named(*, explicit: bool) -> None:
    """In a line without anything of it."""
    path = _env_file("", "named.env" if explicit else ".env")
    for content, words in (
        (b"A=\xe9", "not valid UTF-8 at byte 2"),
        ("A=1\r\n".encode("utf-16"), "in UTF-16LE, as PowerShell's > writes; save it as UTF-8"),
        (b"A=1\n" * 400_000, "larger than 1048576"),
        (b"# a\nA=1\nB: secret\n", "line 3 is not NAME=value"),
        (b"set A=secret\n", "line 1 is not NAME=value"),
        (b'A=1\nB="secret\nC=2\n', "line 2 is not NAME=value, or its quote is never closed"),
    ):
        path.write_bytes(content)
        (problem,) = _problems(env_file=path if explicit else None)
        assert problem.startswith(f"{path}: {words}")
        assert "secret" not in problem


def test_a_file_that_was_named_must_be_there() -> None:
    """Unlike the one that may lie in the folder."""
    assert _problems(env_file=Path("nowhere/.env")) == ["nowhere/.env: cannot be read (No such file or directory)"]


def test_a_folder_that_may_not_be_searched_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a `.env` is in it cannot be known, and a stack trace says nothing of that."""

    def refused(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "exists", refused)
    assert _problems() == [".env: cannot be read (Permission denied)"]


def test_a_pipe_of_that_name_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may ever write to it. One that is named, as a shell's <(…) is, is read."""
    os.mkfifo(".env")
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("it is opened"))
    assert _problems() == [".env: a named pipe, so it is no file of settings"]


# Where secrets go


MIXES = [
    pytest.param("OPENAI_BASE_URL=" + ELSEWHERE, {"OPENAI_API_KEY": KEY}, {}, "OPENAI_BASE_URL", id="key"),
    pytest.param(
        "OPENAI_BASE_URL=" + ELSEWHERE, {"DOCSLUICE_OPENAI_API_KEY_FILE": "/k"}, {}, "OPENAI_BASE_URL", id="key file"
    ),
    pytest.param(
        "OPENAI_BASE_URL=" + ELSEWHERE, {}, {"openai_api_key_command": "pass"}, "OPENAI_BASE_URL", id="key command"
    ),
    pytest.param(
        f"OPENAI_BASE_URL={ELSEWHERE}\nDOCSLUICE_OPENAI_API_KEY_FILE=/home/me/.ssh/id_rsa",
        {},
        {},
        "OPENAI_BASE_URL",
        id="a file that the file names",
    ),
    *(
        pytest.param(
            f"{name}={value}",
            {
                "OPENAI_API_KEY": KEY,
                "DOCSLUICE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
                "DOCSLUICE_KAFKA_SASL_USERNAME": "me",
                "DOCSLUICE_KAFKA_SASL_PASSWORD": PASSWORD,
                name: "",
            },
            {},
            name,
            id=name,
        )
        for name, value in (
            ("KAFKA_BOOTSTRAP_SERVERS", "elsewhere:9092"),
            ("DOCSLUICE_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
            ("DOCSLUICE_KAFKA_SASL_MECHANISM", "PLAIN"),
            ("DOCSLUICE_KAFKA_SSL_CAFILE", "/etc/elsewhere.pem"),
        )
    ),
    pytest.param(
        "DOCSLUICE_STORE_URL=redis://elsewhere:6379/0", {"OPENAI_API_KEY": KEY}, {}, "DOCSLUICE_STORE_URL", id="store"
    ),
]


@pytest.mark.parametrize(("content", "environment", "flags", "named"), MIXES)
def test_an_address_of_the_file_and_a_secret_of_elsewhere_need_a_word(
    content: str, environment: dict[str, str], flags: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may have come with the folder. A named file is trusted."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    path = _env_file(content)
    (problem,) = _problems(overrides=flags)
    assert problem.startswith(f"{named}: set by .env in the working folder, and ")
    assert "--env-file" in problem
    assert load_settings(flags, env_file=path).env_file.is_named


@pytest.mark.parametrize(
    ("content", "environment"),
    [
        pytest.param(f"OPENAI_BASE_URL={ELSEWHERE}\nOPENAI_API_KEY={KEY}", {}, id="both in the file"),
        pytest.param(f"OPENAI_API_KEY={KEY}", {"OPENAI_BASE_URL": ELSEWHERE}, id="the secret alone in the file"),
        pytest.param(f"OPENAI_BASE_URL={ELSEWHERE}", {}, id="no secret"),
        pytest.param(
            f"OPENAI_BASE_URL={ELSEWHERE}",
            {"OPENAI_BASE_URL": "http://mine/v1", "OPENAI_API_KEY": KEY},
            id="another address in the environment, which comes first",
        ),
        pytest.param("DOCSLUICE_STORE_URL=sqlite:///steps", {"OPENAI_API_KEY": KEY}, id="a store on this machine"),
        pytest.param("KAFKA_BOOTSTRAP_SERVERS=b:9092", {"OPENAI_API_KEY": KEY}, id="a secret that does not go there"),
    ],
)
def test_what_needs_no_word(content: str, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing goes to an address that its owner has not set."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    _env_file(content)
    assert load_settings()


def test_a_flag_is_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that is said on the command line is not the file's."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _env_file("OPENAI_BASE_URL=" + ELSEWHERE)
    assert load_settings({"openai_base_url": "http://mine/v1"}).openai_base_url == "http://mine/v1"


def test_no_file_that_nobody_has_named_has_a_command_run(tmp_path: Path) -> None:
    """It would run with all rights of the user who starts the program in that folder."""
    made = tmp_path / "made"
    path = _env_file(f"DOCSLUICE_OPENAI_API_KEY_COMMAND=touch {made}")
    (problem,) = _problems()
    assert problem.startswith("DOCSLUICE_OPENAI_API_KEY_COMMAND: set by .env in the working folder, which may name no")
    assert not made.exists()
    assert load_settings(env_file=path).openai_api_key_command == f"touch {made}"


def test_a_proxy_comes_from_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file can neither send calls through one, nor have another's certificates trusted."""
    for name in ("HTTPS_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    settings = load_settings(env_file=_env_file(f"OPENAI_API_KEY={KEY}\nHTTPS_PROXY=http://e:1\nSSL_CERT_FILE=/tmp/ca"))
    assert settings.given_by_file == {"OPENAI_API_KEY"}
    assert "HTTPS_PROXY" not in os.environ
    assert "SSL_CERT_FILE" not in os.environ


# A pipeline file that it names


PIPELINE = """
providers:
  own: {base_url: "http://elsewhere.example/v1", %s}
tasks:
  - {name: t, prompt: P, model: own/m, output: {type: text}}
"""


@pytest.mark.parametrize("source", ["api_key_env: OWN_KEY", "api_key_file: /k", "api_key_command: pass show own"])
def test_a_pipeline_of_a_file_that_nobody_has_named_gets_no_secret(
    source: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its providers are where it says, and it may ask for any variable by name."""
    monkeypatch.setenv("OWN_KEY", KEY)
    Path("p.yaml").write_text("name: p" + PIPELINE % source)
    _env_file("DOCSLUICE_PIPELINE=p.yaml")
    assert main(["check"]) == 2
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if line.startswith("FAILED   provider")]
    assert "p.yaml: providers.own.base_url: DOCSLUICE_PIPELINE is set by .env in the working folder" in line
    assert KEY not in said.out + said.err


def test_a_pipeline_may_ask_for_a_key_of_its_own_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both are one person's."""
    from docsluice_consumer.bootstrap import providers_of  # noqa: PLC0415
    from docsluice_consumer.tasks.pipeline_file import load_pipeline_file  # noqa: PLC0415
    from docsluice_consumer.tasks.step_building import steps_of  # noqa: PLC0415

    monkeypatch.delenv("OWN_KEY", raising=False)
    Path("p.yaml").write_text("name: p" + PIPELINE % "api_key_env: OWN_KEY")
    _env_file(f"DOCSLUICE_PIPELINE=p.yaml\nOWN_KEY={KEY}")
    settings = load_settings()
    file = load_pipeline_file(settings.pipeline)
    assert providers_of(settings, file, steps_of(file, mode="fanout", default_model="m"))["own"]


# What is said of it


def test_check_names_the_file_and_what_it_gives(capsys: pytest.CaptureFixture[str]) -> None:
    """By the names of the variables. Nobody would look for it elsewhere."""
    _env_file(f"OPENAI_API_KEY={KEY}\nOPENAI_BASE_URL=http://127.0.0.1:1/v1?workspace=hidden\nUNRELATED=1")
    main(["check", "--kafka-bootstrap-servers", "127.0.0.1:1"])
    out = capsys.readouterr().out
    assert "ok       file .env gives OPENAI_API_KEY, OPENAI_BASE_URL\n" in out
    assert "hidden" not in out


@pytest.mark.long
def test_the_log_begins_with_the_file_and_what_it_gives() -> None:
    """And with the address that calls go to, without what stands behind its path."""
    _env_file(f"OPENAI_API_KEY={KEY}\nOPENAI_BASE_URL=http://127.0.0.1:1/v1?workspace=hidden\nUNRELATED=1")
    command = [sys.executable, "-m", "docsluice_consumer", "run", "--http-host", "203.0.113.1", "--log-format", "json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    first = json.loads(ended.stderr.splitlines()[0])
    assert (first["event"], first["path"]) == ("settings.env_file", ".env")
    assert first["variables"] == ["OPENAI_API_KEY", "OPENAI_BASE_URL"]
    assert first["base_url"] == "http://127.0.0.1:1/v1"
    assert "hidden" not in ended.stderr
    assert KEY not in ended.stderr


def test_every_setting_may_stand_in_it() -> None:
    """And is told from those of others."""
    _env_file("OPENAI_API_KEY=sk-1\nDOCSLUICE_MODEL=m\nUNRELATED=1")
    settings = load_settings({"group_id": "flag"})
    assert settings.given_by_file == {"OPENAI_API_KEY", "DOCSLUICE_MODEL"}
    assert isinstance(settings, Settings)


# The producer


def test_the_producer_needs_a_word_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its password goes to the broker that its file names."""
    monkeypatch.setenv("DOCSLUICE_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT")
    monkeypatch.setenv("DOCSLUICE_KAFKA_SASL_USERNAME", "me")
    monkeypatch.setenv("DOCSLUICE_KAFKA_SASL_PASSWORD", PASSWORD)
    path = _env_file("KAFKA_BOOTSTRAP_SERVERS=elsewhere:9092")
    with pytest.raises(CommandFailed) as caught, Connection().settings():
        pass
    assert caught.value.lines[0].startswith("KAFKA_BOOTSTRAP_SERVERS: set by .env in the working folder, and")
    assert PASSWORD not in str(caught.value)
    assert capsys.readouterr().err == ""
    with Connection(env_file=path).settings() as (_, broker):
        assert broker.bootstrap_servers == "elsewhere:9092"
    assert ".env gives KAFKA_BOOTSTRAP_SERVERS" in capsys.readouterr().err
    with Connection(bootstrap_servers="here:9092").settings() as (_, broker):
        assert broker.bootstrap_servers == "here:9092"


def test_the_producer_puts_nothing_in_the_place_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own settings are held to that. Those of others in the file are nobody's business."""
    monkeypatch.setenv("SECRET", PASSWORD)
    _env_file("OTHERS=${SECRET}\n")
    with Connection().settings() as (settings, _):
        assert settings.given_by_file == frozenset()
    _env_file("DOCSLUICE_INPUT_TOPIC=${SECRET}\n")
    with pytest.raises(CommandFailed, match=r"DOCSLUICE_INPUT_TOPIC: "), Connection().settings():
        pass

"""Paths that settings name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docsluice.settings.paths import why_unreadable
from docsluice_consumer.__main__ import main as consumer_main
from docsluice_consumer.bootstrap import providers_of
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.pricing import load_own_prices
from docsluice_consumer.settings import load_settings
from docsluice_consumer.tasks.pipeline_file import load_pipeline_file
from docsluice_consumer.tasks.step_building import steps_of
from docsluice_producer.__main__ import main as producer_main
from tests.fakes.samples import pipeline_file

NO_USER = "~nobody-is-called-so/x"
PATHS = {
    "openai_api_key_file": "DOCSLUICE_OPENAI_API_KEY_FILE",
    "pipeline": "DOCSLUICE_PIPELINE",
    "prices": "DOCSLUICE_PRICES",
    "state_dir": "DOCSLUICE_STATE_DIR",
    "kafka_ssl_cafile": "DOCSLUICE_KAFKA_SSL_CAFILE",
    "kafka_ssl_certfile": "DOCSLUICE_KAFKA_SSL_CERTFILE",
    "kafka_ssl_keyfile": "DOCSLUICE_KAFKA_SSL_KEYFILE",
}


@pytest.mark.parametrize("field", PATHS)
def test_a_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, field: str) -> None:
    """In a file or a flag no shell puts the home folder in."""
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = load_settings({"openai_base_url": "http://x", "kafka_security_protocol": "SSL", field: "~/here"})
    assert str(getattr(settings, field)) == f"{tmp_path}/here"


@pytest.mark.parametrize(("field", "variable"), PATHS.items())
def test_the_home_of_nobody_is_one_line(field: str, variable: str) -> None:
    """It names the setting."""
    with pytest.raises(ConfigurationError) as caught:
        load_settings({"openai_base_url": "http://x", field: NO_USER})
    assert caught.value.problems == [f"{variable}: begins with ~ and a user that there is not; write the path in full"]


@pytest.mark.parametrize("word", ["free", "", "./prices.yaml"])
def test_what_does_not_begin_at_home_stays_as_it_is(word: str) -> None:
    """Prices need not be a file, and a flag may be empty."""
    settings = load_settings({"kafka_security_protocol": "SSL", "prices": word, "kafka_ssl_cafile": word})
    assert (settings.prices, settings.kafka_ssl_cafile) == (word, word)


def _of_key_file(path: str) -> ConfigurationError:
    settings = load_settings({"openai_base_url": "http://x", "openai_api_key_file": path})
    file = load_pipeline_file(None)
    with pytest.raises(ConfigurationError) as caught:
        providers_of(settings, file, steps_of(file, mode="fanout", default_model="m"))
    return caught.value


@pytest.mark.parametrize(
    ("name", "why"), [("missing", "No such file or directory"), ("", "Is a directory"), ("f/x", "Not a directory")]
)
def test_a_key_file_that_cannot_be_read_ends_the_start(tmp_path: Path, name: str, why: str) -> None:
    """Not the first document: the line names the setting and the file."""
    (tmp_path / "f").touch()
    path = str(tmp_path / name)
    (problem,) = _of_key_file(path).problems
    assert problem.startswith(f"the API key cannot be read (DOCSLUICE_OPENAI_API_KEY_FILE {path}): {why}")


def test_a_key_in_place_of_its_file_is_not_told() -> None:
    """Somebody has set the wrong variable of two."""
    (problem,) = _of_key_file("sk-proj-abcdefghij0123456789").problems
    assert problem.startswith("the API key cannot be read (DOCSLUICE_OPENAI_API_KEY_FILE): No such file or directory")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (NO_USER, "file: providers.own.api_key_file: begins with ~ and a user that there is not"),
        ("/missing", r"the API key cannot be read (file: providers.own.api_key_file /missing): No such file"),
    ],
)
def test_the_key_file_of_a_provider_ends_the_start_too(path: str, said: str) -> None:
    """By its place in the pipeline file."""
    task = {"name": "k", "prompt": "P", "output": {"type": "text"}, "model": "own/m"}
    file = pipeline_file(task, providers={"own": {"base_url": "http://own/v1", "api_key_file": path}})
    settings = load_settings({"openai_base_url": "http://x"})
    with pytest.raises(ConfigurationError) as caught:
        providers_of(settings, file, steps_of(file, mode="fanout", default_model="m"))
    (problem,) = caught.value.problems
    assert problem.replace(file.path, "file").startswith(said)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read {path}: No such file or directory"),
        (b"a: [", "{path}: not YAML: "),
        (b'{"a": 1', "{path}: not YAML: "),
        (b"\xff\xfe", "{path}: not valid UTF-8 at byte 0"),
        (b"a: .nan", "{path}: holds what JSON cannot: "),
    ],
)
@pytest.mark.parametrize(
    ("load", "variable"), [(load_own_prices, "DOCSLUICE_PRICES"), (load_pipeline_file, "DOCSLUICE_PIPELINE")]
)
def test_a_file_that_is_none_is_told_with_its_setting(
    tmp_path: Path, load: Callable[[Path], Any], variable: str, content: bytes | None, why: str
) -> None:
    """Whatever is wrong with it, the line says which setting has named it."""
    path = tmp_path / "file.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{variable}: {why.format(path=path)}")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """As for the prices."""
    with pytest.raises(ConfigurationError, match=f"DOCSLUICE_PRICES: cannot read {re.escape(str(tmp_path))}: Is a dir"):
        load_own_prices(tmp_path)


def test_a_word_that_is_no_price_list_is_told_as_one() -> None:
    """A misspelt provider looks like a file that is not there."""
    with pytest.raises(ConfigurationError) as caught:
        load_own_prices(Path("opnai"))
    (problem,) = caught.value.problems
    assert problem == (
        "DOCSLUICE_PRICES: cannot read opnai: No such file or directory; "
        "it is no provider of the price list either (did you mean openai?)"
    )


def test_a_pipe_is_readable(tmp_path: Path) -> None:
    """Some tools hand over a key so. Looking at it waits for nobody."""
    os.mkfifo(tmp_path / "pipe")
    assert why_unreadable(tmp_path / "pipe") is None


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(consumer_main, ["run"]), (consumer_main, ["check"]), (producer_main, ["follow", "--wait-seconds", "1"])],
)
def test_a_working_folder_that_is_gone_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], int],
    arguments: list[str],
) -> None:
    """Somebody has deleted it under the shell."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the working folder cannot be used (No such file or directory)" in line


@pytest.mark.parametrize("main", [consumer_main, producer_main])
@pytest.mark.parametrize("target", ["/proc/self/mem"])
def test_an_env_file_that_cannot_be_read_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    main: Callable[[list[str]], int],
    target: str,
) -> None:
    """Without a trace, and the file is named."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").symlink_to(target)  # a regular file whose reading fails, also for root
    assert main(["run" if main is consumer_main else "follow"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ".env: cannot be read (Input/output error)" in line

"""`docsluice check`, where nobody answers: one line for each part, with the cause."""

from __future__ import annotations

import errno
import json
import logging
import re
import resource
from pathlib import Path
from typing import Any

import pytest
import structlog

from docsluice.kafka.broker import Broker
from docsluice_consumer.__main__ import main
from docsluice_consumer.check.check import check, check_pipeline
from docsluice_consumer.check.findings import Found, tried
from docsluice_consumer.check.providers import check_providers
from docsluice_consumer.commands import service_commands
from docsluice_consumer.errors import BrokerFault, CallRefused, ConfigurationError
from docsluice_consumer.kafka.probe import look_at
from docsluice_consumer.service import Service
from docsluice_consumer.settings import load_settings
from docsluice_consumer.tasks.pipeline_file import load_pipeline_file
from docsluice_consumer.tasks.step_building import steps_of
from tests.fakes.one_answer import one_answer
from tests.fakes.process_logs import logs_as_before

NOBODY, NOBODY_ELSE = "localhost:1", "127.0.0.1:2"
REFUSED = "no connection to the provider: connection refused"
VERSION = load_pipeline_file(None).version(mode="fanout", default_model="gpt-4o-mini")
PIPELINE = f"ok       pipeline built-in (fanout), version {VERSION}: summary, category, keywords"
LIMITS = "ok       limits 16 calls at once, no others"
STORE = "ok       store memory (DOCSLUICE_STORE_URL): reached"


async def _said(**overrides: Any) -> list[str]:
    lines: list[str] = []
    settings = {"kafka_bootstrap_servers": NOBODY, "openai_base_url": f"http://{NOBODY_ELSE}/v1"}
    settings |= {"store_url": "memory://", **overrides}
    with structlog.testing.capture_logs() as logged:
        assert not await check(load_settings(settings), say=lines.append)
    assert logged == []
    return lines


async def test_nobody_there(caplog: pytest.LogCaptureFixture) -> None:
    """Each part is one line with the cause, and no library says anything in between."""
    with caplog.at_level(logging.INFO):
        assert await _said() == [
            PIPELINE,
            LIMITS,
            STORE,
            f"FAILED   broker {NOBODY} (KAFKA_BOOTSTRAP_SERVERS): connection refused",
            f"FAILED   provider http://{NOBODY_ELSE}/v1 (OPENAI_BASE_URL): {REFUSED}",
        ]
    assert [record for record in caplog.records if record.name.startswith("aiokafka")] == []


async def test_too_few_open_files_are_doubtful(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service would start, and send fewer calls at once than it is told to."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    _, limits, doubt, *_ = await _said()
    assert limits == LIMITS
    assert doubt.startswith("DOUBTFUL open files: ulimit -n is 100, and 16 calls at once need 144 open files; raise ")


def test_a_check_that_can_open_no_file_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is no bug of ours, and a trace would tell nobody what to do."""

    async def opens_something(*_: object, **__: object) -> bool:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setenv("OPENAI_BASE_URL", f"http://{NOBODY_ELSE}/v1")
    monkeypatch.setattr("docsluice_consumer.check.check.check", opens_something)
    with logs_as_before():
        assert main(["check"]) == 1
    said = capsys.readouterr()
    assert said.out.startswith("FAILED   open files: too many open files in this process (ulimit -n is ")
    assert said.err == ""


@pytest.mark.parametrize("shape", [[], ["--json"]])
def test_without_a_key_all_else_is_tried(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], shape: list[str]
) -> None:
    """The key is one line among those on all parts. The exit code is that of bad settings."""
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", NOBODY)
    monkeypatch.setenv("DOCSLUICE_STORE_URL", "memory://")
    with logs_as_before():
        assert main(["check", *shape]) == 2
    said = capsys.readouterr()
    assert said.err == ""
    if shape:
        assert [json.loads(line)["state"] for line in said.out.splitlines()] == ["ok", "ok", "ok", "failed", "failed"]
    else:
        *others, key = said.out.splitlines()
        assert others == [
            PIPELINE,
            LIMITS,
            STORE,
            f"FAILED   broker {NOBODY} (KAFKA_BOOTSTRAP_SERVERS): connection refused",
        ]
        assert key.startswith("FAILED   provider: OPENAI_API_KEY: not set; set it, or ")


async def test_the_version_is_that_of_what_would_run() -> None:
    """With the mode and the model of the settings, as the service works it out."""
    line, *_ = await _said(mode="fused", model="other")
    service = Service(load_settings({"mode": "fused", "model": "other", "openai_base_url": f"http://{NOBODY}/v1"}))
    assert service._pipeline_version in line
    assert service._pipeline_version != VERSION


async def test_each_of_several_servers_has_its_cause() -> None:
    """By its address, in one line all the same."""
    *_, broker, _ = await _said(kafka_bootstrap_servers=f"{NOBODY}, [::1]:1,{NOBODY_ELSE}")
    assert broker.endswith(
        f"(KAFKA_BOOTSTRAP_SERVERS): {NOBODY_ELSE}: connection refused; ::1:1: connection refused; "
        f"{NOBODY}: connection refused"
    )


async def test_the_log_of_the_client_is_as_before(caplog: pytest.LogCaptureFixture) -> None:
    """It is listened to for as long as the look takes."""
    caplog.set_level(logging.CRITICAL, "aiokafka")
    logger = logging.getLogger("aiokafka")
    before = (logger.level, logger.propagate, logger.handlers[:])
    with pytest.raises(BrokerFault, match="connection refused"):
        await look_at(Broker(bootstrap_servers=NOBODY), seconds=5)
    assert (logger.level, logger.propagate, logger.handlers) == before


async def test_a_certificate_file_that_cannot_be_used(tmp_path: Path) -> None:
    """It is told as what is wrong with the broker's settings."""
    missing = str(tmp_path / "none.pem")
    *_, broker, _ = await _said(kafka_security_protocol="SSL", kafka_ssl_cafile=missing)
    assert "(KAFKA_BOOTSTRAP_SERVERS): DOCSLUICE_KAFKA_SSL_CAFILE" in broker


async def test_a_misspelt_variable_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Like all that was found, and not a line of the log."""
    monkeypatch.setenv("DOCSLUICE_MODLE", "m")
    lines = await _said()
    assert lines[1] == "DOUBTFUL settings: DOCSLUICE_MODLE is no setting; did you mean DOCSLUICE_MODEL?"


def test_standard_error_stays_empty(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What a person sees on a terminal is the lines and nothing else; the exit code is 1."""
    monkeypatch.setattr("docsluice_consumer.commands.command_settings.configure_logs", lambda **_: None)
    monkeypatch.setenv("DOCSLUICE_MODLE", "m")
    monkeypatch.setenv("DOCSLUICE_STORE_URL", "memory://")
    flags = ["--kafka-bootstrap-servers", NOBODY, "--openai-base-url", f"http://{NOBODY_ELSE}/v1"]
    assert main(["check", *flags]) == 1
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 6
    assert shown.err == ""


def test_what_is_found_as_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An object a line, with the state and what was found."""
    monkeypatch.setattr("docsluice_consumer.commands.command_settings.configure_logs", lambda **_: None)
    monkeypatch.setenv("DOCSLUICE_STORE_URL", "memory://")
    flags = ["--kafka-bootstrap-servers", NOBODY, "--openai-base-url", f"http://{NOBODY_ELSE}/v1"]
    assert main(["check", "--json", *flags]) == 1
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [one["state"] for one in found] == ["ok", "ok", "ok", "failed", "failed"]
    assert found[-2]["finding"].startswith(f"broker {NOBODY} (KAFKA_BOOTSTRAP_SERVERS): ")


def test_a_line_is_wrapped_beside_its_state(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal; a pipe has it whole."""
    line = "FAILED   broker " + "word " * 40 + "end"
    service_commands._show(line)
    assert capsys.readouterr().out == f"{line}\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    service_commands._show(line)
    first, *rest = capsys.readouterr().out.splitlines()
    assert max(map(len, [first, *rest])) <= 60
    assert all(one.startswith(" " * 9 + "word") for one in rest)


async def test_limits_and_the_state_folder_are_shown(tmp_path: Path) -> None:
    """What is set, in words, and that the folder which a budget needs can be written to."""
    _, limits, state, *_ = await _said(
        max_concurrency="auto:2..8", tokens_per_minute=90_000, budget_usd_per_day="2.50", state_dir=tmp_path / "s"
    )
    assert limits == "ok       limits auto:2..8 calls at once, 90,000 tokens a minute, 2.50 dollars a day"
    assert state == f"ok       state {tmp_path / 's'} (DOCSLUICE_STATE_DIR)"
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ConfigurationError, match="DOCSLUICE_STATE_DIR"):
        await _said(budget_usd_per_day="1", state_dir=tmp_path / "file" / "s")


def test_the_examples_of_the_page_raise_no_doubt(tmp_path: Path) -> None:
    """People begin with them. The blocks of parts are checked as a file with a name and a task."""
    page = (Path(__file__).parents[3] / "docs/reference/pipeline-file.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) >= 3
    for block in blocks:
        file = tmp_path / "p.yaml"
        named = block if block.startswith("name:") else f"name: p\n{block}"
        task = "" if "tasks:" in block else "tasks: [{name: a, prompt: P, output: {type: text}}]\n"
        file.write_text(named + task, encoding="utf-8")
        lines: list[str] = []
        check_pipeline(load_settings({"pipeline": file}), lines.append)
        assert [line for line in lines if not line.startswith("ok ")] == []


async def test_limits_of_a_model_that_nobody_asks_are_doubtful(tmp_path: Path) -> None:
    """They are most likely a misspelt model's, and would never be kept to."""
    file = tmp_path / "p.yaml"
    file.write_text(
        "name: p\nmodels: {gpt-4o-mni: {requests_per_minute: 5}}\n"
        "tasks: [{name: a, prompt: P, output: {type: text}, model: gpt-4o-mini}]\n"
    )
    lines = await _said(pipeline=file)
    assert lines[1] == f"DOUBTFUL settings: {file}: models.gpt-4o-mni is no model of any task; they are gpt-4o-mini"


def _pipeline(tmp_path: Path, *, model: str = "own/m", **entry: Any) -> Path:
    """One task at one provider of its own."""
    file = tmp_path / "p.yaml"
    task = {"name": "a", "prompt": "P", "output": {"type": "text"}, "model": model}
    file.write_text(json.dumps({"name": "mail", "tasks": [task], "providers": {"own": entry}}))
    return file


async def _said_of_provider(path: Path) -> str:
    settings, lines = load_settings({"pipeline": path}), list[str]()
    file = load_pipeline_file(path)
    steps = steps_of(file, mode="fanout", default_model=settings.model)
    await check_providers(settings, file, steps, live=False, say=lines.append)
    (line,) = lines
    return line


async def test_limits_of_providers_are_shown(tmp_path: Path) -> None:
    """Behind those of the default account."""
    url = f"http://{NOBODY_ELSE}/v1"
    lines = await _said(pipeline=_pipeline(tmp_path, base_url=url, requests_per_minute=300, tokens_per_minute=1.5))
    assert f"{LIMITS}; own: 300 requests a minute, 1.5 tokens a minute" in lines


async def test_a_provider_is_told_by_the_path_of_its_file(tmp_path: Path) -> None:
    """The pipeline's name may be that of many files."""
    path = _pipeline(tmp_path, base_url=f"http://{NOBODY_ELSE}/v1")
    assert await _said_of_provider(path) == (
        f"FAILED   provider http://{NOBODY_ELSE}/v1 ({path}: providers.own): {REFUSED}"
    )


async def test_a_wrong_key_names_its_variable_and_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider's status and code stand in the line once."""
    monkeypatch.setenv("OWN_KEY", "sk-own-secret")
    error = {"message": "Incorrect API key provided.", "code": "invalid_api_key", "type": "invalid_request_error"}
    async with one_answer(status=401, body={"error": error}) as url:
        path = _pipeline(tmp_path, base_url=url, api_key_env="OWN_KEY")
        line = await _said_of_provider(path)
    assert f"({path}: providers.own.api_key_env OWN_KEY): 401 invalid_api_key; it says: Incorrect API key" in line
    assert line.count("invalid_api_key") == 1


async def test_a_refusal_without_words_ends_with_its_code() -> None:
    """Nothing is said twice, and nothing empty is said."""
    lines: list[str] = []

    async def refused() -> Found:
        raise CallRefused("404: ", kind="path", remedy="no such path: 404", cause="404: ")

    assert not await tried("a call", refused, lines.append)
    assert lines == ["FAILED   a call: no such path: 404"]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("gpt-4o-mni", "; it lists gpt-4o-mini; did you mean gpt-4o-mini? check --live tells for certain"),
        ("zzz", "; it lists gpt-4o-mini; check --live tells for certain"),
    ],
)
async def test_a_model_that_is_not_listed_may_be_misspelt(model: str, words: str, tmp_path: Path) -> None:
    """The one that is close is named. A server may serve more than it lists."""
    listed = {"object": "list", "data": [{"id": "gpt-4o-mini", "object": "model", "created": 0, "owned_by": "x"}]}
    async with one_answer(status=200, body=listed) as url:
        line = await _said_of_provider(_pipeline(tmp_path, base_url=url, model=f"own/{model}"))
    assert line.endswith(f"reached, but it does not list {model}{words}")


@pytest.mark.parametrize(
    ("path_of_url", "doubted"),
    [("", True), ("/openai", True), ("/v1", False), ("/openai/deployments/d?api-version=1", False)],
)
async def test_without_a_list_of_models_the_path_is_doubted(tmp_path: Path, path_of_url: str, *, doubted: bool) -> None:
    """Only where it has no version, and is not Azure's."""
    async with one_answer(status=404, body={"error": {"message": "Not Found"}}) as url:
        path = _pipeline(tmp_path, base_url=url.removesuffix("/v1") + path_of_url)
        line = await _said_of_provider(path)
    hint = f"did you leave out /v1 ({path}: providers.own.base_url)? " if doubted else ""
    assert line.endswith(f"there is no list of models at this path; {hint}check --live tells for certain")


async def test_a_command_that_hangs_is_not_taken_for_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line names the command's field, and the provider is not asked."""
    monkeypatch.setattr("docsluice_consumer.check.providers.TIMEOUT_SECONDS", 0.2)
    path = _pipeline(tmp_path, base_url=f"http://{NOBODY_ELSE}/v1", api_key_command="sleep 600")
    line = await _said_of_provider(path)
    assert line.endswith(f"({path}: providers.own.api_key_command); the provider was not asked")

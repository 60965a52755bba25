"""`providers:` of the pipeline file, and what becomes of them."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from docsluice_consumer.bootstrap import limits_of, prices_of, providers_of
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.chat import ModelParameters
from docsluice_consumer.llm.credentials import CommandKey, FileKey, NoKey, StaticKey
from docsluice_consumer.model_ref import DEFAULT_PROVIDER, ModelRef, model_ref
from docsluice_consumer.settings import load_settings
from docsluice_consumer.tasks.pipeline_file import PipelineFile, load_pipeline_file
from docsluice_consumer.tasks.step_building import steps_of
from tests.fakes.provider_entries import MILLION, OWN_URL, PER_MILLION, TASK, file_of, provider_entry, settings_with
from tests.fakes.samples import pipeline_file
from tests.fakes.yaml_problems import without_place

PRICE = {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 2}


def _providers(file: PipelineFile, **more: Any) -> dict[str, Any]:
    return dict(providers_of(settings_with(**more), file, steps_of(file, mode="fanout", default_model="m")))


@pytest.mark.parametrize(
    ("label", "ref"),
    [
        ("m", ModelRef(DEFAULT_PROVIDER, "m")),
        ("own/m", ModelRef("own", "m")),
        ("own/vendor/m", ModelRef("own", "vendor/m")),
        ("vendor/m", ModelRef(DEFAULT_PROVIDER, "vendor/m")),
        ("default/own/m", ModelRef(DEFAULT_PROVIDER, "own/m")),
        ("own/", ModelRef(DEFAULT_PROVIDER, "own/")),
    ],
)
def test_a_model_is_at_the_provider_before_the_slash_if_there_is_one(label: str, ref: ModelRef) -> None:
    """A vendor's name before a slash is a part of the model's."""
    assert model_ref(label, providers={"own"}) == ref


@pytest.mark.parametrize("label", ["m", "own/m", "vendor/m"])
def test_a_label_is_read_as_it_was_written(label: str) -> None:
    """In results, metrics and logs a model goes by the name that people gave it."""
    assert str(model_ref(label, providers={"own"})) == label


@pytest.mark.parametrize(
    ("providers", "words"),
    [
        ({"default": {"base_url": OWN_URL}}, "must not be default"),
        ({"Own": {"base_url": OWN_URL}}, "lower-case letters"),
        ({"own": {}}, "providers.own.base_url: missing"),
        ({"own": {"base_url": "localhost"}}, "must be a URL"),
        ({"own": {"base_url": OWN_URL, "api_key_env": "A", "api_key_file": "b"}}, "only one of"),
        (
            provider_entry(headers={"Authorization": "x"}),
            "providers.own.headers.Authorization: must not carry a secret",
        ),
        ({"own": {"base_url": OWN_URL, "headers": {"X-A": "a\nb"}}}, "printable ASCII"),
        (
            provider_entry(prices="opnai"),
            "own.prices: opnai is no provider of the price list; did you mean openai? (free, a provider, or a table)",
        ),
        (provider_entry(prices="fre"), "did you mean free?"),
        (provider_entry(prices="-"), "providers.own.prices: - is no provider of the price list (free"),
        (
            provider_entry(prices=7),
            "providers.own.prices: must say how calls are priced (free, a provider, or a table)",
        ),
        (provider_entry(prices={"m": {}}), "providers.own.prices.m.input_usd_per_million_tokens: missing"),
        (
            provider_entry(prices={"m": {**PRICE, "x": 1}}),
            "providers.own.prices.m.x: unknown field; known are: input_usd",
        ),
        ({"own": {"base_url": OWN_URL, "tokens_per_minute": 1, "input_tokens_per_minute": 1}}, "the two separate"),
    ],
)
def test_an_entry_that_cannot_work_is_told(providers: dict[str, Any], words: str, tmp_path: Path) -> None:
    """With the file and the place in it, and never with the key that somebody wrote there."""
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"name": "n", "tasks": [TASK], "providers": providers}))
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline_file(path)
    assert words in str(caught.value)
    assert not any(mark in str(caught.value) for mark in ("[", "function-", "rule", "table."))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"api_key_env": "gsk-secret-1"}, "api_key_env: must be the name of a variable, not the key itself"),
        ({"api_key_env": "gsk_secret1"}, "api_key_env: must be the name of a variable, not the key itself"),
        ({"api_key_env": "0secret0"}, "api_key_env: must be the name of a variable, not the key itself"),
        ({"api_key_env": "secret0123456789abcdef0123456789"}, "must be the name of a variable"),
        ({"api_key_env": "$SECRET"}, "api_key_env: must be the name of the variable, without the $"),
        ({"api_key_env": "${SECRET}"}, "api_key_env: must be the name of the variable, without the $"),
        ({"api_key_file": "sk-secret"}, "api_key_file: must be the path of a file, not the key itself"),
        ({"api_key": "sk-secret"}, "own.api_key: put the key into a variable and name that under api_key_env"),
        ({"token": "secret"}, "own.token: put the key into a variable and name that under api_key_env"),
        ({"base_url": f"{OWN_URL}?key=secret"}, "own.base_url: must hold no key behind the ?; the key goes into a"),
        ({"base_url": f"{OWN_URL}?api-version=1&code=secret"}, "must hold no key behind the ?"),
        ({"base_url": f"{OWN_URL}?sig=secret"}, "name under api_key_env"),
        ({"base_url": f"{OWN_URL}#secret"}, "base_url: must end before the #"),
        ({"base_url": "http://user:secret@localhost/v1"}, "name under api_key_env"),
        ({"headers": {"X-Custom": "sk-secret"}}, "own.headers.X-Custom: must not carry a secret; use api_key_env"),
        ({"headers": {"X-Custom": "Bearer gsk_secret"}}, "must not carry a secret; use api_key_env"),
        ({"headers": {"X-Team-Token": "secret0123456789abcdef0123456789"}}, "must not carry a secret"),
    ],
)
def test_a_key_in_the_file_is_refused_and_not_quoted(entry: dict[str, Any], words: str, tmp_path: Path) -> None:
    """The line says where the key belongs."""
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"name": "n", "tasks": [TASK], "providers": {"own": {"base_url": OWN_URL, **entry}}}))
    with pytest.raises(ConfigurationError) as caught:
        load_pipeline_file(path)
    (line,) = caught.value.problems
    assert words in line
    assert "secret" not in line.replace("carry a secret", "")
    assert "SECRET" not in line


TWO = {"groq": {"base_url": OWN_URL}, "gemini": {"base_url": OWN_URL}}


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("grok/openai/gpt-oss-120b", "grok/… names no provider of this file (groq, gemini); did you mean groq/…?"),
        ("Groq/m", "Groq/… names no provider of this file (groq, gemini); did you mean groq/…?"),
        ("gemni/m", "did you mean gemini/…? (write default/gemni/… for a model of this name at OPENAI_BASE_URL)"),
        ("groq", "groq names a provider and no model; write groq/MODEL"),
        ("groq/", "groq/ names a provider and no model; write groq/MODEL"),
    ],
)
def test_a_misspelt_provider_is_told(label: str, words: str, tmp_path: Path) -> None:
    """In a task, among the models' limits and in the settings, each by its own name."""
    path = tmp_path / "p.yaml"
    in_task = {"tasks": [{**TASK, "model": ["groq/m", label]}]}
    in_limits = {"tasks": [{**TASK, "model": "groq/m"}], "models": {label: {"requests_per_minute": 1}}}
    for place, fields in (("tasks.k.model", in_task), ("models", in_limits)):
        path.write_text(json.dumps({"name": "n", "providers": TWO, **fields}))
        with pytest.raises(ConfigurationError) as caught:
            load_pipeline_file(path)
        assert without_place(str(caught.value), path).startswith(f"{place}: ")
        assert words in str(caught.value)
    unnamed = pipeline_file(TASK, providers=TWO)
    with pytest.raises(ConfigurationError, match="^DOCSLUICE_MODEL: .*" + re.escape(words)):
        providers_of(settings_with(model=label), unnamed, steps_of(unnamed, mode="fanout", default_model=label))


@pytest.mark.parametrize("label", ["meta-llama/m", "m", "openai/gpt-oss-120b", "default/grok/m", "gemini-2.5-flash"])
def test_a_vendors_name_is_no_misspelt_provider(label: str) -> None:
    """It is a part of the model's name at the default provider."""
    assert file_of(model=label, providers=TWO).ref(label).provider == DEFAULT_PROVIDER


def test_without_providers_no_name_is_doubted() -> None:
    """Labels with slashes are common."""
    assert pipeline_file({**TASK, "model": "grok/m"})


@pytest.mark.parametrize(
    ("model", "where"),
    [(["groq/m", "gpt-4o-mini"], "tasks.k.model"), (None, "DOCSLUICE_MODEL, for tasks.k has none")],
)
def test_a_missing_default_key_names_the_task_that_needs_it(
    model: Any, where: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its model may have been meant for another provider."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    path = tmp_path / "p.yaml"
    path.write_text(json.dumps({"name": "n", "tasks": [{**TASK, "model": model}], "providers": TWO}))
    file = load_pipeline_file(path)
    with pytest.raises(ConfigurationError) as caught:
        providers_of(
            load_settings({"pipeline": path}), file, steps_of(file, mode="fanout", default_model="gpt-4o-mini")
        )
    assert str(caught.value).startswith("OPENAI_API_KEY: not set")
    assert str(caught.value).endswith(f"; {path}: gpt-4o-mini is asked there ({where})")


@pytest.mark.parametrize(
    "entry",
    [
        {"base_url": f"{OWN_URL}?api-version=2024-10-21"},
        {"headers": {"X-Title": "docsluice", "X-Keyspace": "mail", "HTTP-Referer": "https://example.com/a"}},
        {"headers": {"X-Request-Source": "0123456789abcdef0123456789abcdef"}},
        {"api_key_env": "_own_key2"},
        {"api_key_file": "/run/secrets/kubernetes.io/openai/key1"},
    ],
)
def test_an_entry_without_a_secret_is_taken(entry: dict[str, Any]) -> None:
    """A query, a header, a lower-case variable and a long path are no secrets by themselves."""
    assert file_of(providers={"own": {"base_url": OWN_URL, **entry}})


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({}, NoKey),
        ({"api_key_env": "OWN_KEY"}, StaticKey),
        ({"api_key_file": "key.txt"}, FileKey),
        ({"api_key_command": "print-key --now"}, CommandKey),
    ],
)
def test_where_the_key_comes_from(
    entry: dict[str, str], kind: type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """From a variable, a file or a command. None for a server that wants none."""
    monkeypatch.setenv("OWN_KEY", "sk-own")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key.txt").write_text("sk-own")
    provider = _providers(file_of(providers={"own": {"base_url": OWN_URL, **entry}}))["own"]
    assert isinstance(provider.credentials, kind)
    assert provider.base_url == OWN_URL


def test_a_key_may_stand_in_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As the default provider's may."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("OWN_KEY=sk-own\n")
    assert _providers(file_of(providers={"own": {"base_url": OWN_URL, "api_key_env": "OWN_KEY"}}))


@pytest.mark.parametrize(
    ("key", "words"), [(None, "OWN_KEY is not set"), (" ", "OWN_KEY is not set"), ("a b", "white")]
)
def test_a_key_that_is_none_is_told_at_the_start(key: str | None, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Naming the variable."""
    monkeypatch.delenv("OWN_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("OWN_KEY", key)
    with pytest.raises(ConfigurationError) as caught:
        _providers(file_of(providers={"own": {"base_url": OWN_URL, "api_key_env": "OWN_KEY"}}))
    assert words in str(caught.value)
    assert "providers.own.api_key_env" in str(caught.value)


def test_only_providers_that_are_asked_need_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither OpenAI's key nor that of an entry that no task names."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    idle = {"base_url": OWN_URL, "api_key_env": "NOT_SET"}
    file = file_of(providers={"own": {"base_url": OWN_URL}, "idle": idle})
    path = tmp_path / "p.yaml"
    path.write_text("name: n")
    settings = load_settings({"pipeline": path})
    assert set(providers_of(settings, file, steps_of(file, mode="fanout", default_model="m"))) == {"own"}
    chain = file_of(model=["own/m", "gpt-4o-mini"])
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY: not set"):
        providers_of(settings, chain, steps_of(chain, mode="fanout", default_model="m"))


def test_each_account_and_each_model_has_its_own_limits() -> None:
    """Of two models of one name, each at its own provider."""
    file = file_of(
        providers={"own": {"base_url": OWN_URL, "requests_per_minute": 5}},
        models={"own/m": {"tokens_per_minute": 7}, "m": {"tokens_per_minute": 9, "context_tokens": 10}},
    )
    limits = limits_of(settings_with(requests_per_minute=3), file)
    assert limits.requests_per_minute == 3
    assert limits.by_provider["own"].requests_per_minute == 5
    assert limits.by_model[ModelRef("own", "m")].tokens_per_minute == 7
    assert limits.by_model[ModelRef(DEFAULT_PROVIDER, "m")].tokens_per_minute == 9


def test_what_a_model_always_gets_gives_way_to_the_tasks_own() -> None:
    """A task knows better. A chain's other models get nothing of it."""
    file = pipeline_file(
        {**TASK, "model": ["own/a", "b"], "seed": 1, "extra_body": {"top_k": 5}},
        providers={"own": {"base_url": OWN_URL}},
        models={
            "own/a": {"reasoning_effort": "low", "seed": 9, "stop": "END", "extra_body": {"top_k": 1, "think": False}}
        },
    )
    (step,) = steps_of(file, mode="fanout", default_model="m")
    assert set(step.by_model) == {ModelRef("own", "a")}
    first, second = (step.request("x").to(model) for model in step.models)
    assert (first.sampling.reasoning_effort, first.sampling.seed, first.sampling.stop) == ("low", 1, ("END",))
    assert first.extra_body == {"top_k": 5, "think": False}
    assert (second.sampling.reasoning_effort, second.sampling.seed, second.sampling.stop) == (None, 1, None)
    assert second.extra_body == {"top_k": 5}


@pytest.mark.parametrize(
    "change",
    [{"reasoning_effort": "low"}, {"seed": 0}, {"stop": ["END"]}, {"extra_body": {"top_k": 1}}],
    ids=lambda change: next(iter(change)),
)
def test_what_is_passed_through_shapes_the_answer(change: dict[str, Any]) -> None:
    """Of the task or of the model: it is part of the version and of the fingerprint."""
    files = [
        pipeline_file(TASK),
        pipeline_file({**TASK, **change}),
        pipeline_file(TASK, models={"m": change}),
    ]
    versions = {file.version(mode="fanout", default_model="m") for file in files}
    prints = {steps_of(file, mode="fanout", default_model="m")[0].fingerprint("x") for file in files}
    assert len(versions) == len(prints) == 3
    assert ModelParameters() == ModelParameters(extra_body={})


def test_what_docsluice_sends_itself_is_not_passed_through() -> None:
    """It would break the reading of the answer."""
    with pytest.raises(ValueError, match="must not hold messages, stream"):
        pipeline_file({**TASK, "extra_body": {"stream": True, "messages": []}})


@pytest.mark.parametrize(
    ("url", "model", "rule", "dollars"),
    [
        (None, "gpt-4o-mini", None, "0.75"),
        (None, "ft:gpt-4o-mini-2024-07-18:acme::id", None, "1.5"),
        ("https://openrouter.ai/api/v1", "openai/gpt-4o-mini", None, "0.75"),
        ("https://api.groq.com/openai/v1", "llama-3.3-70b-versatile", None, "1.38"),
        ("https://generativelanguage.googleapis.com/v1beta/openai", "models/gemini-2.5-flash", None, "2.8"),
        ("https://acme.openai.azure.com/openai/v1", "gpt-4o-mini", None, "0.75"),
        ("http://localhost:11434/v1", "deepseek-r1:8b", None, "0"),
        ("http://localhost:8000/v1", "openai/gpt-oss-20b", None, "0"),
        ("http://10.1.2.3:8000/v1", "mistral-small", None, "0"),
        ("http://vllm.llm.svc:8000/v1", "command-r", None, "0"),
        ("http://localhost:4000", "gpt-4o-mini-2024-07-18", None, "0.75"),
        ("https://gateway.example.com/v1", "azure/gpt-4o-mini", None, "0.75"),
        ("https://gateway.example.com/v1", "qwen3-8b", None, None),
        ("https://api.groq.com/openai/v1", "no-such-model", None, None),
        ("http://localhost:8000/v1", "gpt-4o-mini", "free", "0"),
        ("https://gateway.example.com/v1", "llama-3.3-70b-versatile", "groq", "1.38"),
        ("https://gateway.example.com/v1", "mine", {"mine": PER_MILLION}, "3"),
    ],
)
def test_a_price_is_that_of_the_provider_that_is_asked(
    url: str | None, model: str, rule: Any, dollars: str | None
) -> None:
    """Never that of a name which happens to be in some other list."""
    own = {"own": {"base_url": url or "https://api.openai.com/v1", "prices": rule}}
    named = prices_of(settings_with(), file_of(providers=own)).cost_usd(ModelRef("own", model), MILLION)
    assert named == (None if dollars is None else Decimal(dollars))
    if not isinstance(rule, dict):
        settings = load_settings({"openai_base_url": url, "openai_api_key": "sk-a", "prices": rule})
        assert prices_of(settings, file_of()).cost_usd(model_ref(model), MILLION) == named

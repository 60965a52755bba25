"""`docsluice check --live`: one real call for each model, of servers that play what providers answer."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import structlog
import yaml

from docsluice.messages import Usage
from docsluice_consumer.check.check import check
from docsluice_consumer.check.providers import check_providers
from docsluice_consumer.llm.pricing import PriceRules
from docsluice_consumer.settings import load_settings
from docsluice_consumer.tasks.pipeline_file import load_pipeline_file
from docsluice_consumer.tasks.step_building import steps_of
from docsluice_local.rehearsal.call_log import Call
from docsluice_local.rehearsal.characters.loading import load_character
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.integration.wire import Wire

KEY = "sk-right-for-the-cloud"
MODEL = "gpt-4o-mini"
DEAR = {"input_usd_per_million_tokens": 1000, "output_usd_per_million_tokens": 1000}


def _playing(character: str, **settings: Any) -> RehearsalSettings:
    return RehearsalSettings(character=load_character(character), **settings)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOUD_KEY", KEY)


def _pipeline(base_urls: dict[str, str], *, models: list[str], **more: Any) -> Path:
    """A pipeline file with these providers. The first has a key and OpenAI's prices, the others are free."""
    first, *others = base_urls
    providers: dict[str, Any] = {first: {"base_url": base_urls[first], "api_key_env": "CLOUD_KEY", "prices": "openai"}}
    providers |= {name: {"base_url": base_urls[name], "prices": "free"} for name in others}
    providers[first] |= more
    output = {"type": "text", "sentences": 2}
    task = {"name": "summary", "prompt": "S.", "output": output, "model": models, "temperature": 0.3}
    path = Path("pipeline.yaml")
    path.write_text(yaml.safe_dump({"name": "p", "tasks": [task], "providers": providers}), encoding="utf-8")
    return path


async def _said(path: Path) -> tuple[bool, list[str], list[Any]]:
    """Whether all is well, the lines without the providers' addresses, and what was learned."""
    settings, lines = load_settings({"pipeline": path}), list[str]()
    file = load_pipeline_file(path)
    steps = steps_of(file, mode="fanout", default_model=settings.model)
    with structlog.testing.capture_logs() as logged:
        well = await check_providers(settings, file, steps, live=True, say=lines.append)
    assert KEY not in f"{lines}{logged}"
    return well, lines, logged


async def _one(provider: RehearsalProvider, *, model: str = MODEL, **more: Any) -> tuple[bool, str, list[Any]]:
    """The same of one provider and model: the line on the call, or on the provider where no call was made."""
    well, lines, logged = await _said(
        _pipeline({"cloud": provider.base_url}, models=[f"cloud/{model}"], **more),
    )
    return well, lines[-1], logged


def _listed_usd(call: Call, *, model: str = MODEL) -> Decimal:
    """What OpenAI's price list says of a call."""
    usage = Usage(
        input_tokens=call.prompt_tokens, output_tokens=call.completion_tokens, cached_tokens=call.cached_tokens
    )
    cost = PriceRules(rule="openai").cost_usd(model, usage)
    assert cost
    return cost


async def test_all_well() -> None:
    """The line tells the tokens and dollars of the one call that was made."""
    async with rehearsal_provider(_playing("openai", models=(MODEL,), api_key=KEY)) as provider:
        well, line, logged = await _one(provider)
        (call,) = provider.calls
    assert well
    assert line.startswith(f"ok       a call of cloud/{MODEL} (task summary): answered; ")
    assert f"; {call.prompt_tokens} tokens in and {call.completion_tokens} out in " in line
    assert line.endswith(f", ${_listed_usd(call):.6f}")
    assert logged == []


async def test_a_wrong_key() -> None:
    """The list of models shows it already, in the provider's words. No call is made, and the key is not told."""
    async with rehearsal_provider(_playing("openai", api_key="sk-another-one-altogether")) as provider:
        well, line, _ = await _one(provider)
        assert not len(provider.calls)
    assert not well
    assert line.startswith(f"FAILED   provider {provider.base_url} (pipeline.yaml: providers.cloud): ")
    assert "the provider does not accept the API key (pipeline.yaml: providers.cloud.api_key_env CLOUD_KEY)" in line
    assert "it says: Incorrect API key provided" in line


@pytest.mark.parametrize(
    ("character", "trouble", "words"),
    [
        (
            "gemini",
            "bad_key",
            "the provider does not accept the API key (pipeline.yaml: providers.cloud.api_key_env CLOUD_KEY)",
        ),
        ("openai", "forbidden", "the API key may not do this (pipeline.yaml: providers.cloud.api_key_env CLOUD_KEY)"),
        ("anthropic", "quota_exhausted", "Your credit balance is too low"),
        ("openai", "quota_exhausted", "You exceeded your current quota"),
        ("openrouter", "unavailable", "50"),
        ("openai", "reset", "no connection to the provider: it closed the connection"),
    ],
)
async def test_trouble_that_only_a_call_shows(character: str, trouble: str, words: str) -> None:
    """The list of models is open to all, or lists what may not be asked."""
    async with rehearsal_provider(_playing(character)) as provider:
        provider.outages.begin(trouble)
        well, line, _ = await _one(provider)
        assert len(provider.calls) == 1
    assert not well
    assert line.startswith(f"FAILED   a call of cloud/{MODEL} (task summary): ")
    assert words in line


async def test_an_unknown_model() -> None:
    """Not to be listed is doubtful only. The call says it for sure."""
    async with rehearsal_provider(_playing("openai", models=(MODEL,))) as provider:
        path = _pipeline({"cloud": provider.base_url}, models=["cloud/gpt-5-nope"])
        well, (listed, called), _ = await _said(path)
    assert not well
    assert listed.startswith("DOUBTFUL provider ")
    assert listed.endswith(
        f"reached, but it does not list gpt-5-nope; it lists {MODEL}; check --live tells for certain"
    )
    assert called.startswith("FAILED   a call of cloud/gpt-5-nope (task summary): the provider knows no model ")
    assert "(pipeline.yaml: tasks.model): 404 model_not_found; it says: The model `gpt-5-nope`" in called


@pytest.mark.parametrize(
    ("character", "model", "parameters"),
    [
        ("openai", "o3-mini", ["temperature"]),
        ("deepseek", "deepseek-chat", ["response_format json_schema"]),
        ("groq", "llama-3.3-70b-versatile", ["response_format json_schema"]),
    ],
)
async def test_a_refused_parameter(character: str, model: str, parameters: list[str]) -> None:
    """It is learned and said what becomes of it, and the call is made without it."""
    async with rehearsal_provider(_playing(character, models=(model,))) as provider:
        well, line, logged = await _one(provider, model=model)
        assert [call.status for call in provider.calls] == [400] * len(parameters) + [200]
    assert well
    assert line.startswith(f"ok       a call of cloud/{model} (task summary): answered; ")
    assert [(entry["event"], entry["parameter"]) for entry in logged] == [
        ("provider.capability_learned", parameter) for parameter in parameters
    ]
    assert all(entry["meaning"] and entry["model"] == f"cloud/{model}" for entry in logged)


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("wrong_schema", "the answer is not valid: summary must be an array of exactly 2 sentences"),
        ("invalid_json", "the answer is not valid: it is not JSON"),
        ("truncated", "the answer was cut at max_output_tokens (the model's own bound)"),
        ("refusal", "the model refused to answer"),
        ("content_filter", "the provider's content filter cut the answer"),
    ],
)
async def test_an_answer_that_is_none(trouble: str, words: str) -> None:
    """It is told why, what it cost all the same, and what to do: documents would fare no better."""
    async with rehearsal_provider(_playing("openai")) as provider:
        provider.outages.begin(trouble)
        well, line, _ = await _one(provider)
        (call,) = provider.calls
    assert not well
    assert line.startswith(f"FAILED   a call of cloud/{MODEL} (task summary): answered ({call.prompt_tokens} tokens in")
    assert f", ${_listed_usd(call):.6f}), but {words}" in line
    assert line.endswith("; change the model, the prompt or the output (pipeline.yaml: tasks)")


async def test_a_schema_that_nothing_meets() -> None:
    """Whatever the model answers, the exit code is 1, and the line names the task."""
    never = {
        "type": "object",
        "properties": {"x": {"type": "string", "minLength": 5, "maxLength": 2}},
        "required": ["x"],
    }
    async with rehearsal_provider(_playing("openai")) as provider:
        path = _pipeline({"cloud": provider.base_url}, models=[f"cloud/{MODEL}"])
        file = yaml.safe_load(path.read_text("utf-8"))
        file["tasks"][0]["output"] = {"type": "json", "schema": never}
        path.write_text(yaml.safe_dump(file), encoding="utf-8")
        well, lines, _ = await _said(path)
    assert not well
    assert lines[-1].startswith(f"FAILED   a call of cloud/{MODEL} (task summary): answered ")
    assert "the answer is not valid: " in lines[-1]
    assert "(pipeline.yaml: tasks)" in lines[-1]


@pytest.mark.parametrize(("prices", "stated"), [("openai", True), ({MODEL: DEAR}, False)])
async def test_a_stated_cost(prices: Any, *, stated: bool) -> None:
    """OpenRouter states what a call has cost. That goes before the list, and a price of one's own before that."""
    async with rehearsal_provider(_playing("openrouter")) as provider:
        _, line, _ = await _one(provider, prices=prices)
        (call,) = provider.calls
    own = Decimal(call.prompt_tokens + call.completion_tokens) / 1000
    told = load_character("openrouter").usage.shape["cost"] if stated else own
    assert line.endswith(f", ${told:.6f}")


async def test_two_providers() -> None:
    """Each has its line, and each model its call, at its own prices."""
    async with (
        rehearsal_provider(_playing("openai", api_key=KEY)) as cloud,
        rehearsal_provider(_playing("vllm")) as own,
    ):
        base_urls = {"cloud": cloud.base_url, "own": own.base_url}
        well, lines, _ = await _said(_pipeline(base_urls, models=["own/llama", f"cloud/{MODEL}"]))
        (in_cloud,), (at_home,) = cloud.calls, own.calls
    assert well
    assert [line.split(":")[0] for line in lines[2:]] == [
        f"ok       a call of cloud/{MODEL} (task summary)",
        "ok       a call of own/llama (task summary)",
    ]
    assert (in_cloud.model, at_home.model) == (MODEL, "llama")
    assert lines[2].endswith(f", ${_listed_usd(in_cloud):.6f}")
    assert lines[3].endswith(", $0.000000")


async def test_one_of_two_is_away() -> None:
    """The other is tried all the same, and that not all is well is told at the end."""
    async with (
        rehearsal_provider(_playing("openai", api_key="sk-another-one-altogether")) as cloud,
        rehearsal_provider(_playing("vllm")) as own,
    ):
        base_urls = {"cloud": cloud.base_url, "own": own.base_url}
        well, lines, _ = await _said(_pipeline(base_urls, models=["own/llama", f"cloud/{MODEL}"]))
        assert (len(cloud.calls), len(own.calls)) == (0, 1)
    assert not well
    assert [line[:8] for line in lines] == ["FAILED  ", "DOUBTFUL", "ok      "]
    assert lines[-1].startswith("ok       a call of own/llama ")


async def test_without_the_flag_no_call_is_made(wire: Wire, provider: RehearsalProvider) -> None:
    """A plain `check` costs nothing. The whole of it makes one call for each task and model with the flag."""
    names = {f"{role}_topic": topic for role, topic in wire.topics.items()}
    settings = load_settings(
        {"kafka_bootstrap_servers": wire.bootstrap_servers, "openai_base_url": provider.base_url, **names}
    )
    lines: list[str] = []
    assert await check(settings, say=lines.append)
    assert not len(provider.calls)
    assert await check(settings, say=lines.append, live=True)
    assert [call.task for call in provider.calls] == ["category", "keywords", "summary"]
    assert sum("a call of " in line for line in lines) == 3

"""The table of what providers answer: its files, its page, and the rehearsal provider that plays them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from genai_prices import data

from docsluice_local.rehearsal.characters.character import Character, ErrorKind
from docsluice_local.rehearsal.characters.loading import (
    UnfitCharacterError,
    UnknownCharacterError,
    all_characters,
    character_names,
    load_character,
    read_character,
)
from docsluice_local.rehearsal.characters.page import page
from docsluice_local.rehearsal.characters.templates import SAMPLE_FACTS, fill
from docsluice_local.rehearsal.faults import Fault, Trouble, UnknownFaultError, fault_named
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings

ROOT = Path(__file__).parents[4]
CHARACTERS = all_characters()
FEWEST_CHARACTERS = 18
GROQ = load_character("groq")
each_character = pytest.mark.parametrize("character", CHARACTERS, ids=lambda character: character.name)


def _written(tmp_path: Path, **changes: Any) -> Path:
    """A file that fits, but for these changes."""
    source = ROOT / "deploy/docsluice_local/rehearsal/characters/vllm.yaml"
    held = {**yaml.safe_load(source.read_text(encoding="utf-8")), "name": "mine", **changes}
    path = tmp_path / "mine.yaml"
    path.write_text(json.dumps({name: value for name, value in held.items() if value is not ...}), encoding="utf-8")
    return path


async def _post(provider: RehearsalProvider, path: str, body: Any, **headers: str) -> tuple[int, Any, dict[str, str]]:
    url = provider.base_url.removesuffix("/v1") + path
    async with aiohttp.ClientSession() as session, session.post(url, json=body, headers=headers) as response:
        text = await response.text()
        told = {name.lower(): value for name, value in response.headers.items()}
        return response.status, json.loads(text) if "json" in response.content_type else text, told


async def _chat(provider: RehearsalProvider, *, model: str = "m", text: str = "A document.", **more: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 400, **more}
    return await _post(provider, "/v1/chat/completions", body)


def test_there_are_enough_of_them() -> None:
    """The table covers the providers that people use."""
    assert len(character_names()) >= FEWEST_CHARACTERS


def test_the_page_is_current() -> None:
    """docs/reference/providers.md is what `python -m docsluice_local.rehearsal.characters` writes."""
    assert (ROOT / "docs/reference/providers.md").read_text(encoding="utf-8") == page(CHARACTERS)


@each_character
def test_prices_name_a_provider_of_the_price_list(character: Character) -> None:
    """Or none, or it is free."""
    known = {provider.id for provider in data.providers} | {"free", None}
    assert character.recipe.prices in known


@each_character
def test_the_recipe_on_the_page_is_yaml(character: Character) -> None:
    """What a reader copies is what the table holds."""
    blocks = [block.partition("```")[0] for block in page([character]).split("```yaml\n")[2:]]
    (entry,) = [yaml.safe_load(block)["providers"][character.name] for block in blocks]
    assert entry["base_url"] == character.recipe.base_url
    assert entry.get("api_key_env") == character.recipe.key


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"summary": ...}, "mine.yaml: summary: "),
        ({"quota": 3}, "mine.yaml: quota: "),
        ({"name": "other"}, "mine.yaml: name: must be the file's name, mine"),
        ({"errors": [{"kind": "odd", "status": 400, "body": {}, "source": "a/b#1"}]}, "mine.yaml: errors.0.kind: "),
        (
            {"errors": [{"kind": "bad_key", "status": 42, "body": {}, "source": "a/b#1"}]},
            "mine.yaml: errors.0.status: ",
        ),
        ({"errors": [{"kind": "bad_key", "status": 401, "body": {}, "source": "I know"}]}, "errors.0.source: "),
        ({"errors": [{"kind": "bad_key", "status": 401, "body": "${x}", "source": "a/b#1"}]}, "no such fact: x"),
    ],
)
def test_a_file_that_does_not_fit_is_told_what_to_change(tmp_path: Path, changes: dict[str, Any], line: str) -> None:
    """The file, the place and the reason, on one line for each."""
    with pytest.raises(UnfitCharacterError) as caught:
        read_character(_written(tmp_path, **changes))
    assert line in str(caught.value)


def test_a_file_that_fits(tmp_path: Path) -> None:
    """The sample of the test above is sound, so that its changes are what is complained of."""
    assert read_character(_written(tmp_path)).name == "mine"


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    """The parser's own words say where."""
    path = tmp_path / "mine.yaml"
    path.write_text("name: [", encoding="utf-8")
    with pytest.raises(UnfitCharacterError, match=r"mine\.yaml: not YAML: .*line \d"):
        read_character(path)


def test_an_unknown_name_is_told_the_known_ones() -> None:
    """`--character nobody`."""
    with pytest.raises(UnknownCharacterError, match=r"'nobody'; there are anthropic, azure"):
        load_character("nobody")


def test_a_kind_is_a_fault_of_those_that_are_known_to_answer_it() -> None:
    """Any other has no words for it, and without a character nobody has."""
    assert fault_named("daily_quota", GROQ) is ErrorKind.DAILY_QUOTA
    with pytest.raises(UnknownFaultError, match="groq is not known to answer 'model_loading'"):
        fault_named("model_loading", GROQ)
    with pytest.raises(UnknownFaultError, match="'daily_quota' is told differently by every provider"):
        fault_named("daily_quota")
    with pytest.raises(ValueError, match="needs --character"):
        RehearsalSettings(fault_rates={ErrorKind.DAILY_QUOTA: 0.1})


def test_a_fact_alone_keeps_its_type() -> None:
    """A number in a body is a number, and inside words it is text."""
    assert fill({"a": "${limit}", "b": ["over ${limit}", 3]}, SAMPLE_FACTS) == {"a": 6000, "b": ["over 6000", 3]}


@each_character
async def test_every_error_can_be_ordered(character: Character) -> None:
    """By its kind, over the back door. A call that comes again meets the next wording."""
    async with rehearsal_provider(RehearsalSettings(character=character)) as provider:
        for kind in character.kinds:
            await _post(provider, "/rehearsal/faults", {"outage": kind})
            told = [await _chat(provider, text=f"On {kind}.", model="some-model") for _ in character.errors_of(kind)]
            expected = [error.status for error in character.errors_of(kind)]
            assert [status for status, _, _ in told] == expected
            assert "${" not in json.dumps([body for _, body, _ in told])


FAULT_KINDS: dict[Trouble, ErrorKind] = {
    Fault.RATE_LIMITED: ErrorKind.RATE_LIMITED,
    Fault.INSUFFICIENT_QUOTA: ErrorKind.QUOTA_EXHAUSTED,
    Fault.REQUEST_TOO_LARGE: ErrorKind.REQUEST_TOO_LARGE_FOR_LIMIT,
    Fault.INTERNAL_ERROR: ErrorKind.UNAVAILABLE,
    Fault.OVERLOADED: ErrorKind.OVERLOADED,
    Fault.CONTENT_FILTER_REJECTED: ErrorKind.CONTENT_FILTERED,
    Fault.CONTEXT_LENGTH_EXCEEDED: ErrorKind.TOO_LARGE,
    Fault.BAD_KEY: ErrorKind.BAD_KEY,
    Fault.MODEL_NOT_FOUND: ErrorKind.UNKNOWN_MODEL,
}


@each_character
async def test_the_usual_faults_are_told_in_its_words(character: Character) -> None:
    """Where it is known to answer them, else they stay as they were."""
    async with rehearsal_provider(RehearsalSettings(character=character)) as provider:
        for fault, kind in FAULT_KINDS.items():
            await _post(provider, "/rehearsal/faults", {"outage": fault})
            status, _, _ = await _chat(provider, text=f"On {fault}.")
            known = {error.status for error in character.errors_of(kind)}
            assert not known or status in known, fault


async def test_a_wrong_key_is_refused_as_the_provider_does_it() -> None:
    """Gemini answers 400, in a list, to the list of models too. The right key opens the door."""
    settings = RehearsalSettings(character=load_character("gemini"), api_key="right")
    async with rehearsal_provider(settings) as provider:
        body = {"model": "m", "messages": [{"role": "user", "content": "A document."}]}
        path = "/v1beta/openai/chat/completions"
        status, told, _ = await _post(provider, path, body, Authorization="Bearer wrong")
        assert (status, told[0]["error"]["status"]) == (400, "INVALID_ARGUMENT")
        assert (await _post(provider, path, body, Authorization="Bearer right"))[0] == 200


async def test_the_model_of_the_recipe_is_listed() -> None:
    """So that `docsluice check` finds what the page says to set."""
    async with (
        rehearsal_provider(RehearsalSettings(character=GROQ)) as provider,
        aiohttp.ClientSession() as session,
        session.get(f"{provider.base_url}/models") as response,
    ):
        listed = await response.json()
    assert [model["id"] for model in listed["data"]] == [GROQ.recipe.model]


async def test_azure_has_its_deployment_in_the_path_and_its_key_in_a_header() -> None:
    """As Azure's own client asks."""
    settings = RehearsalSettings(character=load_character("azure"), api_key="right")
    body = {"model": "mine", "messages": [{"role": "user", "content": "A document."}]}
    path = "/openai/deployments/mine/chat/completions?api-version=2024-10-21"
    async with rehearsal_provider(settings) as provider:
        assert (await _post(provider, path, body, **{"api-key": "right"}))[0] == 200
        assert (await _post(provider, path, body, **{"api-key": "wrong"}))[0] == 401


async def test_a_limit_is_enforced_and_told_in_its_words() -> None:
    """Groq's 429 names the limit and the wait. Its headers tell the day's requests and the minute's tokens."""
    settings = RehearsalSettings(character=GROQ, tokens_per_minute=600)
    async with rehearsal_provider(settings) as provider:
        _, _, headers = await _chat(provider, text="word " * 200)
        assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-reset-requests"]) == ("14400", "6s")
        assert headers["x-ratelimit-limit-tokens"] == "600"
        status, body, headers = await _chat(provider, text="word " * 200)
        assert status == 429
        assert "tokens per minute (TPM): Limit 600, Used" in body["error"]["message"]
        assert int(headers["retry-after"]) > 1
        status, body, _ = await _chat(provider, text="word " * 600)
        assert (status, body["error"]["code"]) == (413, "rate_limit_exceeded")


async def test_no_limit_headers_where_none_are_wanted() -> None:
    """`--no-limit-headers` holds for a character, too."""
    settings = RehearsalSettings(character=GROQ, tokens_per_minute=6_000, limit_headers=False)
    async with rehearsal_provider(settings) as provider:
        _, _, headers = await _chat(provider)
    assert "x-groq-region" in headers
    assert not any(name.startswith("x-ratelimit") for name in headers)


async def test_a_refused_parameter_is_really_refused() -> None:
    """With the models that refuse it, and in the provider's words. With others it is taken."""
    async with rehearsal_provider(RehearsalSettings(character=load_character("openai"))) as provider:
        status, body, _ = await _chat(provider, model="gpt-5-mini")
        assert (status, body["error"]["param"]) == (400, "max_tokens")
        assert (await _chat(provider, model="gpt-4o-mini"))[0] == 200
        assert (await _chat(provider, model="gpt-5-mini", max_tokens=None, temperature=1))[0] == 400
        taken = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "A document."}], "temperature": 1}
        assert (await _post(provider, "/v1/chat/completions", taken))[0] == 200


async def test_thinking_takes_its_room_from_the_answer() -> None:
    """What would fit without it is cut, and the thinking is counted."""
    text, room = "Some words of a document.", 20
    async with rehearsal_provider(RehearsalSettings(character=load_character("deepseek"))) as provider:
        _, plain, _ = await _chat(provider, model="deepseek-chat", text=text, max_tokens=room)
        _, thought, _ = await _chat(provider, model="deepseek-reasoner", text=text, max_tokens=room)
    assert [body["choices"][0]["finish_reason"] for body in (plain, thought)] == ["stop", "length"]
    assert thought["choices"][0]["message"]["reasoning_content"]
    reasoning = [body["usage"]["completion_tokens_details"]["reasoning_tokens"] for body in (plain, thought)]
    assert reasoning[0] == 0 < reasoning[1]


async def test_without_a_character_nothing_has_changed() -> None:
    """The answers are as they always were."""
    async with rehearsal_provider() as provider:
        status, body, _ = await _chat(provider)
        assert (status, set(body)) == (200, {"id", "object", "created", "model", "choices", "usage"})
        assert (await _post(provider, "/nowhere", {}))[0] == 404

"""Each recipe of docs/reference/providers.md loads as a reader would use it: as a pipeline file and as settings."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docsluice.messages import Usage
from docsluice_consumer.bootstrap import prices_of, providers_of
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.provider import address_of
from docsluice_consumer.llm.provider_clients import ProviderClients
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.settings import Settings, load_settings
from docsluice_consumer.tasks.pipeline_file import PipelineFile, load_pipeline_file
from docsluice_consumer.tasks.step_building import steps_of
from docsluice_consumer.tasks.steps import Step
from docsluice_local.rehearsal.characters.character import Character
from docsluice_local.rehearsal.characters.loading import all_characters
from docsluice_local.rehearsal.characters.page import page

CHARACTERS = all_characters()
KEY = "sk-as-anybody-has-one"
TASK = """
name: recipe
tasks:
  - name: summary
    prompt: Summarize.
    output: {{type: text}}
    model: {model}
"""
each_character = pytest.mark.parametrize("character", CHARACTERS, ids=lambda character: character.name)


def _block(character: Character, language: str) -> str:
    """What stands in the recipe's block of this language on the page. Empty where there is none."""
    section = page([character]).partition(f"\n## {character.title}\n")[2]
    found = re.search(rf"^```{language}\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


def _loaded(character: Character, folder: Path) -> tuple[PipelineFile, tuple[Step, ...]]:
    """The pipeline file that a reader makes of the recipe, through the same doors as the service's."""
    model = re.search(r"A task then names `model: ([^`]+)`", page([character]))
    assert model
    path = folder / "pipeline.yaml"
    path.write_text(TASK.format(model=model[1]) + _block(character, "yaml"), encoding="utf-8")
    file = load_pipeline_file(path)
    return file, steps_of(file, mode="fanout", default_model="some-model")


def _settings(**fields: str) -> Settings:
    return load_settings({"openai_base_url": "http://localhost:1/v1", **fields})


@each_character
async def test_a_recipe_loads(character: Character, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its task asks that provider, with its key, at its address, and a client can be built for it."""
    recipe = character.recipe
    if recipe.key:
        monkeypatch.setenv(recipe.key, KEY)
    file, steps = _loaded(character, tmp_path)
    assert [step.models for step in steps] == [(ModelRef(character.name, recipe.model),)]
    providers = providers_of(_settings(), file, steps)
    (provider,) = providers.values()
    assert (provider.name, provider.base_url) == (character.name, recipe.base_url)
    assert await provider.credentials.key() == (KEY if recipe.key else None)
    assert dict(provider.headers) == dict(recipe.headers)
    await ProviderClients(providers, max_connections=1).close()


@each_character
def test_a_recipe_goes_to_the_right_path(character: Character, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual one behind the base URL. Azure's has the deployment and the API's version in it."""
    recipe = character.recipe
    if recipe.key:
        monkeypatch.setenv(recipe.key, KEY)
    file, steps = _loaded(character, tmp_path)
    (provider,) = providers_of(_settings(), file, steps).values()
    address = address_of(provider.base_url, azure_api_version=provider.azure_api_version)
    url = f"{address.base_url}{address.chat_path(recipe.model)}"
    if recipe.azure:
        assert url == f"{recipe.base_url}/openai/deployments/{recipe.model}/chat/completions"
        assert address.query == {"api-version": recipe.azure.api_version}
    else:
        assert url == f"{recipe.base_url}/chat/completions"
        assert not address.query


@each_character
def test_a_recipe_without_its_key_names_the_variable(
    character: Character, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing one is named. Own servers need none."""
    file, steps = _loaded(character, tmp_path)
    if not (key := character.recipe.key):
        assert providers_of(_settings(), file, steps)
        return
    monkeypatch.delenv(key, raising=False)
    with pytest.raises(ConfigurationError, match=rf"providers\.{character.name}\.api_key_env: the variable {key} "):
        providers_of(_settings(), file, steps)


@each_character
def test_the_model_of_a_recipe_has_a_price(character: Character, tmp_path: Path) -> None:
    """An own server is free, and a provider of the price list has a price for the recipe's model."""
    file, _ = _loaded(character, tmp_path)
    cost = prices_of(_settings(), file).cost_usd(
        ModelRef(character.name, character.recipe.model), Usage(input_tokens=1_000, output_tokens=1_000)
    )
    if character.recipe.prices == "free":
        assert cost == 0
    elif character.recipe.prices:
        assert cost is not None
        assert cost > 0


@each_character
def test_a_recipe_works_as_settings(character: Character) -> None:
    """For the default provider. Azure's classic address has no such form."""
    block = _block(character, "")
    if character.recipe.azure:
        assert not block
        return
    written = dict(line.split("=", 1) for line in block.splitlines())
    assert written.pop("OPENAI_API_KEY", None) == (f"${character.recipe.key}" if character.recipe.key else None)
    settings = load_settings(
        {"openai_base_url": written.pop("OPENAI_BASE_URL"), "model": written.pop("DOCSLUICE_MODEL")}
    )
    assert not written
    assert (settings.openai_base_url, settings.model) == (character.recipe.base_url, character.recipe.model)

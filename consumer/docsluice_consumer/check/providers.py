"""The providers' part of `check`: their lists of models, and with `--live` one real call for each task and model."""

from __future__ import annotations

import asyncio
import functools
import re
import time
import urllib.parse
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from docsluice.messages import Usage
from docsluice.network.tls import speaks_tls
from docsluice.network.urls import shown
from docsluice.text.known_secrets import KnownSecrets
from docsluice_consumer.analysis.rejections import rejection_of
from docsluice_consumer.bootstrap import prices_of, providers_of
from docsluice_consumer.check.findings import HANDSHAKE_SECONDS, TIMEOUT_SECONDS, Found, Say, tried
from docsluice_consumer.errors import DocsluiceError, InvalidAnswer, ProviderMisconfigured, ProviderUnavailable
from docsluice_consumer.llm.chat import Answer
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.pricing import Prices, cost_of_call
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.llm.provider_clients import ProviderClients
from docsluice_consumer.model_ref import DEFAULT_PROVIDER, ModelRef
from docsluice_consumer.settings import Settings
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.tasks.steps import Step

_SHOWN_MODELS = 10
_HTTP_PORT = 80
_PATH_IS_WHOLE = re.compile(r"/v\d|/deployments/|[?&]api-version=")
_LIVE_TELLS = "check --live tells for certain"
_DOCUMENT = "The lighthouse keeper wrote to the harbour office that the new lamp had arrived undamaged."


async def check_providers(
    settings: Settings,
    file: PipelineFile,
    steps: Sequence[Step],
    secrets: KnownSecrets | None = None,
    *,
    live: bool,
    say: Say,
) -> bool:
    """Print a line for each provider, and with `live` one for each model. True when all is well.

    Raises:
        ConfigurationError: a key that the file or the settings name cannot be had.
    """
    providers = providers_of(settings, file, steps, secrets)
    models = {model for step in steps for model in step.models}
    reached: dict[str, Provider] = {}
    for name, provider in providers.items():
        asked = sorted(model.name for model in models if model.provider == name)
        what = f"provider {shown(provider.base_url) if provider.base_url else 'OpenAI'} ({_where(name, file)})"
        if await tried(what, lambda provider=provider, asked=asked: _listed(provider, asked), say):  # type: ignore[misc]
            reached[name] = provider
    well = not live or await _live(reached, file, steps, prices_of(settings, file), say)
    return well and len(reached) == len(providers)


def _where(name: str, file: PipelineFile) -> str:
    return "OPENAI_BASE_URL" if name == DEFAULT_PROVIDER else f"{file.path}: providers.{name}"


async def _listed(provider: Provider, models: Sequence[str]) -> Found:
    client = OpenAIChatClient(provider=provider, max_connections=1)
    url = provider.base_url or ""
    try:
        await _have_key(provider)
        async with asyncio.timeout(TIMEOUT_SECONDS):
            offered = await client.probe()
    except (TimeoutError, DocsluiceError) as problem:
        if url.startswith("http:") and await _speaks_tls(url):
            raise ProviderMisconfigured(f"it speaks TLS; begin {provider.address_setting} with https://") from None
        if isinstance(problem, TimeoutError):
            raise ProviderUnavailable(f"no answer within {TIMEOUT_SECONDS:.0f} seconds") from None
        raise
    finally:
        await client.close()
    if not offered:
        hint = (
            ""
            if (provider.azure_api_version or _PATH_IS_WHOLE.search(url))
            else f"did you leave out /v1 ({provider.address_setting})? "
        )
        return Found(f"reached, but there is no list of models at this path; {hint}{_LIVE_TELLS}", doubtful=True)
    unknown = sorted(set(models) - set(offered))
    if not unknown:
        return Found(f"reached; offers {', '.join(models)}")
    listed = ", ".join(sorted(offered)[:_SHOWN_MODELS])
    meant = [f"did you mean {close[0]}? " for name in unknown if (close := get_close_matches(name, offered, n=1))]
    return Found(
        f"reached, but it does not list {', '.join(unknown)}; it lists {listed}; {''.join(meant)}{_LIVE_TELLS}",
        doubtful=True,
    )


async def _speaks_tls(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return await speaks_tls(parts.hostname, parts.port or _HTTP_PORT, seconds=HANDSHAKE_SECONDS)


async def _have_key(provider: Provider) -> None:
    """Get the key first, so that a hanging command does not look like a hanging provider."""
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            await provider.credentials.key()
    except TimeoutError:
        message = (
            f"no API key within {TIMEOUT_SECONDS:.0f} seconds ({provider.key_setting}); the provider was not asked"
        )
        raise ProviderMisconfigured(message) from None


async def _live(
    providers: dict[str, Provider], file: PipelineFile, steps: Sequence[Step], prices: Prices, say: Say
) -> bool:
    """Make one real call for each step and each of its models at these providers, about a short text."""
    text = next((example.document for example in file.examples), _DOCUMENT)
    client = ProviderClients(providers, max_connections=1)
    well = True
    try:
        for model, step in _distinct_calls(steps):
            if model.provider not in providers:
                continue
            what = f"a call of {model} (task {step.name})"
            call = functools.partial(_called, client, model, step, text, prices, file.path)
            well &= await tried(what, call, say)
    finally:
        await client.close()
    return well


def _distinct_calls(steps: Iterable[Step]) -> list[tuple[ModelRef, Step]]:
    """Each step with each of its models: a server may take one step's schema and refuse another's."""
    found = {(model, step.name): step for step in steps for model in step.models}
    return [(model, step) for (model, _), step in sorted(found.items(), key=lambda entry: entry[0])]


async def _called(client: ProviderClients, model: ModelRef, step: Step, text: str, prices: Prices, path: str) -> Found:
    """The line on a call that was answered well.

    Raises:
        InvalidAnswer: `run` could not use the answer to this plain text.
    """
    started = time.monotonic()
    request = step.request(text).to(model)
    answer = await client.ask(request)
    seconds = time.monotonic() - started
    took = f"{_tokens(answer)} in {seconds:.1f} s, {_cost(answer, model, prices)}"
    remedy = f"change the model, the prompt or the output ({path}: tasks)"
    if (rejection := rejection_of(request, answer)) is not None:
        raise InvalidAnswer(f"answered ({took}), but {rejection}; {remedy}")
    try:
        step.read(answer)
    except InvalidAnswer as problem:
        raise InvalidAnswer(f"answered ({took}), but the answer is not valid: {problem}; {remedy}") from None
    return Found(f"answered; {took}")


def _tokens(answer: Answer) -> str:
    if answer.usage is None:
        return "no usage reported"
    return f"{answer.usage.input_tokens} tokens in and {answer.usage.output_tokens} out"


def _cost(answer: Answer, model: ModelRef, prices: Prices) -> str:
    cost = cost_of_call(prices, model, answer.usage or Usage(), stated=answer.stated_cost_usd)
    return "at no known price" if cost is None else f"${cost:.6f}"

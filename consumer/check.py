"""`docsluice-consumer check`: tries all that `run` needs, and says what is missing before documents are at stake."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from consumer.errors import DocsluiceError
from consumer.kafka.connection import missing_topics
from consumer.llm.pipeline_file import load_pipeline_file
from consumer.llm.pricing import load_own_prices
from consumer.llm.steps import steps_of
from consumer.service import broker_of, client_of, topics_of
from consumer.settings import Settings

_PATIENCE_SECONDS = 10.0
_SHOWN_MODELS = 10


@dataclass(frozen=True, slots=True)
class Found:
    """What a part turned out to be. `doubtful`: it may yet work, for some servers do not list all that they have."""

    sentence: str
    doubtful: bool = False


async def check(settings: Settings, *, say: Callable[[str], None]) -> bool:
    """Print a line a part; True when all is well.

    Raises:
        ConfigurationError: the pipeline file or the prices file cannot be used.
    """
    file = load_pipeline_file(settings.pipeline)
    mode = settings.mode or file.mode
    steps = steps_of(file, mode=mode, default_model=settings.model)
    tasks = ", ".join(task.name for task in file.tasks)
    say(f"ok       pipeline {file.name} ({mode}): {tasks}")
    if settings.prices:
        say(f"ok       prices {settings.prices}: {', '.join(load_own_prices(settings.prices))}")
    models = {step.model for step in steps}
    broker = await _tried(
        f"broker {settings.kafka_bootstrap_servers} (KAFKA_BOOTSTRAP_SERVERS)", lambda: _check_broker(settings), say
    )
    provider = await _tried(
        f"provider {settings.openai_base_url or 'OpenAI'} (OPENAI_BASE_URL)",
        lambda: _check_provider(settings, models),
        say,
    )
    return broker and provider


async def _tried(what: str, attempt: Callable[[], Awaitable[Found]], say: Callable[[str], None]) -> bool:
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            found = await attempt()
    except TimeoutError:
        say(f"FAILED   {what}: no answer within {_PATIENCE_SECONDS:.0f} seconds")
        return False
    except DocsluiceError as problem:
        say(f"FAILED   {what}: {problem}")
        return False
    say(f"{'DOUBTFUL' if found.doubtful else 'ok      '} {what}: {found.sentence}")
    return True


async def _check_broker(settings: Settings) -> Found:
    missing = await missing_topics(broker_of(settings), topics_of(settings))
    if missing:
        return Found(f"reached; {', '.join(missing)} missing, run will create them")
    return Found("reached; all topics are there")


async def _check_provider(settings: Settings, models: set[str]) -> Found:
    client = client_of(settings)
    try:
        offered = await client.probe()
    finally:
        await client.close()
    unknown = sorted(models - set(offered))
    if not unknown:
        return Found(f"reached; offers {', '.join(sorted(models))}")
    listed = ", ".join(sorted(offered)[:_SHOWN_MODELS]) or "none"
    missing = ", ".join(unknown)
    return Found(f"reached, but it does not list {missing} (DOCSLUICE_MODEL); it lists {listed}", doubtful=True)

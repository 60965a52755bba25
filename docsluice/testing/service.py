"""The made-up model, and the service on the embedded broker."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docsluice.client.producer import DocumentProducer
from docsluice.client.received import DeadLetter, ReceivedResult
from docsluice.client.subscription import Subscription, dead_letters, results
from docsluice.errors import ConfigurationError
from docsluice.testing.answers import Answers, answers_of
from docsluice.text.likely_names import did_you_mean

if TYPE_CHECKING:
    from docsluice_consumer.settings import Settings
    from docsluice_consumer.tasks.pipeline_file import PipelineFile
    from docsluice_local.rehearsal.provider import RehearsalProvider

READY_SECONDS = 60.0
_NO_KEYS = ("api_key_env", "api_key_file", "api_key_command", "azure")


def fake_model(answers: Answers | None = None) -> AbstractAsyncContextManager[RehearsalProvider]:
    """Serve a made-up model that speaks OpenAI's chat completions. `base_url` is its address, `calls` are its calls.

    It is the rehearsal provider, so a marker in a document makes it fail: see docs/how-to/rehearse.md.
    """
    from docsluice_local.rehearsal.provider import rehearsal_provider  # noqa: PLC0415 - loaded when it is used
    from docsluice_local.rehearsal.settings import RehearsalSettings  # noqa: PLC0415

    return rehearsal_provider(RehearsalSettings(script=answers_of(answers)))


@dataclass(frozen=True, kw_only=True)
class RunningService:
    """A service that runs, on topics of its own."""

    bootstrap_servers: str
    input_topic: str
    result_topic: str
    dead_letter_topic: str

    def producer(self) -> DocumentProducer:
        """A producer of its input topic."""
        return DocumentProducer(topic=self.input_topic, bootstrap_servers=self.bootstrap_servers)

    def results(self, **how: Any) -> Subscription[ReceivedResult]:
        """Its results, from the earliest."""
        told = {"from_": "earliest", "topic": self.result_topic, "bootstrap_servers": self.bootstrap_servers}
        return results(**told | how)

    def dead_letters(self, **how: Any) -> Subscription[DeadLetter]:
        """Its dead letters, from the earliest."""
        told = {"from_": "earliest", "topic": self.dead_letter_topic, "bootstrap_servers": self.bootstrap_servers}
        return dead_letters(**told | how)


@asynccontextmanager
async def running_service(
    pipeline: str | Path | None = None, *, bootstrap_servers: str, answers: Answers | None = None, **settings: Any
) -> AsyncIterator[RunningService]:
    """Run the service on a broker and a made-up model for the length of a block. It drains at the end.

    `settings` are those of docs/reference/settings.md, by the names of their fields.

    Raises:
        ConfigurationError: the settings or the pipeline cannot work.
        ServiceFault: from the end of the block, if the service had to stop.
    """
    from docsluice_consumer.service import Service  # noqa: PLC0415 - loaded when it is used

    name = f"test-{uuid.uuid4().hex[:10]}"
    running = RunningService(
        bootstrap_servers=bootstrap_servers,
        input_topic=f"{name}.documents",
        result_topic=f"{name}.results",
        dead_letter_topic=f"{name}.dlq",
    )
    async with fake_model(answers) as model:
        own = {"kafka_bootstrap_servers": bootstrap_servers, "group_id": name, "commit_interval_seconds": 0.05}
        own |= {field: getattr(running, field) for field in ("input_topic", "result_topic", "dead_letter_topic")}
        service = Service(
            settings_of(pipeline, model.base_url, **own, **settings), file=file_of(pipeline, model.base_url, answers)
        )
        stop = asyncio.Event()
        run = asyncio.create_task(service.run(stop), name="docsluice.service-under-test")
        try:
            async with asyncio.timeout(READY_SECONDS):
                while service.why_not_ready() and not run.done():  # noqa: ASYNC110 - as a probe does
                    await asyncio.sleep(0.01)
            if run.done():
                run.result()
            yield running
        finally:
            stop.set()
            await run


def settings_of(pipeline: str | Path | None, base_url: str, **given: Any) -> Settings:
    """Settings of a service that asks nobody but the made-up model. The environment counts below what is given."""
    from docsluice_consumer.settings import Settings, load_settings  # noqa: PLC0415 - loaded when it is used

    if unknown := sorted(given.keys() - Settings.model_fields.keys()):
        raise ConfigurationError(
            [f"{name}: no such setting{did_you_mean(name, Settings.model_fields)}" for name in unknown]
        )
    own: dict[str, Any] = {
        "pipeline": None if pipeline is None else Path(pipeline),
        "openai_base_url": base_url,
        "openai_api_key": "sk-made-up",
        "openai_api_key_file": None,
        "openai_api_key_command": None,
        "shared_limits_url": None,
        "budget_usd_per_hour": None,
        "budget_usd_per_day": None,
        "store_url": "memory://",
        "http_host": "127.0.0.1",
        "http_port": 0,
    }
    return load_settings(own | given, env_file=Path(os.devnull))


def file_of(pipeline: str | Path | None, base_url: str, answers: Answers | None) -> PipelineFile:
    """The pipeline file, with the made-up model in the place of each provider.

    Raises:
        ConfigurationError: it cannot be used, or the answers name a task that it does not have.
    """
    from docsluice_consumer.tasks.pipeline_file import load_pipeline_file  # noqa: PLC0415 - loaded when it is used

    file = load_pipeline_file(None if pipeline is None else Path(pipeline))
    tasks = [task.name for task in file.tasks]
    if unknown := sorted(answers_of(answers).tasks - set(tasks)):
        raise ConfigurationError(
            [f"answers: {name} is no task of {file.path}; there are {', '.join(tasks)}" for name in unknown]
        )
    elsewhere = {"base_url": base_url, **dict.fromkeys(_NO_KEYS)}
    providers = {name: entry.model_copy(update=elsewhere) for name, entry in file.providers.items()}
    return file.model_copy(update={"providers": providers})

"""Pipeline files with providers of their own."""

from __future__ import annotations

from typing import Any

from docsluice.messages import Usage
from docsluice_consumer.settings import Settings, load_settings
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from tests.fakes.samples import pipeline_file

OWN_URL = "http://localhost:8000/v1"
TASK = {"name": "k", "prompt": "P", "output": {"type": "text"}}


def provider_entry(**fields: Any) -> dict[str, Any]:
    return {"own": {"base_url": OWN_URL, **fields}}


def file_of(*, model: Any = "own/m", providers: dict[str, Any] | None = None, **more: Any) -> PipelineFile:
    return pipeline_file({**TASK, "model": model}, providers=providers or {"own": {"base_url": OWN_URL}}, **more)


def settings_with(**more: Any) -> Settings:
    return load_settings({"openai_base_url": "http://unused", **more})


MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
PER_MILLION = {"input_usd_per_million_tokens": 1, "output_usd_per_million_tokens": 2}

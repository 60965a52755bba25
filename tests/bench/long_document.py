"""A document of forty pages through a model with a context of 8,192 tokens: in parts, which are then condensed."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import deploy.local
from deploy.local.broker import embedded_broker
from deploy.local.model import SLOTS, local_model
from tests.bench.parts import TOPICS, consumer_process, outcomes, send

_LOCAL = Path(deploy.local.__file__).parent
_BYTES_A_PAGE = 2_800
"""Some 450 words."""


@dataclass(frozen=True, kw_only=True)
class Summarised:
    """What became of it."""

    pages: int
    result: dict[str, Any]
    seconds: float


def measure(*, pages: int = 40) -> Summarised:
    """Run one document, made of the demo's, through the real model."""
    text = book(pages)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "summary.yaml").write_text(json.dumps(_summary_alone()), encoding="utf-8")  # JSON is YAML
        with (
            embedded_broker(data_dir=place / "broker") as broker,
            local_model(log_path=place / "model.log") as model,
        ):
            asyncio.run(send(broker.bootstrap_servers, {"book": text}))
            settings = {
                "OPENAI_BASE_URL": model.base_url,
                "OPENAI_API_KEY": "",
                "DOCSLUICE_MODEL": model.name,
                "DOCSLUICE_PIPELINE": str(place / "summary.yaml"),
                "DOCSLUICE_MAX_CONCURRENCY": str(SLOTS),
                "DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "600",
            }
            began = time.monotonic()
            with consumer_process(broker.bootstrap_servers, settings, log_path=place / "consumer.log") as consumer:
                ((topic, value),) = asyncio.run(outcomes(broker.bootstrap_servers, 1, consumer))
            if topic != TOPICS[1]:
                raise RuntimeError(f"it became a dead letter:\n{consumer.log_tail()}")
            seconds = time.monotonic() - began
    return Summarised(pages=len(text.encode()) // _BYTES_A_PAGE, result=json.loads(value), seconds=seconds)


def _summary_alone() -> dict[str, Any]:
    """The demo's pipeline without its other tasks."""
    file = yaml.safe_load((_LOCAL.parent / "pipelines" / "local.yaml").read_text("utf-8"))
    file["tasks"] = [task for task in file["tasks"] if task["name"] == "summary"]
    for example in file["examples"]:
        example["answers"] = {"summary": example["answers"]["summary"]}
    return dict(file)


def book(pages: int) -> str:
    """So many pages in chapters, each about something else; it begins with volcanoes and ends with coral reefs."""
    texts = {path.stem: path.read_text("utf-8").strip() for path in sorted((_LOCAL / "documents").glob("*.txt"))}
    first, last = texts.pop("how-volcanoes-erupt"), texts.pop("how-coral-reefs-are-built")
    chapters, size, number = [first], len(first) + len(last), 0
    others = list(texts.values())
    while size < pages * _BYTES_A_PAGE:
        chapters.append(others[number % len(others)])
        size += len(chapters[-1].encode())
        number += 1
    return "\n\n\n".join([*chapters, last])

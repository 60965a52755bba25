"""A document of forty pages through a model with a context of 8,192 tokens: in parts, which are then condensed."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import re
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import docsluice_local
from docsluice_local.broker import embedded_broker
from docsluice_local.model import SLOTS, local_model
from tests.bench.parts import TOPICS, consumer_process, outcomes, send

_LOCAL = Path(docsluice_local.__file__).parent
_BYTES_A_PAGE = 2_800
"""Some 450 words."""
_TENTHS = 10


@dataclass(frozen=True, kw_only=True)
class Summarised:
    """What became of it."""

    pages: int
    result: dict[str, Any]
    seconds: float
    tenths: list[int]
    """Of which tenth of the document each sentence of the summary speaks."""


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
    result = json.loads(value)
    return Summarised(
        pages=len(text.encode()) // _BYTES_A_PAGE,
        result=result,
        seconds=seconds,
        tenths=tenths_of(result["outputs"]["summary"], text),
    )


def _summary_alone() -> dict[str, Any]:
    """The demo's pipeline without its other tasks, and about whole documents."""
    file = yaml.safe_load((_LOCAL.parent / "pipelines" / "local.yaml").read_text("utf-8"))
    (task,) = (task for task in file["tasks"] if task["name"] == "summary")
    del task["first_characters"]
    file["tasks"] = [task | {"long": "split", "output": {"type": "text", "max_characters": 420}}]
    file["examples"] = [
        example | {"answers": {"summary": example["answers"]["summary"]}}
        for example in file["examples"]
        if "summary" in example["answers"]
    ]
    return dict(file)


def book(pages: int) -> str:
    """So many pages in chapters, each about something else. What its first and last tenth tell is told nowhere else."""
    paths = sorted((_LOCAL / "documents").glob("*.txt"))
    texts = [path.read_text("utf-8").strip() for path in paths]
    each = math.ceil(pages * _BYTES_A_PAGE / _TENTHS / min(len(text.encode()) for text in texts))
    first, middle, last = texts[:each], texts[each:-each], texts[-each:]
    chapters, others = [*first], itertools.cycle(middle)
    while _size([*chapters, *last]) < pages * _BYTES_A_PAGE:
        chapters.append(next(others))
    return "\n\n\n".join([*chapters, *last])


def tenths_of(summary: str, text: str) -> list[int]:
    """For each sentence, the tenth of the text, 1 to 10, that has most of its words. Rare words count for more."""
    size = math.ceil(len(text) / _TENTHS)
    tenths = [_words(text[begin : begin + size]) for begin in range(0, len(text), size)]
    found = Counter(word for words in tenths for word in words)
    return [
        1 + max(range(len(tenths)), key=lambda n: sum(1 / found[word] for word in _words(sentence) & tenths[n]))
        for sentence in re.split(r"(?<=[.!?\u2026])\s+", summary)
    ]


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w{4,}", text.casefold()))


def _size(texts: list[str]) -> int:
    return sum(len(text.encode()) for text in texts)

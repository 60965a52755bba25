"""How many documents an hour the local model does on this machine."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import docsluice_local
from docsluice_local.broker import embedded_broker
from docsluice_local.model import SLOTS, local_model
from tests.bench.parts import TOPICS, consumer_process, outcomes, send

_LOCAL = Path(docsluice_local.__file__).parent
_SECONDS_AN_HOUR = 3600


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """What one run did."""

    results: int
    dead_letters: int
    seconds: float
    output_tokens: int

    @property
    def documents_per_hour(self) -> float:
        """Ended documents, from the consumer's start to the last outcome."""
        return (self.results + self.dead_letters) / self.seconds * _SECONDS_AN_HOUR


def measure(*, documents: int = 100) -> Throughput:
    """Run the demo's documents, varied until there are enough of them, through the real model."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        with (
            embedded_broker(data_dir=place / "broker") as broker,
            local_model(log_path=place / "model.log") as model,
        ):
            asyncio.run(send(broker.bootstrap_servers, varied(documents)))
            settings = {
                "OPENAI_BASE_URL": model.base_url,
                "OPENAI_API_KEY": "",
                "DOCSLUICE_MODEL": model.name,
                "DOCSLUICE_PIPELINE": str(_LOCAL.parent / "pipelines" / "local.yaml"),
                "DOCSLUICE_MAX_CONCURRENCY": str(SLOTS + 1),
                "DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "300",
            }
            began = time.monotonic()
            with consumer_process(broker.bootstrap_servers, settings, log_path=place / "consumer.log") as consumer:
                found = asyncio.run(outcomes(broker.bootstrap_servers, documents, consumer))
            seconds = time.monotonic() - began
    results = [json.loads(value) for topic, value in found if topic == TOPICS[1]]
    return Throughput(
        results=len(results),
        dead_letters=len(found) - len(results),
        seconds=seconds,
        output_tokens=sum(result["usage"]["output_tokens"] for result in results),
    )


def varied(count: int) -> Mapping[str, str]:
    """`count` different documents of the demo's lengths: each round turns the paragraphs by one more."""
    originals = sorted((_LOCAL / "documents").glob("*.txt"))
    texts: dict[str, str] = {}
    for number in range(count):
        original, turn = originals[number % len(originals)], number // len(originals)
        title, *paragraphs = original.read_text(encoding="utf-8").strip().split("\n\n")
        turn %= len(paragraphs)
        texts[f"{original.stem}-{number}"] = "\n\n".join([title, *paragraphs[turn:], *paragraphs[:turn]])
    return texts

"""What exactly once costs: the same work in both modes, side by side, with a provider that answers at once."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from docsluice_local.kafka import apache_kafka
from docsluice_local.rehearsal.provider import rehearsal_process
from tests.bench.parts import consumer_process, outcomes, send

_PARTITIONS = 6


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Documents a second in each mode."""

    at_least_once: float
    exactly_once: float

    @property
    def ratio(self) -> float:
        """1 would be exactly once for nothing."""
        return self.exactly_once / self.at_least_once


def measure(*, documents: int = 3000) -> Cost:
    """Run both modes in turn, each on topics of a broker of its own, in the same minutes on the same machine."""
    with tempfile.TemporaryDirectory() as folder:
        return Cost(
            at_least_once=_documents_per_second(Path(folder) / "least", "at_least_once", documents),
            exactly_once=_documents_per_second(Path(folder) / "exactly", "exactly_once", documents),
        )


def _documents_per_second(place: Path, delivery: str, documents: int) -> float:
    texts = {f"doc-{n}": f"Document {n}. " + "A sentence of some words. " * 40 for n in range(documents)}
    with (
        apache_kafka(data_dir=place / "broker") as broker,
        rehearsal_process(log_path=place / "rehearsal.log", arguments=["--median-seconds", "0.05"]) as base_url,
    ):
        asyncio.run(send(broker.bootstrap_servers, texts, partitions=_PARTITIONS))
        settings = {
            "OPENAI_BASE_URL": base_url,
            "OPENAI_API_KEY": "",
            "DOCSLUICE_MODE": "fused",
            "DOCSLUICE_DELIVERY": delivery,
            "DOCSLUICE_MAX_CONCURRENCY": "64",
        }
        with consumer_process(broker.bootstrap_servers, settings, log_path=place / "consumer.log") as consumer:
            began = time.monotonic()
            asyncio.run(outcomes(broker.bootstrap_servers, documents, consumer))
            return documents / (time.monotonic() - began)

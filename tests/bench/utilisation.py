"""How much of the allowed concurrency is used: 1,000 documents of 3 calls against lognormal latencies, 30 at a time.

The bound is what greedy scheduling would reach on those very latencies, with no work but waiting: each call begins the
moment one of the 30 slots is free, in the order in which ours began.
"""

from __future__ import annotations

import asyncio
import heapq
import json
import tempfile
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from docsluice_local.broker import embedded_broker
from docsluice_local.rehearsal.provider import rehearsal_process
from tests.bench.parts import consumer_process, outcomes, send

MEDIAN_SECONDS, SIGMA = 0.8, 0.7


@dataclass(frozen=True, kw_only=True)
class Utilisation:
    """Shares of the slots' time in which a call was being answered."""

    calls: int
    seconds: float
    ours: float
    bound: float

    @property
    def ratio(self) -> float:
        """1 would be greedy scheduling without any overhead."""
        return self.ours / self.bound


def measure(*, documents: int = 1000, slots: int = 30) -> Utilisation:
    """Run the consumer once and read the provider's own log."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        latency = ["--median-seconds", str(MEDIAN_SECONDS), "--sigma", str(SIGMA)]
        with (
            embedded_broker(data_dir=place / "broker") as broker,
            rehearsal_process(log_path=place / "rehearsal.log", arguments=latency) as base_url,
        ):
            texts = {f"doc-{n}": f"Document {n}. " + "A sentence of some words. " * 40 for n in range(documents)}
            asyncio.run(send(broker.bootstrap_servers, texts))
            settings = {"OPENAI_BASE_URL": base_url, "OPENAI_API_KEY": "", "DOCSLUICE_MAX_CONCURRENCY": str(slots)}
            with consumer_process(broker.bootstrap_servers, settings, log_path=place / "consumer.log") as consumer:
                asyncio.run(outcomes(broker.bootstrap_servers, documents, consumer))
            return _judge(_calls(base_url), slots=slots)


def greedy_seconds(latencies: Sequence[float], *, slots: int) -> float:
    """When the last call ends if each begins as soon as a slot is free."""
    free_at = [0.0] * slots
    for latency in latencies:
        heapq.heapreplace(free_at, free_at[0] + latency)
    return max(free_at)


def _judge(calls: Sequence[dict[str, float]], *, slots: int) -> Utilisation:
    latencies = [call["latency_seconds"] for call in sorted(calls, key=lambda call: call["started_at"])]
    seconds = max(call["ended_at"] for call in calls) - min(call["started_at"] for call in calls)
    work = sum(latencies)
    return Utilisation(
        calls=len(calls),
        seconds=seconds,
        ours=work / slots / seconds,
        bound=work / slots / greedy_seconds(latencies, slots=slots),
    )


def _calls(base_url: str) -> Sequence[dict[str, float]]:
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/rehearsal/calls", timeout=30) as response:
        log: dict[str, list[dict[str, float]]] = json.load(response)
    return log["calls"]

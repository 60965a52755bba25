"""Half an hour of rare faults of every kind: whether the last minutes are as fast as the first, and nothing grows."""

from __future__ import annotations

import asyncio
import tempfile
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from prometheus_client.parser import text_string_to_metric_families
from rich.progress import track

from docsluice_consumer.telemetry.catalogue import PREFIX
from docsluice_local.kafka import apache_kafka
from docsluice_local.process import free_port
from docsluice_local.rehearsal.provider import rehearsal_process
from tests.bench.parts import consumer_process, send

_SAMPLES = 30
_DOCUMENTS_A_SECOND = 40
"""More than can be done, so that there is work to the end."""
_BARS = "▁▂▃▄▅▆▇█"
# What docker-compose.yml rehearses, and each other fault as rarely.
_FAULTS = {
    "429": 0.005,
    "500": 0.005,
    "429_bare": 0.001,
    "503": 0.001,
    "reset": 0.001,
    "hang": 0.0002,
    "invalid_json": 0.001,
    "wrong_schema": 0.001,
    "truncated": 0.001,
    "refusal": 0.001,
    "content_filter": 0.001,
}
_LATENCY = ("--median-seconds", "0.8", "--sigma", "0.7")


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One stretch of the run: documents a second over it, and what the process held at its end."""

    documents_per_second: float
    resident_mb: float
    descriptors: float
    tasks: float
    series: float


FIGURES = ("documents_per_second", "resident_mb", "descriptors", "tasks", "series")


def measure(*, minutes: float = 30.0) -> Sequence[Sample]:
    """Thirty samples over so many minutes."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        faults = [part for name, share in _FAULTS.items() for part in ("--fault-rate", f"{name}={share}")]
        with (
            apache_kafka(data_dir=place / "broker") as broker,
            rehearsal_process(log_path=place / "rehearsal.log", arguments=[*_LATENCY, *faults]) as base_url,
        ):
            text = "A sentence of some words. " * 20
            count = int(minutes * 60 * _DOCUMENTS_A_SECOND)
            asyncio.run(send(broker.bootstrap_servers, {f"doc-{n}": f"{n}. {text}" for n in range(count)}))
            settings = {
                "OPENAI_BASE_URL": base_url,
                "OPENAI_API_KEY": "",
                "DOCSLUICE_MODE": "fused",
                "DOCSLUICE_MAX_CONCURRENCY": "24",
                "DOCSLUICE_REQUEST_TIMEOUT_SECONDS": "15",
                "DOCSLUICE_HTTP_PORT": str(free_port()),
            }
            with consumer_process(broker.bootstrap_servers, settings, log_path=place / "consumer.log"):
                return _watched(int(settings["DOCSLUICE_HTTP_PORT"]), seconds=minutes * 60 / _SAMPLES)


def spark(values: Sequence[float]) -> str:
    """A line of bars from 0 up, one for each value."""
    top = max(values, default=0.0) or 1.0
    return "".join(_BARS[min(len(_BARS) - 1, int(value / top * len(_BARS)))] for value in values)


def last_to_first(values: Sequence[float]) -> float:
    """The mean of the last third over that of the first, of which the very first sample is left out: it warms up."""
    third = max(1, len(values) // 3)
    return mean(values[-third:]) / (mean(values[1 : 1 + third]) or 1.0)


def _watched(port: int, *, seconds: float) -> Sequence[Sample]:
    samples, (before, _) = [], _looked(port)
    for _ in track(range(_SAMPLES), description="watching a service at work"):
        time.sleep(seconds)
        now, series = _looked(port)
        done = now["documents_total"] - before["documents_total"]
        before = now
        samples.append(
            Sample(
                documents_per_second=done / seconds,
                resident_mb=now["process_resident_memory_bytes"] / 1e6,
                descriptors=now["process_open_fds"],
                tasks=now["event_loop_tasks"],
                series=series,
            )
        )
    return samples


def _looked(port: int) -> tuple[Mapping[str, float], int]:
    """Each metric's sum over its labels, and how many series there are."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        families = list(text_string_to_metric_families(response.read().decode()))
    sums: dict[str, float] = {"documents_total": 0.0}
    series = 0
    for family in families:
        for sample in family.samples:
            series += 1
            name = sample.name.removeprefix(PREFIX)
            sums[name] = sums.get(name, 0.0) + sample.value
    return sums, series

"""One pipeline over two real servers: a model of one's own on llama.cpp, and a cloud behind it where that is away."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from docsluice.messages import DocumentResult, Usage
from docsluice_consumer.llm.pricing import PriceRules
from docsluice_local.model import MODEL_NAME, local_model
from docsluice_local.process import free_port
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.acceptance import programs
from tests.integration.wire import Record, Wire, document, until

AT_FIRST, WHILE_AWAY, LATER, AFTER_THAT = 40, 60, 20, 2
"""Few while the own server is there, for its answers take seconds, and later only until it has given one again."""
CLOUD_NAME = "gpt-4o-mini"
OWN, CLOUD = f"own/{MODEL_NAME}", f"cloud/{CLOUD_NAME}"
KEY = "sk-of-the-cloud-alone"
OK = "ok"


def _pipeline(own_url: str, cloud_url: str) -> dict[str, Any]:
    """Two tasks: one asks its own server first, and the cloud where that is away. The other asks the cloud."""
    return {
        "name": "two providers",
        "mode": "fanout",
        "providers": {
            "own": {"base_url": own_url, "prices": "free"},
            "cloud": {"base_url": cloud_url, "api_key_env": "CLOUD_KEY", "prices": "openai"},
        },
        "tasks": [
            {
                "name": "category",
                "prompt": "Choose tech or other.",
                "output": {"type": "choice", "labels": ["tech", "other"]},
                "model": [OWN, CLOUD],
                "max_output_tokens": 20,
            },
            {"name": "keywords", "prompt": "Give keywords.", "output": {"type": "list", "items": 3}, "model": CLOUD},
        ],
    }


class _OwnServer:
    """The local model at one address, which can be stopped and started again."""

    def __init__(self, *, log_path: Path) -> None:
        self.port = free_port()
        self.base_url = f"http://127.0.0.1:{self.port}/v1"
        self._log_path = log_path
        self._running = contextlib.ExitStack()

    async def start(self) -> None:
        await asyncio.to_thread(
            self._running.enter_context, local_model(log_path=self._log_path, port=self.port, slots=1)
        )

    async def stop(self) -> None:
        await asyncio.to_thread(self._running.close)


@contextlib.asynccontextmanager
async def _own_server(log_path: Path) -> AsyncIterator[_OwnServer]:
    server = _OwnServer(log_path=log_path)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


class _Metrics:
    """What the consumer counted, by provider."""

    def __init__(self, exposition: str) -> None:
        self._samples = [sample for family in text_string_to_metric_families(exposition) for sample in family.samples]

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """A counter's sums by one label, over all series with these labels."""
        found: defaultdict[str, float] = defaultdict(float)
        for sample in self._samples:
            if sample.name == f"docsluice_{name}" and labels.items() <= sample.labels.items():
                found[sample.labels[label]] += sample.value
        return dict(found)

    def calls(self, provider: str) -> int:
        """Calls that were answered."""
        return int(self.by("provider", "llm_requests_total", outcome=OK).get(provider, 0))

    def tokens(self, provider: str) -> tuple[int, int]:
        """Input and output."""
        found = self.by("direction", "llm_tokens_total", provider=provider)
        return int(found["input"]), int(found["output"])


async def _metrics(settings: Mapping[str, str]) -> _Metrics:
    url = f"http://127.0.0.1:{settings['DOCSLUICE_HTTP_PORT']}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return _Metrics(await response.text())


def _cloud_tokens(cloud: RehearsalProvider) -> tuple[int, int]:
    """What the cloud says that it was asked and has answered."""
    answered = [call for call in cloud.calls if call.status == 200]
    return sum(call.prompt_tokens for call in answered), sum(call.completion_tokens for call in answered)


def _cloud_usd(cloud: RehearsalProvider) -> Decimal:
    """What its calls cost by the price list, each by itself."""
    rules = PriceRules(rule="openai")
    costs = [
        rules.cost_usd(
            CLOUD_NAME,
            Usage(
                input_tokens=call.prompt_tokens, output_tokens=call.completion_tokens, cached_tokens=call.cached_tokens
            ),
        )
        for call in cloud.calls
        if call.status == 200
    ]
    assert all(costs)
    return sum((cost for cost in costs if cost), Decimal(0))


def _documents(first: int, count: int) -> list[Record]:
    return [document(f"d{number}") for number in range(first, first + count)]


async def _play(wire: Wire, settings: Mapping[str, str], own: _OwnServer) -> tuple[int, _Metrics]:
    """Send documents, and have the own server be away in the middle. Returns how many, and what was counted."""

    async def answered(provider: str, at_least: int) -> bool:
        return (await _metrics(settings)).calls(provider) >= at_least

    await wire.produce(_documents(0, AT_FIRST))
    await until(lambda: answered("own", 3), what="the own server has answered")
    await own.stop()
    stopped = await _metrics(settings)
    await wire.produce(_documents(AT_FIRST, WHILE_AWAY))
    more = stopped.calls("cloud") + WHILE_AWAY
    await until(lambda: answered("cloud", more), what="the cloud goes on alone")
    away = await _metrics(settings)
    assert away.calls("own") <= stopped.calls("own") + 1, "what is stopped answers nobody"
    await own.start()
    sent = AT_FIRST + WHILE_AWAY
    while sent < AT_FIRST + WHILE_AWAY + LATER and not await answered("own", away.calls("own") + 1):
        # One at a time, so that some are left when the next call is tried there.
        await wire.produce(_documents(sent, 1))
        sent += 1
        await asyncio.sleep(0.5)
    await until(lambda: answered("own", away.calls("own") + 1), what="the own server is asked again")
    await wire.produce(_documents(sent, AFTER_THAT))
    sent += AFTER_THAT

    async def all_ended() -> bool:
        found = (await _metrics(settings)).by("outcome", "documents_total")
        return sum(found.values()) == sent

    await until(all_ended, what="every document has ended")
    return sent, await _metrics(settings)


@pytest.mark.model
async def test_a_chain_over_two_providers(wire: Wire, log_path: Path, tmp_path: Path) -> None:
    """The own server is away for a while: no dead letter, results name their model, and the sums are right."""
    await wire.create_topics(partitions=2)
    async with (
        rehearsal_provider(RehearsalSettings(median_seconds=0.05, api_key=KEY, models=(CLOUD_NAME,))) as cloud,
        _own_server(tmp_path / "model.log") as own,
    ):
        pipeline = tmp_path / "pipeline.yaml"
        pipeline.write_text(yaml.safe_dump(_pipeline(own.base_url, cloud.base_url), sort_keys=False))
        settings = programs.environment(
            wire,
            "http://127.0.0.1:9/v1",  # the default provider is asked by nobody
            CLOUD_KEY=KEY,
            DOCSLUICE_PIPELINE=str(pipeline),
            DOCSLUICE_MAX_CONCURRENCY="8",
            DOCSLUICE_LOG_FORMAT="json",
        )
        child = programs.forked_consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)
            documents, metrics = await _play(wire, settings, own)
        finally:
            await asyncio.to_thread(child.stop)
    assert await wire.count("dead_letter") == 0
    results = [
        DocumentResult.model_validate_json(record.value)
        async for record in wire.read(wire.topics["result"], count=documents)
    ]
    assert {result.document_id for result in results} == {f"d{number}" for number in range(documents)}
    assert KEY not in log_path.read_text()
    _check_names(results, metrics, cloud)
    _check_sums(results, metrics, cloud)


def _check_names(results: list[DocumentResult], metrics: _Metrics, cloud: RehearsalProvider) -> None:
    """Each result names the model that answered, as often as the metrics and the cloud itself have it."""
    assert {result.models["keywords"] for result in results} == {CLOUD}
    who = Counter(result.models["category"] for result in results)
    assert set(who) == {OWN, CLOUD}
    for label, own, clouds in (("provider", "own", "cloud"), ("model", OWN, CLOUD)):
        answered = metrics.by(label, "llm_requests_total", outcome=OK)
        cut = metrics.by(label, "llm_requests_total", outcome="truncated")
        assert answered[clouds] == len(results) + who[CLOUD]
        # The small model may go on with blanks until it is cut: the answer is taken, and the call counts as cut.
        assert answered[own] <= who[OWN] <= answered[own] + cut.get(own, 0)
    assert Counter(call.task for call in cloud.calls) == {"keywords": len(results), "category": who[CLOUD]}
    failed = metrics.by("provider", "llm_requests_total", outcome="unavailable")
    assert failed["own"] > 0
    assert not failed.get("cloud")


def _check_sums(results: list[DocumentResult], metrics: _Metrics, cloud: RehearsalProvider) -> None:
    """Tokens and dollars of the results are those of the metrics, and the cloud's part is what it says itself."""
    own, clouds = metrics.tokens("own"), metrics.tokens("cloud")
    assert clouds == _cloud_tokens(cloud)
    assert min(own) > 0
    assert own[0] + clouds[0] == sum(result.usage.input_tokens for result in results)
    assert own[1] + clouds[1] == sum(result.usage.output_tokens for result in results)
    spent = metrics.by("provider", "llm_cost_usd_total")
    assert spent["own"] == 0
    assert spent["cloud"] == pytest.approx(float(_cloud_usd(cloud)))
    assert sum(result.cost_usd for result in results) == _cloud_usd(cloud)

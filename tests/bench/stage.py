"""Where the cases are played: a provider, an Apache Kafka for each, and contenders as processes of their own."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docsluice_local.broker import embedded_broker
from docsluice_local.process import Child, child_process, free_port
from tests.bench.contenders import ALONE, OURS, PEERS
from tests.bench.latency import Latency, Span
from tests.bench.parts import consumer_process, outcomes, send
from tests.bench.texts import texts

ROOT = Path(__file__).parents[2]
_SAMPLE = 5
_READY_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class Provider:
    """The provider, from outside its process."""

    base_url: str

    def count(self) -> int:
        """How many calls there were."""
        return int(self._told("count"))

    def calls(self) -> list[Span]:
        """When each call began and when its answer was due, by Unix time. None of those that were answered at once."""
        return [Span(begin=begin, end=begin + seconds) for begin, seconds in self._told("calls")]

    def requests(self) -> list[Any]:
        """The last request for each schema."""
        requests: list[Any] = self._told("requests")
        return requests

    def _told(self, what: str) -> Any:
        with urllib.request.urlopen(f"{self.base_url}/{what}", timeout=60) as response:
            return json.load(response)


class Stage:
    """Starts what a case needs. Every place is a folder of its own below `folder`, which must be new."""

    def __init__(self, folder: Path, *, peers_python: str | None) -> None:
        self._folder = folder
        self._peers_python = peers_python
        self._number = 0
        self._requests: dict[str, Path] = {}

    def place(self) -> Path:
        """A new folder."""
        self._number += 1
        place = self._folder / f"{self._number}"
        place.mkdir()
        return place

    def present(self, *names: str) -> list[str]:
        """Those contenders that can be started here. Without their environment, no peer can."""
        return [name for name in names if name in OURS or self._peers_python is not None]

    @contextmanager
    def provider(self, place: Path, latency: Latency | None = None) -> Iterator[Provider]:
        """One that answers at once, or after the text's own latency."""
        port = free_port()
        provider = Provider(base_url=f"http://127.0.0.1:{port}/v1")
        drawn = [str(latency.median_seconds), str(latency.sigma)] if latency else []
        with child_process(
            name="provider",
            command=[sys.executable, "-m", "tests.bench.provider", str(port), *drawn],
            log_path=place / "provider.log",
            environment={"PYTHONPATH": str(ROOT)},
            is_ready=lambda: _answers(provider),
            timeout_seconds=_READY_SECONDS,
        ):
            yield provider

    def contender(
        self,
        name: str,
        *,
        servers: str,
        provider: Provider,
        place: Path,
        in_flight: int,
        mode: str = "fused",
        partitions: int = 1,
        settings: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Child]:
        """Run a contender for the length of a block, and kill it after that: nobody needs what it has not done yet.

        `settings` go to ours alone. Ours is ready, a peer has just been started.
        """
        if name in OURS:
            of_ours = {**settings_of(provider, mode=mode, in_flight=in_flight), **OURS[name], **(settings or {})}
            starting = consumer_process(servers, of_ours, log_path=place / f"{name}.log")
        else:
            starting = child_process(
                name=name,
                command=self._command(*PEERS[name]),
                log_path=place / f"{name}.log",
                environment={
                    **self._task(provider, mode=mode, in_flight=in_flight),
                    "BENCH_SERVERS": servers,
                    "BENCH_PARTITIONS": str(partitions),
                },
                is_ready=lambda: True,
                timeout_seconds=_READY_SECONDS,
            )
        return _killed_after(starting)

    def alone(self, documents: Path, *, provider: Provider, place: Path, in_flight: int, mode: str) -> dict[str, float]:
        """Run the SDK without Kafka over a file with a list of texts, and return what it tells."""
        log = place / f"{ALONE}.log"
        child = Child(
            name=ALONE,
            command=self._command(f"{ALONE}_alone", str(documents)),
            log_path=log,
            environment=self._task(provider, mode=mode, in_flight=in_flight),
        )
        child.start()
        if child.wait(timeout_seconds=600):
            raise RuntimeError(f"it has failed:\n{child.log_tail()}")
        told: dict[str, float] = json.loads(log.read_text("utf-8"))
        return told

    def _command(self, module: str, *arguments: str) -> list[str]:
        return [self._peers_python or sys.executable, "-m", f"tests.bench.peers.{module}", *arguments]

    def _task(self, provider: Provider, *, mode: str, in_flight: int) -> dict[str, str]:
        return {
            "BENCH_BASE_URL": provider.base_url,
            "BENCH_IN_FLIGHT": str(in_flight),
            "BENCH_REQUESTS": str(self._requests_of(mode)),
            "PYTHONPATH": str(ROOT),
        }

    def _requests_of(self, mode: str) -> Path:
        """A file with what docsluice itself asks about a document, so that all others ask the same."""
        if mode not in self._requests:
            place = self.place()
            with embedded_broker(data_dir=place / "broker") as broker, self.provider(place) as provider:
                asyncio.run(send(broker.bootstrap_servers, texts(_SAMPLE, characters=100)))
                settings = settings_of(provider, mode=mode, in_flight=_SAMPLE)
                with consumer_process(broker.bootstrap_servers, settings, log_path=place / "log") as consumer:
                    asyncio.run(outcomes(broker.bootstrap_servers, _SAMPLE, consumer))
                self._requests[mode] = place / "requests.json"
                self._requests[mode].write_text(json.dumps(provider.requests()), encoding="utf-8")
        return self._requests[mode]


@contextmanager
def _killed_after(starting: AbstractContextManager[Child]) -> Iterator[Child]:
    with starting as child:
        try:
            yield child
        finally:
            child.kill()


def settings_of(provider: Provider, *, mode: str, in_flight: int) -> dict[str, str]:
    """Settings with which nothing but the calls in flight limits docsluice."""
    return {
        "OPENAI_BASE_URL": provider.base_url,
        "OPENAI_API_KEY": "",
        "DOCSLUICE_MODEL": "gpt-4o-mini",
        "DOCSLUICE_PRICES": "openai",
        "DOCSLUICE_MODE": mode,
        "DOCSLUICE_MAX_CONCURRENCY": str(in_flight),
        "DOCSLUICE_REQUESTS_PER_MINUTE": "10000000",
        "DOCSLUICE_TOKENS_PER_MINUTE": "10000000000",
    }


def _answers(provider: Provider) -> bool:
    try:
        provider.count()
    except OSError:
        return False
    return True

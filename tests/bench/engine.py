"""`make bench-engine`: what the engine itself costs, beside others that do the same work. The provider answers at once.

One after the other, in several rounds, each on an Apache Kafka of its own. A contender's speed and CPU time are taken
from the tenth part of its results to the last, so that its start does not count. Prints a table, and keeps JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from docsluice.kafka.broker import Broker
from docsluice_local.kafka import apache_kafka
from docsluice_local.process import Child, child_process, free_port
from docsluice_producer.following.reader import Reader, Start
from docsluice_producer.kafka.broker_session import broker_session
from tests.bench.parts import TOPICS, consumer_process, send

_ROOT = Path(__file__).parents[2]
_TEXTS = _ROOT / "deploy" / "docsluice_local" / "documents"
_PARTITIONS = 6
_FIRST = 0.1
_HERTZ = os.sysconf("SC_CLK_TCK")
_MIB = 2**20
_CAPTION = "median of the rounds; times: of what the plain loop reaches, or takes"

PEERS = ("plain_loop", "faststream_app", "langchain_batch")
ALONE = "sdk_alone"
"""The SDK without Kafka: the floor under all that use it."""
OURS: Mapping[str, Mapping[str, str]] = {
    "docsluice": {"DOCSLUICE_DELIVERY": "exactly_once"},
    "docsluice, at least once": {"DOCSLUICE_DELIVERY": "at_least_once"},
    "docsluice, no store": {"DOCSLUICE_DELIVERY": "exactly_once", "DOCSLUICE_STORE_URL": "memory://"},
}


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one contender in one round."""

    documents_per_second: float
    cpu_ms_per_document: float
    resident_mib: float


def main() -> int:
    """Run the rounds, print the table, and return the exit code."""
    arguments = _parser().parse_args()
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # a new broker has no leaders for a moment
    texts = dict(zip(map("doc-{}".format, range(arguments.documents)), _texts(arguments.characters), strict=False))
    found: dict[str, list[Figures]] = {}
    with tempfile.TemporaryDirectory() as folder, _instant_provider(Path(folder)) as base_url:
        stage = _Stage(Path(folder), base_url, texts, arguments)
        for number in range(arguments.rounds):
            for name in arguments.contenders or (*OURS, *((*PEERS, ALONE) if arguments.peers_python else ())):
                figures = stage.run(name)
                found.setdefault(name, []).append(figures)
                print(f"round {number + 1}  {name}: {figures}", file=sys.stderr, flush=True)  # noqa: T201 - progress
    Console().print(_table(found))
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({name: [*map(asdict, rows)] for name, rows in found.items()}))
    return 0


class _Stage:
    """Where the contenders work, one after the other, each with an Apache Kafka of its own."""

    def __init__(self, folder: Path, base_url: str, texts: Mapping[str, str], arguments: argparse.Namespace) -> None:
        self._folder, self._base_url, self._texts, self._arguments = folder, base_url, texts, arguments
        self._request = folder / "request.json"
        self._number = 0

    def run(self, name: str) -> Figures:
        """Lay out the documents, start the contender, and watch it to its last result."""
        if name == ALONE:
            return self._alone()
        self._number += 1
        place = self._folder / f"{self._number}"
        started = self._ours if name in OURS else self._peer
        with apache_kafka(data_dir=place / "kafka") as broker:
            asyncio.run(send(broker.bootstrap_servers, self._texts, partitions=_PARTITIONS))
            starting = started(name, broker.bootstrap_servers, place / "log")
            figures = asyncio.run(_watched(broker.bootstrap_servers, len(self._texts), starting))
        if name in OURS:
            with urllib.request.urlopen(self._base_url) as last:
                self._request.write_bytes(last.read())
        return figures

    def _ours(self, name: str, servers: str, log_path: Path) -> AbstractContextManager[Child]:
        settings = {
            "OPENAI_BASE_URL": self._base_url,
            "DOCSLUICE_MODEL": "gpt-4o-mini",
            "DOCSLUICE_PRICES": "openai",
            "DOCSLUICE_MODE": self._arguments.mode,
            "DOCSLUICE_MAX_CONCURRENCY": str(self._arguments.in_flight),
            "DOCSLUICE_REQUESTS_PER_MINUTE": "10000000",
            "DOCSLUICE_TOKENS_PER_MINUTE": "10000000000",
            **OURS[name],
        }
        return consumer_process(servers, settings, log_path=log_path)

    def _peer(self, name: str, servers: str, log_path: Path) -> AbstractContextManager[Child]:
        return child_process(
            name=name,
            command=[self._arguments.peers_python, "-m", f"tests.bench.peers.{name}"],
            log_path=log_path,
            environment={"BENCH_SERVERS": servers, **self._task()},
            is_ready=lambda: True,
            timeout_seconds=60,
        )

    def _alone(self) -> Figures:
        texts = self._folder / "texts.json"
        texts.write_text(json.dumps([*self._texts.values()]))
        command = [self._arguments.peers_python, "-m", f"tests.bench.peers.{ALONE}", str(texts)]
        ended = subprocess.run(command, env={**os.environ, **self._task()}, stdout=subprocess.PIPE, check=True)
        told = json.loads(ended.stdout)
        return Figures(
            documents_per_second=len(self._texts) / told["seconds"],
            cpu_ms_per_document=1000 * told["cpu"] / len(self._texts),
            resident_mib=told["resident_mib"],
        )

    def _task(self) -> dict[str, str]:
        return {
            "BENCH_BASE_URL": self._base_url,
            "BENCH_IN_FLIGHT": str(self._arguments.in_flight),
            "BENCH_REQUEST": str(self._request),
            "PYTHONPATH": str(_ROOT),
        }


async def _watched(servers: str, count: int, starting: AbstractContextManager[Child]) -> Figures:
    """Watch a contender from its start to its last result."""
    with broker_session(Broker(bootstrap_servers=servers), wait_seconds=30, say=print) as session:
        reader = Reader(session=session, topics=TOPICS[1:], start=Start(from_beginning=True))
        await reader.open()
        try:
            with starting as child:
                first = await _seen(reader, int(_FIRST * count), child)
                began, began_cpu = time.monotonic(), _cpu_seconds(child)
                rest = await _seen(reader, count - first, child)
                seconds, cpu = time.monotonic() - began, _cpu_seconds(child) - began_cpu
                resident_mib = _resident_mib(child)
        finally:
            await reader.close()
    return Figures(
        documents_per_second=rest / seconds, cpu_ms_per_document=1000 * cpu / rest, resident_mib=resident_mib
    )


async def _seen(reader: Reader, count: int, child: Child) -> int:
    """Wait for so many results, and return how many came with the last of them."""
    seen = 0
    while seen < count:
        if not child.running:
            raise RuntimeError(f"it has ended:\n{child.log_tail()}")
        seen += len(await reader.fetch(timeout_ms=20))
    return seen


def _cpu_seconds(child: Child) -> float:
    fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _HERTZ


def _resident_mib(child: Child) -> float:
    return int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / _MIB


@contextmanager
def _instant_provider(folder: Path) -> Iterator[str]:
    port = free_port()
    base_url = f"http://127.0.0.1:{port}/v1"
    with child_process(
        name="provider",
        command=[sys.executable, "-m", "tests.bench.instant_provider", str(port)],
        log_path=folder / "provider.log",
        environment={},
        is_ready=lambda: _answers(base_url),
        timeout_seconds=30,
    ):
        yield base_url


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def _texts(characters: int) -> Iterator[str]:
    """Pieces of the shipped documents, numbered, so that no two are the same. Without end."""
    whole = " ".join(path.read_text("utf-8") for path in sorted(_TEXTS.glob("*.txt")))
    number = 0
    while True:
        start = number * 997 % max(1, len(whole) - characters)
        yield f"{number}. {(whole * (1 + characters // len(whole)))[start : start + characters]}"
        number += 1


def _table(found: Mapping[str, list[Figures]]) -> Table:
    table = Table("contender", "documents a second", "times", "CPU ms a document", "times", "MiB", caption=_CAPTION)
    plain = found.get(PEERS[0])
    for name, rows in found.items():
        speeds = [one.documents_per_second for one in rows]
        table.add_row(
            name,
            f"{statistics.median(speeds):.0f} ({min(speeds):.0f} to {max(speeds):.0f})",
            f"{_middle(rows, 'documents_per_second') / _middle(plain, 'documents_per_second'):.2f}" if plain else "-",
            f"{_middle(rows, 'cpu_ms_per_document'):.2f}",
            f"{_middle(rows, 'cpu_ms_per_document') / _middle(plain, 'cpu_ms_per_document'):.2f}" if plain else "-",
            f"{_middle(rows, 'resident_mib'):.0f}",
        )
    return table


def _middle(rows: Sequence[Figures], field: str) -> float:
    return float(statistics.median(getattr(one, field) for one in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench-engine", description=__doc__)
    parser.add_argument("contenders", nargs="*", metavar="CONTENDER", help=f"of: {', '.join((*OURS, *PEERS, ALONE))}")
    parser.add_argument("--documents", type=int, default=6000)
    parser.add_argument("--characters", type=int, default=1000, help="of each text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--mode", choices=["fused", "fanout"], default="fused", help="how docsluice asks, and all others after it"
    )
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--peers-python", help="the interpreter of an environment that has the peers' libraries")
    parser.add_argument("--json", help="write the figures of each round to this file")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""One run: a broker full of documents, the provider, consumers, and how long to wait for what they do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from docsluice_local.broker import embedded_broker
from docsluice_local.kafka import apache_kafka
from docsluice_local.rehearsal.call_log import Call
from docsluice_local.rehearsal.provider import rehearsal_process
from tests.acceptance.faults.provider import Provider
from tests.bench.limits.consumers import Consumer
from tests.bench.limits.outcomes import Outcomes, watching
from tests.bench.limits.row import Bench
from tests.bench.parts import send

_LOOK_SECONDS = 0.25
_TIMEOUT_SECONDS = 120.0
_OPENED_RECORDS = 256


class GaveUpError(Exception):
    """What was waited for never came."""


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a run is made of.

    Attributes:
        provider: arguments of the rehearsal provider.
        settings: of all consumers, over those that every run has.
        documents: id to text, all on the topic before a consumer starts.
        place: the partition for the document with that number. None finds it by the document's id.
        module: what is run in place of `consumer`.
    """

    provider: Sequence[str]
    settings: Mapping[str, str]
    documents: Mapping[str, str]
    partitions: int = 4
    place: Callable[[int], int | None] = lambda _number: None
    replicas: int = 1
    module: str = "docsluice_consumer"


@dataclass(kw_only=True)
class Run:
    """A run that is under way."""

    setup: Setup
    bootstrap_servers: str
    provider: Provider
    consumers: list[Consumer]
    outcomes: Outcomes
    say: Callable[[str], None]
    logs: Path
    expected_to_run: set[int] = field(default_factory=set)

    async def calls(self) -> list[Call]:
        """The provider's log so far, which is kept beside the other logs too."""
        calls = await self.provider.calls()
        (self.logs / "calls.json").write_text(json.dumps(calls), encoding="utf-8")
        return [Call(**call) for call in calls]

    async def until_all_ended(self) -> None:
        """Wait for every document's outcome.

        Raises:
            GaveUpError: a consumer has ended, or none of the documents has for a long time.
        """
        total = len(self.setup.documents)
        await self.until(lambda: self.outcomes.count >= total, what="all documents have ended")

    async def pass_seconds(self, seconds: float, *, what: str) -> None:
        """Let so much time pass.

        Raises:
            GaveUpError: a consumer has ended meanwhile.
        """
        end = time.monotonic() + seconds
        await self.until(lambda: time.monotonic() >= end, what=what)

    async def until(
        self, condition: Callable[[], bool], *, what: str, timeout_seconds: float = _TIMEOUT_SECONDS
    ) -> None:
        """Wait for a condition.

        Raises:
            GaveUpError: a consumer has ended, or no document has ended for so long, and the condition does not hold.
        """
        began = time.monotonic()
        while not condition():
            await asyncio.sleep(_LOOK_SECONDS)
            await self._look(what)
            if time.monotonic() - max(began, self.outcomes.last_new_at) > timeout_seconds:
                raise GaveUpError(f"nothing moves any more; waited for: {what}")

    async def _look(self, what: str) -> None:
        for number in sorted(self.expected_to_run):
            if not self.consumers[number].child.running:
                raise GaveUpError(f"a consumer has ended:\n{self.consumers[number].child.log_tail()}")
        said = "the provider's port is closed"
        with contextlib.suppress(OSError):
            counts = await self.provider.counts()
            statuses = ", ".join(f"{count} with {status}" for status, count in sorted(counts["statuses"].items()))
            said = f"calls: {statuses or 'none'}, {counts['in_flight']} under way"
        self.say(f"{what}: {self.outcomes.count} of {len(self.setup.documents)} documents; {said}")


@contextlib.asynccontextmanager
async def running(bench: Bench, setup: Setup, *, name: str = "run") -> AsyncIterator[Run]:
    """Set everything up, with all consumers ready, and leave nothing running after the block.

    Raises:
        ChildFailedError: one of the programs did not come up.
    """
    logs = bench.folder / name
    logs.mkdir()
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bench.say("starting the broker")
        start_broker = embedded_broker if setup.replicas == 1 else apache_kafka
        broker = stack.enter_context(start_broker(data_dir=place / "broker"))
        base_url = stack.enter_context(
            rehearsal_process(log_path=logs / "provider.log", arguments=list(setup.provider))
        )
        bench.say(f"sending {len(setup.documents)} documents")
        await send(broker.bootstrap_servers, setup.documents, partitions=setup.partitions, place=setup.place)
        consumers = _consumers(setup, logs, place, broker.bootstrap_servers, base_url)
        for consumer in consumers:
            stack.callback(consumer.child.kill)
        async with watching(broker.bootstrap_servers) as outcomes:
            bench.say("starting the consumers")
            await asyncio.gather(*(consumer.start() for consumer in consumers))
            yield Run(
                setup=setup,
                bootstrap_servers=broker.bootstrap_servers,
                provider=Provider(base_url=base_url),
                consumers=consumers,
                outcomes=outcomes,
                say=bench.say,
                logs=logs,
                expected_to_run=set(range(len(consumers))),
            )
            bench.say("stopping the consumers")
            await asyncio.gather(*(consumer.terminate() for consumer in consumers))


def _consumers(setup: Setup, logs: Path, place: Path, bootstrap_servers: str, base_url: str) -> list[Consumer]:
    settings = {
        "KAFKA_BOOTSTRAP_SERVERS": bootstrap_servers,
        "OPENAI_BASE_URL": base_url,
        "DOCSLUICE_MODE": "fused",
        "DOCSLUICE_MAX_OPEN_RECORDS_PER_PARTITION": str(_OPENED_RECORDS // setup.partitions),
        **setup.settings,
    }
    return [
        Consumer(
            name=f"consumer {number}",
            module=setup.module,
            settings={
                **settings,
                "DOCSLUICE_GROUP_INSTANCE_ID": f"replica-{number}",
                "DOCSLUICE_STATE_DIR": str(_made(place / f"state-{number}")),
            },
            log_path=logs / f"consumer-{number}.log",
        )
        for number in range(setup.replicas)
    ]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder

"""An analyzer with everything round it faked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from consumer.admission.admission import Admission
from consumer.admission.limits import Limits
from consumer.analysis import Analyzer
from consumer.asking import Asker
from consumer.errors import RecordRejected
from consumer.model_ref import model_ref
from consumer.remembering import Memory
from consumer.spending import Spending
from consumer.store.memory_steps import NoSteps
from consumer.telemetry.catalogue import PREFIX
from consumer.telemetry.metrics import Metrics
from consumer.triage import Triage
from tests.fakes.chat import FakeChatClient, Replies
from tests.fakes.prices import FakePrices
from tests.fakes.samples import SECRET_TEXT, steps
from tests.fakes.timer import FakeSleep, ManualTimer, settled

_LABELS = ("task", "model", "reason", "outcome", "direction", "result")
Sleep = Callable[[float], Awaitable[None]]


class Lab:
    """An analyzer with everything round it faked. Sleeping takes no time, but moves the clock."""

    def __init__(self, reply: Replies | None = None, *, sleep: Sleep | None = None, **changes: Any) -> None:
        self.timer = ManualTimer()
        self.client = FakeChatClient(reply)
        self.sleep = FakeSleep(on_sleep=self.timer.advance)
        self.metrics = Metrics()
        self.waits: list[tuple[str, float]] = []
        self.admission = Admission(
            limits=changes.pop("limits", Limits(max_concurrency=10)),
            timer=self.timer,
            on_wait=lambda constraint, seconds: self.waits.append((constraint, seconds)),
        )
        asker = Asker(
            client=self.client,
            admission=self.admission,
            prices=FakePrices(),
            metrics=self.metrics,
            max_attempts=changes.pop("max_attempts", 3),
            context_tokens={
                model_ref(name): size for name, size in (changes.pop("context_tokens", None) or {}).items()
            },
            **({"until_it_is_of_use": changes.pop("until_it_is_of_use")} if "until_it_is_of_use" in changes else {}),
            sleep=sleep or self.sleep,
        )
        self.memory = Memory(store=changes.pop("store", NoSteps()), metrics=self.metrics)
        self.analyzer = Analyzer(
            steps=changes.pop("steps", steps()),
            asker=asker,
            triage=Triage(asker=asker, metrics=self.metrics),
            memory=self.memory,
            max_cost_usd=changes.pop("max_cost_usd", None),
            service_tier=changes.pop("service_tier", None),
        )
        assert not changes

    async def analyze(self, text: str = SECRET_TEXT, spending: Spending | None = None) -> dict[str, Any]:
        """Analyze, and let time pass whenever everybody waits for it."""
        task = asyncio.create_task(self.analyzer.analyze(text, spending or Spending()))
        idle = 0
        while not task.done() and idle < 5_000:
            await settled()
            alarm = self.timer.next_alarm()
            if alarm is not None:
                self.timer.advance_to(alarm)
            idle = idle + 1 if alarm is None else 0
        return await task

    async def rejection(self, spending: Spending | None = None) -> RecordRejected:
        with pytest.raises(RecordRejected) as caught:
            await self.analyze(spending=spending)
        return caught.value

    def samples(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric's values by those of its labels, without the zeros."""
        return {
            tuple(sample.labels[label] for label in _LABELS if label in sample.labels): sample.value
            for family in text_string_to_metric_families(self.metrics.exposition().decode())
            for sample in family.samples
            if sample.name == PREFIX + name and sample.value
        }

    def free_slots(self) -> float:
        return self.admission.limits_and_available()["concurrency"][1]

"""An analyzer with everything round it faked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.admission.listener import AdmissionListener
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.model_caller import ModelCaller
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import RecordRejected
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.store.memory_store import NoStore
from docsluice_consumer.telemetry.catalogue import PREFIX
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.chat import FakeChatClient, Replies
from tests.fakes.prices import FakePrices
from tests.fakes.samples import SECRET_TEXT, steps
from tests.fakes.timer import FakeSleep, ManualTimer, settled

_LABELS = ("task", "model", "reason", "outcome", "direction", "result")
Sleep = Callable[[float], Awaitable[None]]


class _Waits(AdmissionListener):
    def __init__(self, waits: list[tuple[str, float]]) -> None:
        self._waits = waits

    def waited(self, constraint: str, seconds: float) -> None:
        self._waits.append((constraint, seconds))


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
            listener=_Waits(self.waits),
        )
        model_caller = ModelCaller(
            client=self.client,
            admission=self.admission,
            prices=FakePrices(),
            metrics=self.metrics,
            max_attempts=changes.pop("max_attempts", 3),
            context_tokens={
                model_ref(name): size for name, size in (changes.pop("context_tokens", None) or {}).items()
            },
            **(
                {"wait_until_store_writable": changes.pop("wait_until_store_writable")}
                if "wait_until_store_writable" in changes
                else {}
            ),
            sleep=sleep or self.sleep,
        )
        self.answer_cache = AnswerCache(store=changes.pop("store", NoStore()), metrics=self.metrics)
        self.analyzer = Analyzer(
            steps=changes.pop("steps", steps()),
            answers=model_caller,
            answer_recovery=AnswerRecovery(answers=model_caller, metrics=self.metrics),
            answer_cache=self.answer_cache,
            max_cost_usd=changes.pop("max_cost_usd", None),
            service_tier=changes.pop("service_tier", None),
        )
        assert not changes

    async def analyze(self, text: str = SECRET_TEXT, document_usage: DocumentUsage | None = None) -> dict[str, Any]:
        """Analyze, and let time pass whenever everybody waits for it."""
        task = asyncio.create_task(self.analyzer.analyze(text, document_usage or DocumentUsage()))
        idle = 0
        while not task.done() and idle < 5_000:
            await settled()
            alarm = self.timer.next_alarm()
            if alarm is not None:
                self.timer.advance_to(alarm)
            idle = idle + 1 if alarm is None else 0
        return await task

    async def rejection(self, document_usage: DocumentUsage | None = None) -> RecordRejected:
        with pytest.raises(RecordRejected) as caught:
            await self.analyze(document_usage=document_usage)
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

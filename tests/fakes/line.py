"""A pipeline with a model that does as it is told, and topics in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from docsluice.messages import ERROR_HEADER_PREFIX, REASONS_OF_RECORDS, REASONS_OF_STEPS, DocumentResult
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.model_caller import ModelCaller
from docsluice_consumer.dead_letters.hold import DeadLetterHold
from docsluice_consumer.dead_letters.limit import DeadLetterLimit
from docsluice_consumer.kafka.records import OutgoingRecord, Record
from docsluice_consumer.store.memory_store import NoStore
from docsluice_consumer.store.step_store import StepStore
from docsluice_consumer.telemetry.catalogue import PREFIX
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.chat import FakeChatClient, Replies
from tests.fakes.pipelines import DEAD_LETTERS, RESULTS, pipeline_of
from tests.fakes.prices import FakePrices
from tests.fakes.samples import TASKS, steps
from tests.fakes.sink import FakeSink
from tests.fakes.timer import FakeSleep, ManualTimer


class Line:
    """A pipeline with a model that does as it is told, and topics in memory. `of_pipeline` goes to `pipeline_of`."""

    def __init__(
        self,
        reply: Replies | None = None,
        *,
        sink: FakeSink | None = None,
        mode: str = "fanout",
        max_concurrency: int = 10,
        max_dead_letters: int = 0,
        max_ratio: float = 1.0,
        store: StepStore | None = None,
        tasks: Sequence[dict[str, Any]] = TASKS,
        **of_pipeline: Any,
    ) -> None:
        self.client = FakeChatClient(reply)
        self.sink = sink or FakeSink()
        self.metrics = Metrics()
        timer = ManualTimer()
        self.admission = Admission(limits=Limits(max_concurrency=max_concurrency), timer=timer)
        model_caller = ModelCaller(
            client=self.client,
            admission=self.admission,
            prices=FakePrices(),
            metrics=self.metrics,
            max_attempts=3,
            sleep=FakeSleep(on_sleep=timer.advance),
        )
        analyzer = Analyzer(
            steps=steps(*tasks, mode=mode),
            answers=model_caller,
            answer_recovery=AnswerRecovery(answers=model_caller, metrics=self.metrics),
            answer_cache=AnswerCache(store=store or NoStore(), metrics=self.metrics),
        )
        self.dead_letter_hold = DeadLetterHold(
            limit=DeadLetterLimit(max_ratio=max_ratio, max_consecutive=max_dead_letters)
        )
        self.pipeline = pipeline_of(
            analyzer=analyzer,
            sink=self.sink,
            metrics=self.metrics,
            mode="fused" if mode == "fused" else "fanout",
            dead_letter_hold=self.dead_letter_hold,
            **of_pipeline,
        )
        names = [step.name for step in steps(*tasks, mode=mode)]
        self.metrics.expect_dead_letters(of_records=REASONS_OF_RECORDS, of_steps=REASONS_OF_STEPS, steps=names)
        self.expected = self._dead_letter_series()

    async def process(self, record: Record) -> None:
        await asyncio.create_task(self.pipeline.process(record))
        assert self._dead_letter_series() == self.expected, "a dead letter that its counter did not expect"

    def _dead_letter_series(self) -> int:
        return self.metrics.exposition().count(b"\ndocsluice_dead_letters_total{")

    async def result(self, record: Record) -> tuple[OutgoingRecord, DocumentResult]:
        """Process a record that becomes a result, and nothing else."""
        await self.process(record)
        (outgoing,) = self.sink.published
        assert outgoing.topic == RESULTS
        assert outgoing.value is not None
        return outgoing, DocumentResult.model_validate_json(outgoing.value)

    async def errors(self, record: Record) -> dict[str, str]:
        """Process a record that becomes a dead letter, and nothing else. Its error headers."""
        await self.process(record)
        (outgoing,) = self.sink.published
        assert outgoing.topic == DEAD_LETTERS
        assert (outgoing.key, outgoing.value) == (record.key, record.value)
        assert list(outgoing.headers[: len(record.headers)]) == list(record.headers)
        return errors_of(outgoing)

    def counted(self, name: str) -> dict[tuple[str, ...], float]:
        """A metric's values that are not 0, by their labels."""
        return {
            tuple(sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.metrics.exposition().decode())
            for sample in family.samples
            if sample.name == PREFIX + name and sample.value
        }


def errors_of(outgoing: OutgoingRecord) -> dict[str, str]:
    return {
        name.removeprefix(ERROR_HEADER_PREFIX): (value or b"").decode()
        for name, value in outgoing.headers
        if name.startswith(ERROR_HEADER_PREFIX)
    }

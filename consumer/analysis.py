"""What the model is asked about one document: its steps side by side, each with one repair."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from consumer.asking import Asker, rejected
from consumer.contracts import DeadLetterReason, OutputValue
from consumer.errors import InvalidAnswer, RecordRejected, ServiceFault
from consumer.llm.chat import ChatRequest
from consumer.llm.steps import Step
from consumer.spending import Spending
from consumer.telemetry.metrics import Metrics


class Analyzer:
    """Asks all steps about a document."""

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        asker: Asker,
        metrics: Metrics,
        max_cost_usd: Decimal | None = None,
        service_tier: str | None = None,
    ) -> None:
        self._steps = steps
        self._asker = asker
        self._metrics = metrics
        self._max_cost_usd = max_cost_usd
        self._tier = service_tier

    async def analyze(self, text: str, spending: Spending, *, priority: object = None) -> dict[str, OutputValue]:
        """Return one output a task. What it took is added to `spending` as it is spent, also when it fails.

        When one step is rejected the others are still heard out, for their tokens are already being paid.

        Raises:
            RecordRejected: the first step's rejection, in the pipeline's order.
            ServiceFault: at once, whatever the other steps do.
        """
        requests = [step.request(text, service_tier=self._service_tier(priority)) for step in self._steps]
        self._refuse_what_is_too_dear(requests)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._answer_or_rejection(step, request, spending), name=f"step:{step.name}")
                    for step, request in zip(self._steps, requests, strict=True)
                ]
        except ExceptionGroup as faults:
            fault = next((f for f in faults.exceptions if isinstance(f, ServiceFault)), faults.exceptions[0])
            raise fault from fault.__cause__  # and not from the group, which knows nothing more
        outputs: dict[str, OutputValue] = {}
        for task in tasks:
            answered = task.result()
            if isinstance(answered, RecordRejected):
                raise answered
            outputs |= answered
        return outputs

    def _service_tier(self, priority: object) -> str | None:
        """The tier for one document: `low` is in no hurry, `high` is worth the usual price. None where none is set."""
        if self._tier is None:
            return None
        return {"low": "flex", "high": "default"}.get(str(priority).lower(), self._tier)

    def _refuse_what_is_too_dear(self, requests: Sequence[ChatRequest]) -> None:
        if self._max_cost_usd is None:
            return
        expected = sum((self._asker.expected_cost_usd(request) for request in requests), Decimal(0))
        if expected > self._max_cost_usd:
            raise RecordRejected(
                DeadLetterReason.TOO_LARGE,
                f"its calls would cost about {expected:.6f} dollars, and a document may cost {self._max_cost_usd}"
                " (DOCSLUICE_MAX_COST_USD_PER_DOCUMENT)",
            )

    async def _answer_or_rejection(
        self, step: Step, request: ChatRequest, spending: Spending
    ) -> dict[str, OutputValue] | RecordRejected:
        try:
            return await self._answer(step, request, spending)
        except RecordRejected as rejection:
            return rejection

    async def _answer(self, step: Step, request: ChatRequest, spending: Spending) -> dict[str, OutputValue]:
        """Ask, and ask once more where the answer is not what the step wants."""
        answer = await self._asker.ask(request, spending)
        try:
            outputs = step.read(answer)
        except InvalidAnswer as problem:
            spending.note_failure()
            self._metrics.retries_total.labels(task=step.name, reason="invalid_answer").inc()
            answer = await self._asker.ask(step.repair(request, answer, problem), spending)
            try:
                outputs = step.read(answer)
            except InvalidAnswer as still:
                raise rejected(
                    DeadLetterReason.INVALID_ANSWER, f"the answer is still not valid after a repair: {still}", request
                ) from still
        spending.models |= dict.fromkeys(outputs, answer.model)
        return outputs

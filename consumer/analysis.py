"""What the model is asked about one document: its steps side by side, each a row of attempts.

An attempt is: admit, call, count, judge. Admission is inside the attempt, so that a document that backs off holds no
slot, and every attempt pays for its own tokens.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

import structlog
import tenacity

from consumer.admission.admission import Admission, Reservation
from consumer.contracts import DeadLetterReason, OutputValue, Usage
from consumer.errors import (
    AttemptFailed,
    DocsluiceError,
    InvalidAnswer,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
    ServiceFault,
)
from consumer.llm.chat import Answer, ChatClient, ChatRequest
from consumer.llm.estimate import TokenEstimator
from consumer.llm.pricing import PriceList
from consumer.llm.steps import Step
from consumer.telemetry.logs import Throttle
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

QUOTA_PAUSE_SECONDS = 30.0
"""How long nobody asks after the account was found empty: long enough to cost nothing, short enough to resume soon."""

_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=20)


@dataclass(slots=True)
class Spending:
    """What one document has taken so far, failed attempts included."""

    usage: Usage = field(default_factory=Usage)
    cost_usd: Decimal = Decimal(0)
    attempts: int = 0
    first_failed_at: datetime | None = None
    invested: int = 0
    """Calls under way or answered: what would be wasted by stopping now. A document that only backs off has none."""

    def note_failure(self) -> None:
        """Remember when the first thing went wrong."""
        self.first_failed_at = self.first_failed_at or datetime.now(UTC)


class Pulse:
    """Counts the calls that the provider answered, to tell one document's bad luck from everybody's."""

    def __init__(self) -> None:
        self.beats = 0


class Patience:
    """How often one step of one document may fail.

    A failure counts against the document only while the provider answers others: in an outage a document waits, for
    as long as it takes, and never becomes a dead letter.
    """

    def __init__(self, *, max_attempts: int, pulse: Pulse) -> None:
        self._left = max_attempts
        self._pulse = pulse
        self._beats_seen = pulse.beats

    def failed(self, fault: AttemptFailed) -> None:
        """Take note of a failure."""
        if fault.blames_document and self._pulse.beats > self._beats_seen:
            self._left -= 1
        self._beats_seen = self._pulse.beats

    def is_exhausted(self, _state: tenacity.RetryCallState) -> bool:
        """Whether to give up; a tenacity stop."""
        return self._left <= 0


class Analyzer:
    """Asks all steps about a document."""

    def __init__(
        self,
        *,
        steps: Sequence[Step],
        client: ChatClient,
        admission: Admission,
        prices: PriceList,
        metrics: Metrics,
        max_attempts: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._steps = steps
        self._client = client
        self._admission = admission
        self._prices = prices
        self._metrics = metrics
        self._max_attempts = max_attempts
        self._sleep = sleep
        self._estimator = TokenEstimator()
        self._pulse = Pulse()
        self._complaints = Throttle(seconds=10.0)
        self._unpriced: set[str] = set()
        self.models = {task.name: step.model for step in steps for task in step.tasks}

    async def analyze(self, text: str, spending: Spending) -> dict[str, OutputValue]:
        """Return one output a task. What it took is added to `spending` as it is spent, also when it fails.

        When one step is rejected the others are still heard out, for their tokens are already being paid.

        Raises:
            RecordRejected: the first step's rejection, in the pipeline's order.
            ServiceFault: at once, whatever the other steps do.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._answer_or_rejection(step, text, spending), name=f"step:{step.name}")
                    for step in self._steps
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

    async def _answer_or_rejection(
        self, step: Step, text: str, spending: Spending
    ) -> dict[str, OutputValue] | RecordRejected:
        try:
            return await self._answer(step, text, spending)
        except RecordRejected as rejection:
            return rejection

    async def _answer(self, step: Step, text: str, spending: Spending) -> dict[str, OutputValue]:
        """Ask, and ask once more where the answer is not what the step wants."""
        request = step.request(text)
        answer = await self._ask_patiently(request, spending)
        try:
            return step.read(answer)
        except InvalidAnswer as problem:
            spending.note_failure()
            self._metrics.retries_total.labels(task=step.name, reason="invalid_answer").inc()
            repaired = await self._ask_patiently(step.repair(request, answer, problem), spending)
        try:
            return step.read(repaired)
        except InvalidAnswer as problem:
            raise _rejected(
                DeadLetterReason.INVALID_ANSWER, f"the answer is still not valid after a repair: {problem}", request
            ) from problem

    async def _ask_patiently(self, request: ChatRequest, spending: Spending) -> Answer:
        """Attempt until an answer comes, the document is to blame, or its attempts are used up."""
        patience = Patience(max_attempts=self._max_attempts, pulse=self._pulse)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(AttemptFailed),
            wait=_pause_seconds,
            stop=patience.is_exhausted,
            before_sleep=lambda state: self._note_retry(request, state),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, request, spending, patience)
        except AttemptFailed as fault:
            raise _rejected(
                DeadLetterReason.ATTEMPTS_EXHAUSTED,
                f"{self._max_attempts} attempts failed while other calls succeeded; the last: {fault}",
                request,
            ) from fault

    async def _attempt(self, request: ChatRequest, spending: Spending, patience: Patience) -> Answer:
        estimate = self._estimator.estimate(request)
        misfit = self._admission.fits(estimate)
        if misfit:
            raise _rejected(DeadLetterReason.TOO_LARGE, f"one call {misfit}", request)
        async with self._admission.admit(estimate) as reservation:
            spending.invested += 1
            started = time.monotonic()
            try:
                answer = await self._client.ask(request)
            except DocsluiceError as fault:
                spending.invested -= 1
                self._count_failure(request, fault, spending)
                if isinstance(fault, AttemptFailed):
                    patience.failed(fault)
                raise
            self._metrics.llm_request_duration_seconds.labels(task=request.step, model=request.model).observe(
                time.monotonic() - started
            )
            return self._count_and_judge(request, answer, reservation, spending)

    def _count_and_judge(
        self, request: ChatRequest, answer: Answer, reservation: Reservation, spending: Spending
    ) -> Answer:
        """Count what was used before anything else: a refusal is paid for as well."""
        self._pulse.beats += 1
        if answer.usage is not None:
            reservation.settle(answer.usage)
            self._estimator.learn(request, answer.usage)
        rejection = _judge(request, answer)
        outcome = rejection.reason.value if rejection else "ok"
        self._count_usage(request, answer.usage or Usage(), outcome, spending)
        if rejection:
            raise rejection
        return answer

    def _count_usage(self, request: ChatRequest, usage: Usage, outcome: str, spending: Spending) -> None:
        labels = {"task": request.step, "model": request.model}
        cost = self._prices.cost_usd(request.model, usage)
        if cost is None and request.model not in self._unpriced:
            self._unpriced.add(request.model)
            log.info("price.unknown", model=request.model, remedy="its calls are counted as free; see DOCSLUICE_PRICES")
        spending.attempts += 1
        spending.usage += usage
        spending.cost_usd += cost or Decimal(0)
        self._metrics.llm_requests_total.labels(**labels, outcome=outcome).inc()
        self._metrics.llm_cost_usd_total.labels(**labels, outcome=outcome).inc(float(cost or 0))
        for direction, tokens in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached_input", usage.cached_tokens),
        ):
            self._metrics.llm_tokens_total.labels(**labels, direction=direction).inc(tokens)

    def _count_failure(self, request: ChatRequest, fault: DocsluiceError, spending: Spending) -> None:
        """A call without an answer. A rate limit or an empty account holds everybody back."""
        outcome = fault.outcome if isinstance(fault, AttemptFailed) else type(fault).__name__
        if isinstance(fault, RecordRejected):
            outcome = fault.reason.value
            self._pulse.beats += 1  # the provider is well: it has judged this document
        spending.attempts += 1
        spending.note_failure()
        self._metrics.llm_requests_total.labels(task=request.step, model=request.model, outcome=outcome).inc()
        if isinstance(fault, QuotaExhausted):
            self._admission.close_gate(QUOTA_PAUSE_SECONDS)
        elif isinstance(fault, RateLimited) and fault.retry_after_seconds:
            self._admission.close_gate(fault.retry_after_seconds)

    def _note_retry(self, request: ChatRequest, state: tenacity.RetryCallState) -> None:
        fault = state.outcome.exception() if state.outcome else None
        if not isinstance(fault, AttemptFailed):
            return
        self._metrics.retries_total.labels(task=request.step, reason=fault.outcome).inc()
        silenced = self._complaints.silenced(fault.outcome)
        if silenced is not None:
            log.warning(
                # Up to the first colon; behind it are the provider's words, and some providers echo the prompt.
                "provider.failing",
                outcome=fault.outcome,
                task=request.step,
                model=request.model,
                error=str(fault).partition(":")[0],
                not_shown=silenced,
            )


def _pause_seconds(state: tenacity.RetryCallState) -> float:
    """Exponential back-off with full jitter, and never earlier than the provider asked for."""
    fault = state.outcome.exception() if state.outcome else None
    asked = fault.retry_after_seconds if isinstance(fault, AttemptFailed) else None
    return (asked or 0.0) + _BACKOFF(state)


def _judge(request: ChatRequest, answer: Answer) -> RecordRejected | None:
    """An answer that arrived and yet is none."""
    if answer.refusal:
        return _rejected(DeadLetterReason.REFUSED, "the model refused to answer", request)
    if answer.finish_reason == "content_filter":
        return _rejected(DeadLetterReason.CONTENT_FILTERED, "the provider's content filter cut the answer", request)
    if answer.finish_reason == "length":
        bound = request.sampling.max_output_tokens or "the model's own bound"
        return _rejected(DeadLetterReason.TRUNCATED, f"the answer was cut at max_output_tokens ({bound})", request)
    return None


def _rejected(reason: DeadLetterReason, message: str, request: ChatRequest) -> RecordRejected:
    return RecordRejected(reason, message, step=request.step, model=request.model)

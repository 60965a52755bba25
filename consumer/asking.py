"""One question to a model, asked until it is answered: choose a model, admit, call, count, judge; and again.

Admission is inside the attempt, so that a document that backs off holds no slot, and every attempt pays for its own
tokens.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

import structlog
import tenacity

from consumer.admission.admission import Admission, CircuitOpened
from consumer.admission.limits import Ask
from consumer.admission.permit import Permit
from consumer.contracts import DeadLetterReason, Usage
from consumer.errors import AttemptFailed, DocsluiceError, RateLimited, RecordRejected
from consumer.llm.chat import Answer, ChatClient, ChatRequest
from consumer.llm.estimate import USUAL_BYTES_PER_TOKEN, TokenEstimator
from consumer.llm.pricing import PriceList
from consumer.spending import Spending
from consumer.telemetry.logs import Throttle
from consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LONGEST_ASKED_SECONDS = 30.0
"""Whatever a failing server asks for: it may be well again long before, and the document holds back the commit."""
_BYTES_A_TOKEN_OF_A_PART = 3
"""So little that most texts fit with it: English has four and more, code and most other languages about three."""
_ROOM_FOR_AN_ANSWER_TOKENS = 256
_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=20)


async def _at_once() -> None:
    """Hold nobody."""


class Pulse:
    """Counts by model the calls that were answered, to tell one document's bad luck from everybody's."""

    def __init__(self) -> None:
        self.beats: Counter[str] = Counter()


class Patience:
    """How often one question about one document may fail.

    A failure counts against the document only when its model has answered others since the one before it: in an outage
    a document waits, for as long as it takes, and never becomes a dead letter. So the first never counts, for that is
    how an outage begins.
    """

    def __init__(self, *, max_attempts: int, pulse: Pulse) -> None:
        self._left = max_attempts
        self._pulse = pulse
        self._beats_when_failed: dict[str, int] = {}
        self._beats_when_refused: dict[str, int] = {}
        self._is_odd = False

    def failed(self, fault: AttemptFailed, *, model: str, is_failing: bool) -> None:
        """Take note of a failure; `is_failing` when the model is known to fail everybody."""
        beats = self._pulse.beats[model]
        if fault.blames_document and not is_failing and beats > self._beats_when_failed.get(model, beats):
            self._left -= 1
        self._beats_when_failed[model] = beats

    def refused(self, fault: RateLimited, *, model: str) -> None:
        """Take note of a refusal, and of whether it has anything to do with other calls.

        Where others were answered since the one before it, it has not: then this question pauses, and nobody else.
        After that it is to be the first after a pause once more, or a large one would never find enough left.
        """
        beats = self._pulse.beats[model]
        if beats > self._beats_when_refused.setdefault(model, beats):
            del self._beats_when_refused[model]
            self._is_odd, fault.holds_others = True, False
        fault.teaches = not self._is_odd

    def is_exhausted(self, _state: tenacity.RetryCallState) -> bool:
        """Whether to give up; a tenacity stop."""
        return self._left <= 0


@dataclass(slots=True, kw_only=True)
class _Course:
    """One question's way through its attempts."""

    request: ChatRequest
    spending: Spending
    patience: Patience
    too_small: dict[str, RecordRejected] = field(default_factory=dict)
    """Models that have said that the document is too large for them."""
    asked: str = ""
    """The model that was asked last."""

    def models(self) -> list[str]:
        """Those that may still be asked, first choice first."""
        return [model for model in self.request.models if model not in self.too_small]


class Asker:
    """Puts questions to models, within what admission lets out.

    `until_it_is_of_use` is awaited before each call: an answer that cannot be kept would be paid for in vain.
    """

    def __init__(
        self,
        *,
        client: ChatClient,
        admission: Admission,
        prices: PriceList,
        metrics: Metrics,
        max_attempts: int,
        context_tokens: Mapping[str, int] | None = None,
        until_it_is_of_use: Callable[[], Awaitable[None]] = _at_once,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._admission = admission
        self._prices = prices
        self._metrics = metrics
        self._max_attempts = max_attempts
        self._context_tokens = context_tokens or {}
        self._until_it_is_of_use = until_it_is_of_use
        self._sleep = sleep
        self._estimator = TokenEstimator()
        self._pulse = Pulse()
        self._complaints = Throttle(seconds=10.0)
        self._unpriced: set[str] = set()

    async def ask(self, request: ChatRequest, spending: Spending, *, keep: Callable[[Answer], Awaitable[T]]) -> T:
        """Attempt until an answer comes, and give it to `keep`. What it took is added to `spending`, also if it fails.

        The call holds its slot until `keep` is done: of answers that are paid for and could still be lost, there are
        never more than there may be calls.

        Raises:
            RecordRejected: the document is to blame, or its attempts are used up.
            ServiceFault: the provider will take no request at all.
            Exception: what `keep` raises.
        """
        patience = Patience(max_attempts=self._max_attempts, pulse=self._pulse)
        course = _Course(request=request, spending=spending, patience=patience)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(AttemptFailed),
            wait=_pause_seconds,
            stop=patience.is_exhausted,
            before_sleep=lambda state: self._note_retry(request, state),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, course, keep)
        except AttemptFailed as fault:
            raise rejected(
                DeadLetterReason.ATTEMPTS_EXHAUSTED,
                f"{self._max_attempts} attempts failed while other calls succeeded; the last: {fault}",
                request.to(course.asked),
            ) from fault

    def expected_cost_usd(self, request: ChatRequest) -> Decimal:
        """What one call of the first choice is expected to cost, as far as that is known from calls before it."""
        return self._prices.cost_usd(request.model, self._estimator.least(request)) or Decimal(0)

    def room_bytes(self, request: ChatRequest) -> int | None:
        """How much input the roomiest model of the chain takes in such a call, as far as its limits are known.

        The same from call to call, and so by no estimate: what is cut to it is to be cut in the same places again.
        """
        output_tokens = request.sampling.max_output_tokens or _ROOM_FOR_AN_ANSWER_TOKENS
        most = max(self._most_input_tokens(model, output_tokens=output_tokens) for model in request.models)
        return None if most == math.inf else max(0, int(most * _BYTES_A_TOKEN_OF_A_PART))

    def likely_fits(self, request: ChatRequest) -> bool:
        """Whether some model of the chain has room for it, if its text is like most; by no estimate either.

        What was cut to `room_bytes` does, so nothing is cut twice for it.
        """
        bound = request.sampling.max_output_tokens or _ROOM_FOR_AN_ANSWER_TOKENS
        output_tokens = min(bound, _ROOM_FOR_AN_ANSWER_TOKENS)
        most = max(self._most_input_tokens(model, output_tokens=output_tokens) for model in request.models)
        return request.input_bytes <= most * USUAL_BYTES_PER_TOKEN

    def _most_input_tokens(self, model: str, *, output_tokens: int) -> float:
        ask = Ask(model=model, usage=Usage(output_tokens=output_tokens))
        context = self._context_tokens.get(model, math.inf)
        return min(self._admission.most_input_tokens(ask), context - output_tokens)

    async def _attempt(self, course: _Course, keep: Callable[[Answer], Awaitable[T]]) -> T:
        """One attempt; another model of the chain at once, where the first is failing or too small."""
        while True:
            request, ask = self._choose(course)
            try:
                async with self._admission.admit(ask) as permit:
                    await self._hold(permit)
                    return await keep(await self._call(request, permit, course))
            except CircuitOpened:
                continue
            except RecordRejected as rejection:
                if rejection.reason is not DeadLetterReason.TOO_LARGE or course.models() == [request.model]:
                    raise
                course.too_small[request.model] = rejection

    async def _hold(self, permit: Permit) -> None:
        """Behind admission, for those who were queued there already when answers came to be of no use."""
        try:
            await self._until_it_is_of_use()
        except asyncio.CancelledError:
            permit.unused()
            raise

    def _choose(self, course: _Course) -> tuple[ChatRequest, Ask]:
        """The first model of the chain that is large enough and well; where none is well, the first to wait for.

        Where none is likely to be large enough, one that may be: it is the provider that knows.

        Raises:
            RecordRejected: the document is surely too large for all of them.
        """
        fitting: list[tuple[ChatRequest, Usage]] = []
        misfit = ""
        for model in course.models():
            request = course.request.to(model)
            estimate = self._estimator.estimate(request)
            problem = self._misfit(request)
            misfit = misfit or problem or ""
            if problem is None:
                fitting.append((request, estimate))
        if not fitting:
            raise rejected(DeadLetterReason.TOO_LARGE, f"one call {misfit}", course.request)
        fitting = [choice for choice in fitting if self.likely_fits(choice[0])] or fitting
        well = [choice for choice in fitting if self._admission.would_take(choice[0].model)]
        request, estimate = (well or fitting)[0]
        ask = Ask(
            model=request.model,
            usage=estimate,
            output_bound=request.sampling.max_output_tokens,
            cost_usd=self._prices.cost_usd(request.model, estimate) or Decimal(0),
            alternatives=tuple(other.model for other, _ in fitting if other.model != request.model),
            place=course.spending.keep_place(self._admission.take_place),
        )
        return request, ask

    def _misfit(self, request: ChatRequest) -> str | None:
        """Why a model can surely never take it; None when it may."""
        context, least = self._context_tokens.get(request.model), self._estimator.surely(request)
        tokens = least.input_tokens + least.output_tokens
        if context is not None and tokens > context:
            return f"needs at least {tokens} tokens, and {request.model} has a context of {context}"
        return self._admission.fits(Ask(model=request.model, usage=least))

    async def _call(self, request: ChatRequest, permit: Permit, course: _Course) -> Answer:
        course.asked = request.model
        course.spending.invest(1)
        started = time.monotonic()
        try:
            answer = await self._client.ask(request)
        except DocsluiceError as fault:
            course.spending.invest(-1)
            self._count_failure(request, fault, course.spending)
            if isinstance(fault, RateLimited):
                course.patience.refused(fault, model=request.model)
            permit.failed(fault)
            if isinstance(fault, AttemptFailed):
                is_failing = self._admission.is_failing(request.model)
                course.patience.failed(fault, model=request.model, is_failing=is_failing)
                fault.waits_in_queue = is_failing or (fault.holds_others and not fault.blames_document)
            raise
        self._metrics.llm_request_duration_seconds.labels(task=request.step, model=request.model).observe(
            time.monotonic() - started
        )
        return self._count_and_judge(request, answer, permit, course.spending)

    def _count_and_judge(self, request: ChatRequest, answer: Answer, permit: Permit, spending: Spending) -> Answer:
        """Count what was used before anything else: a refusal is paid for as well."""
        self._pulse.beats[request.model] += 1
        if answer.usage is not None:
            self._estimator.learn(request, answer.usage)
        permit.said(answer.limits)
        rejection = _judge(request, answer)
        outcome = rejection.reason.value if rejection else "ok"
        cost = self._count_usage(request, answer.usage or Usage(), outcome, spending)
        permit.answered(answer.usage, cost_usd=cost)
        if rejection:
            raise rejection
        return replace(answer, model=request.model)

    def _count_usage(self, request: ChatRequest, usage: Usage, outcome: str, spending: Spending) -> Decimal:
        labels = {"task": request.step, "model": request.model}
        cost = self._prices.cost_usd(request.model, usage)
        if cost is None and request.model not in self._unpriced:
            self._unpriced.add(request.model)
            log.info("price.unknown", model=request.model, remedy="its calls are counted as free; see DOCSLUICE_PRICES")
        spending.count_call(usage=usage, cost_usd=cost or Decimal(0))
        self._metrics.llm_requests_total.labels(**labels, outcome=outcome).inc()
        self._metrics.llm_cost_usd_total.labels(**labels, outcome=outcome).inc(float(cost or 0))
        for direction, tokens in (
            ("input", usage.input_tokens),
            ("output", usage.output_tokens),
            ("cached_input", usage.cached_tokens),
        ):
            self._metrics.llm_tokens_total.labels(**labels, direction=direction).inc(tokens)
        return cost or Decimal(0)

    def _count_failure(self, request: ChatRequest, fault: DocsluiceError, spending: Spending) -> None:
        """A call without an answer."""
        outcome = fault.outcome if isinstance(fault, AttemptFailed) else type(fault).__name__
        if isinstance(fault, RecordRejected):
            outcome = fault.reason.value
            self._pulse.beats[request.model] += 1  # the provider is well: it has judged this document
        spending.count_call(usage=Usage(), cost_usd=Decimal(0))
        spending.note_failure()
        self._metrics.llm_requests_total.labels(task=request.step, model=request.model, outcome=outcome).inc()

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


def rejected(reason: DeadLetterReason, message: str, request: ChatRequest) -> RecordRejected:
    """The rejection of a document by a question about it."""
    return RecordRejected(reason, message, step=request.step, model=request.model)


def _pause_seconds(state: tenacity.RetryCallState) -> float:
    """Exponential back-off with full jitter, and never earlier than the provider asked for.

    None at all where admission holds everybody back until the provider is well again: that is the place to wait, in
    the order of arrival. Who is the only one to be refused waits here, or his refusals would hold everybody back.
    """
    fault = state.outcome.exception() if state.outcome else None
    if isinstance(fault, AttemptFailed) and fault.waits_in_queue:
        return 0.0
    asked = fault.retry_after_seconds if isinstance(fault, AttemptFailed) else None
    return min(asked or 0.0, _LONGEST_ASKED_SECONDS) + _BACKOFF(state)


def _judge(request: ChatRequest, answer: Answer) -> RecordRejected | None:
    """An answer that arrived and yet is none."""
    if answer.refusal:
        return rejected(DeadLetterReason.REFUSED, "the model refused to answer", request)
    if answer.finish_reason == "content_filter":
        return rejected(DeadLetterReason.CONTENT_FILTERED, "the provider's content filter cut the answer", request)
    if answer.finish_reason == "length":
        bound = request.sampling.max_output_tokens or "the model's own bound"
        return rejected(DeadLetterReason.TRUNCATED, f"the answer was cut at max_output_tokens ({bound})", request)
    return None

"""Makes attempts until a question is answered: choose a model, admit, call, count, judge, retry.

Admission is inside the attempt. So a document that backs off holds no slot, and every attempt pays for its own tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

import structlog
import tenacity

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.admission import Admission, CircuitOpened
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.admission.permit import Permit
from docsluice_consumer.analysis.call_accounting import CallAccounting
from docsluice_consumer.analysis.fault_attribution import Blame, CallHistory
from docsluice_consumer.analysis.fault_judge import FaultJudge, rejection_for
from docsluice_consumer.analysis.model_router import ModelRouter
from docsluice_consumer.analysis.rejections import rejected, rejection_of
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import (
    AttemptFailed,
    CallRefused,
    DocsluiceError,
    ProviderMisconfigured,
    RecordRejected,
)
from docsluice_consumer.llm.chat import Answer, ChatClient, ChatRequest
from docsluice_consumer.llm.pricing import PriceList
from docsluice_consumer.llm.token_estimator import TokenEstimator
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.telemetry.logs import Throttle
from docsluice_consumer.telemetry.metrics import Metrics

log = structlog.get_logger(__name__)

_LONGEST_ASKED_SECONDS = 30.0
"""The longest pause that a failing server gets. It may be well long before, and the document holds back the commit."""
_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=20)
_REFUSAL_PAUSE = tenacity.wait_random_exponential(multiplier=0.5, max=1.5)
_REFUSED_STEP_PAUSE = tenacity.wait_random_exponential(multiplier=2, max=30)
"""Each document that needs the step backs off by itself, because calls of other steps are answered."""


async def _at_once() -> None:
    """Wait for nothing."""


@dataclass(slots=True, kw_only=True)
class _Course:
    """One question's course through its attempts."""

    request: ChatRequest
    document_usage: DocumentUsage
    blame: Blame
    asked: ModelRef
    """The model that was asked last."""
    too_small: set[ModelRef] = field(default_factory=set)
    """Models that rejected the document as too large."""
    closed: set[ModelRef] = field(default_factory=set)
    """Models that refuse all calls and have answered none in this run."""

    def models(self) -> list[ModelRef]:
        """The models that may still be asked, first choice first."""
        return [model for model in self.request.models if model not in self.too_small | self.closed]


class ModelCaller:
    """The `AnswerSource` that calls at once. Puts questions to models, as admission allows.

    `wait_until_store_writable` is awaited before each call: an answer that cannot be kept would be paid for in vain.
    """

    def __init__(
        self,
        *,
        client: ChatClient,
        admission: Admission,
        prices: PriceList,
        metrics: Metrics,
        max_attempts: int,
        context_tokens: Mapping[ModelRef, int] | None = None,
        wait_until_store_writable: Callable[[], Awaitable[None]] = _at_once,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._admission = admission
        self._metrics = metrics
        self._max_attempts = max_attempts
        self._wait_until_store_writable = wait_until_store_writable
        self._sleep = sleep
        self._estimator = TokenEstimator()
        self._accounting = CallAccounting(prices=prices, estimator=self._estimator, metrics=metrics)
        self._history = CallHistory()
        self._judge = FaultJudge(
            client=client,
            history=self._history,
            accounting=self._accounting,
            is_failing=admission.is_failing,
            charge=admission.charge,
            now=admission.now,
        )
        self._router = ModelRouter(admission=admission, estimator=self._estimator, context_tokens=context_tokens)
        self._complaints = Throttle(seconds=10.0)

    @contextlib.asynccontextmanager
    async def answer(self, request: ChatRequest, document_usage: DocumentUsage) -> AsyncIterator[Answer]:
        """Make attempts until an answer comes. Its call holds its slot while inside. Tokens and cost are added up.

        Keep the answer while inside. Then no more paid answers can be lost than calls may be in flight. An answer that
        was cut at its bound is an answer too, see its `finish_reason`.

        Raises:
            RecordRejected: the document is at fault, or its attempts are used up.
            ServiceFault: the provider refuses all requests.
        """
        place = document_usage.keep_place(self._admission.take_place)
        blame = Blame(history=self._history, max_attempts=self._max_attempts, document=place)
        course = _Course(request=request, document_usage=document_usage, blame=blame, asked=request.model)
        async with contextlib.AsyncExitStack() as slot:
            try:
                try:
                    answer = await self._attempt(course, slot)
                except AttemptFailed as first:
                    answer = await self._retried(course, slot, first)
            except AttemptFailed as fault:
                raise rejected(
                    DeadLetterReason.ATTEMPTS_EXHAUSTED,
                    f"{document_usage.attempts} attempts failed; the last: {fault}",
                    request.to(course.asked),
                ) from fault
            yield answer

    def expected_cost_usd(self, request: ChatRequest) -> Decimal:
        """The expected cost of one call to the first choice, in US dollars, from earlier calls."""
        return self._accounting.expected_cost_usd(request.model, self._estimator.least(request))

    def room_bytes(self, request: ChatRequest) -> int | None:
        """The most input that the roomiest model of the chain takes. None if no limit is known."""
        return self._router.room_bytes(request)

    def likely_fits(self, request: ChatRequest) -> bool:
        """Whether some model of the chain likely has room for the request."""
        return self._router.likely_fits(request)

    async def _retried(self, course: _Course, slot: contextlib.AsyncExitStack, first: AttemptFailed) -> Answer:
        """Make further attempts after a first one that failed. It counts as the first.

        Most questions need none of this, which would take as long as reading the answer: tenacity inspects each of its
        callbacks for each attempt.
        """
        failed: AttemptFailed | None = first

        async def attempt() -> Answer:
            nonlocal failed
            if (fault := failed) is not None:
                failed = None
                raise fault
            return await self._attempt(course, slot)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(AttemptFailed),
            wait=_pause_seconds,
            stop=lambda _state: course.blame.is_exhausted,
            before_sleep=lambda state: self._note_retry(course, state),
            sleep=self._sleep,
            reraise=True,
        )
        return await retrying(attempt)

    async def _attempt(self, course: _Course, slot: contextlib.AsyncExitStack) -> Answer:
        """Make one attempt. It goes to another model of the chain at once if the first is failing or too small.

        If it is answered, its slot belongs to `slot`.
        """
        while True:
            request, call_request = self._choose(course)
            try:
                async with contextlib.AsyncExitStack() as attempt:
                    permit = await attempt.enter_async_context(self._admission.admit(call_request))
                    await self._wait_or_give_back(permit)
                    answer = await self._call(request, permit, course)
                    slot.push_async_exit(attempt.pop_all())
                    return answer
            except CircuitOpened:
                continue
            except CallRefused as refusal:
                if not self._go_on_without(request, refusal, course):
                    raise
            except RecordRejected as rejection:
                if rejection.reason is not DeadLetterReason.TOO_LARGE or course.models() == [request.model]:
                    raise
                course.too_small.add(request.model)

    def _go_on_without(self, request: ChatRequest, refusal: CallRefused, course: _Course) -> bool:
        """Whether to ask another model at once, because this one refuses all calls, or all of this step.

        Raises:
            ProviderMisconfigured: no model of the chain has answered any call in this run, and all of them refuse.
        """
        if not refusal.is_worlds and not refusal.refuses_step:
            return False
        model, is_last = request.model, course.models() == [request.model]
        if (silenced := self._complaints.silenced(f"refuses {model} {request.step}")) is not None:
            log.error(
                "provider.refuses",
                model=str(model),
                task=request.step,
                remedy=refusal.remedy,
                error=refusal.cause,
                not_shown=silenced,
            )
        if refusal.refuses_step:
            course.closed |= set() if is_last else {model}
            return not is_last
        if self._history.has_answered(model):
            return False  # it will answer again once a person has fixed it
        if is_last:
            raise ProviderMisconfigured(f"{refusal.remedy}: {refusal.cause}") from refusal
        course.closed.add(model)
        return True

    async def _wait_or_give_back(self, permit: Permit) -> None:
        """Wait for the store after admission, for calls that were queued when it became unwritable."""
        try:
            await self._wait_until_store_writable()
        except asyncio.CancelledError:
            permit.unused()
            raise

    def _choose(self, course: _Course) -> tuple[ChatRequest, CallRequest]:
        """The request to a model of the chain, and what it needs of admission.

        Raises:
            RecordRejected: the document is surely too large for all of them.
        """
        request, alternatives = self._router.choose(course.request, course.models())
        estimate = self._estimator.estimate(request)
        call_request = CallRequest(
            model=request.model,
            usage=estimate,
            output_bound=request.sampling.max_output_tokens,
            cost_usd=self._accounting.expected_cost_usd(request.model, estimate),
            alternatives=tuple(alternatives),
            place=course.document_usage.keep_place(self._admission.take_place),
        )
        return request, call_request

    async def _call(self, request: ChatRequest, permit: Permit, course: _Course) -> Answer:
        course.asked = request.model
        way, started = (request.model, request.step), time.monotonic()
        call = self._history.sent(way)
        course.document_usage.invest(1)
        try:
            answer = await self._client.ask(request)
        except DocsluiceError as fault:
            course.document_usage.invest(-1)
            cost_usd = self._accounting.failed(request, fault, course.document_usage)
            judged = await self._judge.judge(
                fault, request=request, call=call, blame=course.blame, document_usage=course.document_usage
            )
            permit.failed(judged, cost_usd=cost_usd)
            if isinstance(judged, AttemptFailed):
                judged.waits_in_queue = self._judge.waits_in_queue(judged, request.model)
            if (final := rejection_for(judged, request) or judged) is fault:
                raise  # its own cause would be itself
            raise final from fault
        finally:
            self._history.ended(way, call)
        self._history.answered(way, call)
        course.blame.answered()
        self._metrics.call_answered(task=request.step, model=request.model, seconds=time.monotonic() - started)
        return self._count_and_judge(request, answer, permit, course.document_usage)

    def _count_and_judge(
        self, request: ChatRequest, answer: Answer, permit: Permit, document_usage: DocumentUsage
    ) -> Answer:
        """Make the call, and count its usage before anything else: a model's refusal is paid for as well."""
        permit.reported_limits(answer.limits)
        rejection = rejection_of(request, answer)
        outcome = rejection.reason.value if rejection else "ok"
        cost = self._accounting.answered(request, answer, outcome=outcome, document_usage=document_usage)
        if answer.usage is not None:
            self._estimator.learn(request, answer.usage)
        permit.answered(answer.usage, cost_usd=cost)
        if rejection and rejection.reason is not DeadLetterReason.TRUNCATED:
            raise rejection
        return replace(answer, model=request.model)

    def _note_retry(self, course: _Course, state: tenacity.RetryCallState) -> None:
        request = course.request
        fault = state.outcome.exception() if state.outcome else None
        if not isinstance(fault, AttemptFailed):
            return
        self._metrics.call_retried(task=request.step, reason=fault.outcome)
        silenced = self._complaints.silenced(fault.outcome)
        if silenced is not None:
            log.warning(
                "provider.failing",
                outcome=fault.outcome,
                task=request.step,
                model=str(course.asked),
                error=fault.cause,
                not_shown=silenced,
            )


def _pause_seconds(state: tenacity.RetryCallState) -> float:
    """Exponential back-off with full jitter, and never earlier than the provider asked for.

    0 if admission holds all calls back until the provider is well again. Calls then wait there, in their order of
    arrival. If only this document is rate-limited, it backs off here and blocks nobody.
    """
    fault = state.outcome.exception() if state.outcome else None
    if isinstance(fault, AttemptFailed) and fault.waits_in_queue:
        return 0.0
    if isinstance(fault, CallRefused) and fault.refuses_step:
        return _REFUSED_STEP_PAUSE(state)
    if isinstance(fault, CallRefused):
        return _REFUSAL_PAUSE(state)  # it costs nothing, and others wait to know whose fault it is
    asked = fault.retry_after_seconds if isinstance(fault, AttemptFailed) else None
    return min(asked or 0.0, _LONGEST_ASKED_SECONDS) + _BACKOFF(state)

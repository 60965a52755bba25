"""One question to a model, asked until it is answered: choose a model, admit, call, count, judge; and again.

Admission is inside the attempt, so that a document that backs off holds no slot, and every attempt pays for its own
tokens.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TypeVar

import structlog
import tenacity

from consumer.admission.admission import Admission, CircuitOpened
from consumer.admission.limits import Ask
from consumer.admission.permit import Permit
from consumer.call_accounting import CallAccounting
from consumer.contracts import DeadLetterReason, Usage
from consumer.errors import (
    AttemptFailed,
    CallRefused,
    DocsluiceError,
    ProviderMisconfigured,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)
from consumer.fault_attribution import Blame, CallHistory, Verdict, Way
from consumer.llm.chat import Answer, ChatClient, ChatRequest
from consumer.llm.estimate import USUAL_BYTES_PER_TOKEN, TokenEstimator
from consumer.llm.pricing import PriceList
from consumer.model_ref import ModelRef
from consumer.spending import Spending
from consumer.telemetry.logs import Throttle
from consumer.telemetry.metrics import Metrics
from consumer.trials import Trials

log = structlog.get_logger(__name__)

T = TypeVar("T")

_LONGEST_ASKED_SECONDS = 30.0
"""Whatever a failing server asks for: it may be well again long before, and the document holds back the commit."""
_BYTES_A_TOKEN_OF_A_PART = 3
"""So little that most texts fit with it: English has four and more, code and most other languages about three."""
_ROOM_FOR_AN_ANSWER_TOKENS = 256
_OWN_TEXT = "The harbour office wrote that the new lamp of the lighthouse had arrived undamaged."
_BACKOFF = tenacity.wait_random_exponential(multiplier=0.5, max=20)
_REFUSAL_PAUSE = tenacity.wait_random_exponential(multiplier=0.5, max=1.5)


async def _at_once() -> None:
    """Hold nobody."""


@dataclass(slots=True, kw_only=True)
class _Course:
    """One question's way through its attempts."""

    request: ChatRequest
    spending: Spending
    blame: Blame
    asked: ModelRef
    """The model that was asked last."""
    too_small: set[ModelRef] = field(default_factory=set)
    """Models that have said that the document is too large for them."""
    closed: set[ModelRef] = field(default_factory=set)
    """Models that refuse all calls, and have answered none in this run."""

    def models(self) -> list[ModelRef]:
        """Those that may still be asked, first choice first."""
        return [model for model in self.request.models if model not in self.too_small | self.closed]


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
        context_tokens: Mapping[ModelRef, int] | None = None,
        until_it_is_of_use: Callable[[], Awaitable[None]] = _at_once,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._admission = admission
        self._metrics = metrics
        self._max_attempts = max_attempts
        self._context_tokens = context_tokens or {}
        self._until_it_is_of_use = until_it_is_of_use
        self._sleep = sleep
        self._estimator = TokenEstimator()
        self._accounting = CallAccounting(prices=prices, estimator=self._estimator, metrics=metrics)
        self._history = CallHistory()
        self._trials = Trials()
        self._complaints = Throttle(seconds=10.0)

    async def ask(self, request: ChatRequest, spending: Spending, *, keep: Callable[[Answer], Awaitable[T]]) -> T:
        """Attempt until an answer comes, and give it to `keep`. What it took is added to `spending`, also if it fails.

        The call holds its slot until `keep` is done: of answers that are paid for and could still be lost, there are
        never more than there may be calls.

        Raises:
            RecordRejected: the document is to blame, or its attempts are used up.
            ServiceFault: the provider will take no request at all.
            Exception: what `keep` raises.
        """
        place = spending.keep_place(self._admission.take_place)
        blame = Blame(history=self._history, max_attempts=self._max_attempts, document=place)
        course = _Course(request=request, spending=spending, blame=blame, asked=request.model)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(AttemptFailed),
            wait=_pause_seconds,
            stop=lambda _state: blame.is_exhausted,
            before_sleep=lambda state: self._note_retry(course, state),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(self._attempt, course, keep)
        except AttemptFailed as fault:
            raise rejected(
                DeadLetterReason.ATTEMPTS_EXHAUSTED,
                f"{spending.attempts} attempts failed; the last: {fault}",
                request.to(course.asked),
            ) from fault

    def expected_cost_usd(self, request: ChatRequest) -> Decimal:
        """What one call of the first choice is expected to cost, as far as that is known from calls before it."""
        return self._accounting.expected_cost_usd(request.model, self._estimator.least(request))

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

    def _most_input_tokens(self, model: ModelRef, *, output_tokens: int) -> float:
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
            except CallRefused as refusal:
                if not refusal.is_worlds or not self._go_on_without(request.model, refusal, course):
                    raise
            except RecordRejected as rejection:
                if rejection.reason is not DeadLetterReason.TOO_LARGE or course.models() == [request.model]:
                    raise
                course.too_small.add(request.model)

    def _go_on_without(self, model: ModelRef, refusal: CallRefused, course: _Course) -> bool:
        """Whether to ask another model at once, since this one refuses all calls.

        Raises:
            ProviderMisconfigured: no model of the chain has answered anybody in this run, and all of them refuse.
        """
        if (silenced := self._complaints.silenced(f"refuses {model}")) is not None:
            log.error(
                "provider.refuses",
                model=str(model),
                remedy=refusal.remedy,
                error=refusal.cause,
                not_shown=silenced,
            )
        if self._history.has_answered(model):
            return False  # it will again, once somebody has seen to it
        if course.models() == [model]:
            raise ProviderMisconfigured(f"{refusal.remedy}: {refusal.cause}") from refusal
        course.closed.add(model)
        return True

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
            raise rejected(DeadLetterReason.TOO_LARGE, f"one call {misfit}", course.request, cause=misfit)
        fitting = [choice for choice in fitting if self.likely_fits(choice[0])] or fitting
        well = [choice for choice in fitting if self._admission.would_take(choice[0].model)]
        request, estimate = (well or fitting)[0]
        ask = Ask(
            model=request.model,
            usage=estimate,
            output_bound=request.sampling.max_output_tokens,
            cost_usd=self._accounting.expected_cost_usd(request.model, estimate),
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
        way, started = (request.model, request.step), time.monotonic()
        call = self._history.sent(way)
        course.spending.invest(1)
        try:
            answer = await self._client.ask(request)
        except DocsluiceError as fault:
            course.spending.invest(-1)
            cost_usd = self._accounting.failed(request, fault, course.spending)
            await self._attribute(fault, request, call, course)
            permit.failed(fault, cost_usd=cost_usd)
            if isinstance(fault, AttemptFailed):
                self._judge_failure(fault, way, course.blame)
            if isinstance(fault, CallRefused) and fault.is_worlds is False:
                raise rejected(fault.reason, str(fault), request) from fault
            if isinstance(fault, QuotaExhausted) and fault.blames_document:
                raise rejected(DeadLetterReason.REJECTED, str(fault), request) from fault
            raise
        finally:
            self._history.ended(way, call)
        self._history.answered(way, call)
        self._metrics.observe_call(task=request.step, model=request.model, seconds=time.monotonic() - started)
        return self._count_and_judge(request, answer, permit, course.spending)

    async def _attribute(self, fault: DocsluiceError, request: ChatRequest, call: int, course: _Course) -> None:
        """Find out whose fault it is, as far as admission has to know before it hears of the call's end."""
        way, blame = (request.model, request.step), course.blame
        match fault:
            case CallRefused(parameter="max_tokens") if request.is_roomier:
                # It is this call that asks for more room than the model gives.
                fault.is_worlds, fault.reason = False, DeadLetterReason.TOO_LARGE
            case RateLimited():
                blame.rate_limited(fault, way=way)
            case QuotaExhausted():
                verdict = blame.refused(fault, way=way, call=call, is_failing=self._admission.is_failing(request.model))
                fault.holds_others = verdict is Verdict.WORLD
                fault.blames_document = verdict is Verdict.DOCUMENT
            case CallRefused():
                verdict = blame.refused(fault, way=way, call=call, is_failing=self._admission.is_failing(request.model))
                is_new = not self._history.has_answered(request.model)
                if (verdict is Verdict.WORLD and is_new) or (verdict is Verdict.OPEN and blame.needs_trial(way)):
                    verdict = await self._tried_with_our_own(request, course.spending)
                fault.is_worlds = None if verdict is Verdict.OPEN else verdict is Verdict.WORLD
            case RecordRejected():
                self._history.answered(way, call)  # the provider is well: it has judged this document

    async def _tried_with_our_own(self, request: ChatRequest, spending: Spending) -> Verdict:
        """Whether a text of our own is refused, too: then it is the world's fault. Open where it is not.

        The call goes out in the slot of the refused one. Documents at the head of a topic may all be odd, and must not
        stop the service before anybody else has been tried; and one that comes alone must not be blamed for a key.
        """
        way = (request.model, request.step)
        if not self._trials.may_begin(way, now=time.monotonic()):
            return Verdict.OPEN
        trial, call = request.about(_OWN_TEXT), self._history.sent(way)
        is_refused = is_told = False
        try:
            answer = await self._client.ask(trial)
        except DocsluiceError as fault:
            self._admission.charge(self._accounting.failed(trial, fault, spending))
            is_refused = isinstance(fault, CallRefused)
            is_told = is_refused or isinstance(fault, RecordRejected)
        else:
            is_told = True
            self._admission.charge(self._accounting.answered(trial, answer, outcome="trial", spending=spending))
        finally:
            self._history.ended(way, call)
            self._trials.ended(way, is_told=is_told, now=time.monotonic())
        if is_told and not is_refused:
            self._history.answered(way, call)
        return Verdict.WORLD if is_refused else Verdict.OPEN

    def _judge_failure(self, fault: AttemptFailed, way: Way, blame: Blame) -> None:
        """Find out what the failure means for the document, now that admission knows of it."""
        is_failing = self._admission.is_failing(way[0])
        if not isinstance(fault, CallRefused | QuotaExhausted | RateLimited):
            blame.failed(fault, way=way, is_failing=is_failing)
        fault.waits_in_queue = is_failing or (fault.holds_others and not fault.blames_document)

    def _count_and_judge(self, request: ChatRequest, answer: Answer, permit: Permit, spending: Spending) -> Answer:
        """Count what was used before anything else: a refusal is paid for as well."""
        permit.said(answer.limits)
        rejection = rejection_of(request, answer)
        outcome = rejection.reason.value if rejection else "ok"
        cost = self._accounting.answered(request, answer, outcome=outcome, spending=spending)
        if answer.usage is not None:
            self._estimator.learn(request, answer.usage)
        permit.answered(answer.usage, cost_usd=cost)
        if rejection:
            raise rejection
        return replace(answer, model=request.model)

    def _note_retry(self, course: _Course, state: tenacity.RetryCallState) -> None:
        request = course.request
        fault = state.outcome.exception() if state.outcome else None
        if not isinstance(fault, AttemptFailed):
            return
        self._metrics.retries_total.labels(task=request.step, reason=fault.outcome).inc()
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


def rejected(
    reason: DeadLetterReason,
    message: str,
    request: ChatRequest,
    *,
    answer: str | None = None,
    cause: str | None = None,
) -> RecordRejected:
    """The rejection of a document by a question about it, with the answer that led to it."""
    return RecordRejected(reason, message, step=request.step, model=request.model, answer=answer, cause=cause)


def _pause_seconds(state: tenacity.RetryCallState) -> float:
    """Exponential back-off with full jitter, and never earlier than the provider asked for.

    None at all where admission holds everybody back until the provider is well again: that is the place to wait, in
    the order of arrival. Who is the only one to be refused waits here, or his refusals would hold everybody back.
    """
    fault = state.outcome.exception() if state.outcome else None
    if isinstance(fault, AttemptFailed) and fault.waits_in_queue:
        return 0.0
    if isinstance(fault, CallRefused):
        return _REFUSAL_PAUSE(state)  # it is not paid for, and others wait to know whose fault it is
    asked = fault.retry_after_seconds if isinstance(fault, AttemptFailed) else None
    return min(asked or 0.0, _LONGEST_ASKED_SECONDS) + _BACKOFF(state)


def rejection_of(request: ChatRequest, answer: Answer) -> RecordRejected | None:
    """The rejection for an answer that arrived and yet is none; None for any other."""
    if answer.refusal:
        reason, why = DeadLetterReason.REFUSED, "the model refused to answer"
    elif answer.finish_reason == "content_filter":
        reason, why = DeadLetterReason.CONTENT_FILTERED, "the provider's content filter cut the answer"
    elif answer.finish_reason == "length":
        reason, why = DeadLetterReason.TRUNCATED, _why_cut(request, answer)
    else:
        return None
    return rejected(reason, why, request, answer=answer.refusal or answer.text, cause=why)


def _why_cut(request: ChatRequest, answer: Answer) -> str:
    bound = request.sampling.max_output_tokens or "the model's own bound"
    thinking = answer.usage.reasoning_tokens if answer.usage else 0
    spent = f"; {thinking} tokens of it went into thinking" if thinking else ""
    return f"the answer was cut at max_output_tokens ({bound}){spent}"

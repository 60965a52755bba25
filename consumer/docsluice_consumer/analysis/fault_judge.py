"""Finds out whose fault a failed call is, from the calls beside it or by a call about a text of our own."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from decimal import Decimal
from enum import Enum

from docsluice.messages import DeadLetterReason
from docsluice_consumer.analysis.call_accounting import CallAccounting
from docsluice_consumer.analysis.fault_attribution import Blame, CallHistory, Verdict
from docsluice_consumer.analysis.rejections import rejected
from docsluice_consumer.analysis.trial_calls import Trials
from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.errors import (
    AttemptFailed,
    CallRefused,
    DocsluiceError,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)
from docsluice_consumer.llm.chat import ChatClient, ChatRequest
from docsluice_consumer.model_ref import ModelRef

_OWN_TEXT = "The harbour office wrote that the new lamp of the lighthouse, number {}, had arrived undamaged."
"""It has another number each time. A gateway that caches answers would otherwise answer in an outage."""


class _Told(Enum):
    """What a call about a text of our own has shown."""

    ANSWERED = "answered"
    TURNED_DOWN = "turned down"
    NOTHING = "nothing"
    """It failed as well, or was not made."""


class FaultJudge:
    """Judges failed calls.

    `is_failing` tells whether a model fails everybody. `charge` takes a trial's cost in US dollars. `now` returns
    monotonic seconds.
    """

    def __init__(
        self,
        *,
        client: ChatClient,
        history: CallHistory,
        accounting: CallAccounting,
        is_failing: Callable[[ModelRef], bool],
        charge: Callable[[Decimal], None],
        now: Callable[[], float],
    ) -> None:
        self._client = client
        self._history = history
        self._accounting = accounting
        self._is_failing = is_failing
        self._charge = charge
        self._now = now
        self._trials = Trials()

    async def judge(
        self, fault: DocsluiceError, *, request: ChatRequest, call: int, blame: Blame, document_usage: DocumentUsage
    ) -> DocsluiceError:
        """Return the fault for admission: the same one, marked, or what it turns out to be."""
        way = (request.model, request.step)
        match fault:
            case CallRefused(parameter="max_tokens") if request.is_roomier:
                # This call asks for more room than the model gives.
                fault.is_worlds, fault.reason = False, DeadLetterReason.TOO_LARGE
            case RateLimited():
                blame.overloaded(fault, way=way)
            case QuotaExhausted():
                verdict = blame.refused(fault, way=way, call=call, is_failing=self._is_failing(request.model))
                fault.pauses_others = verdict is Verdict.WORLD
                fault.blames_document = verdict is Verdict.DOCUMENT
            case CallRefused():
                await self._judge_refusal(fault, request, call, blame, document_usage)
            case AttemptFailed():
                if fault.is_overload:
                    blame.overloaded(fault, way=way)
                await self._judge_failure(fault, request, blame, document_usage)
            case RecordRejected():
                return await self._judge_rejection(fault, request, call, document_usage)
        return fault

    def waits_in_queue(self, fault: AttemptFailed, model: ModelRef) -> bool:
        """Whether the next attempt waits in admission's queue, now that admission has heard of this one's end."""
        return self._is_failing(model) or (fault.pauses_others and not fault.blames_document)

    async def _judge_failure(
        self, fault: AttemptFailed, request: ChatRequest, blame: Blame, document_usage: DocumentUsage
    ) -> None:
        """Check whether a document that fails alone is the reason itself.

        If a text of our own is answered, the provider is well. A sound document pays for such calls only in an outage,
        in which they fail.
        """
        way = (request.model, request.step)
        if fault.blames_document and blame.fails_alone(way):
            fault.provider_is_well = await self._try_own_text(request, document_usage) is _Told.ANSWERED
        is_failing = self._is_failing(request.model) and not fault.provider_is_well
        blame.failed(fault, way=way, is_failing=is_failing)

    async def _judge_refusal(
        self, fault: CallRefused, request: ChatRequest, call: int, blame: Blame, document_usage: DocumentUsage
    ) -> None:
        way = (request.model, request.step)
        verdict = blame.refused(fault, way=way, call=call, is_failing=self._is_failing(request.model))
        is_new = not self._history.has_answered(request.model)
        if verdict is Verdict.WORLD and is_new and self._history.may_answer_other_steps(way):
            verdict = Verdict.OPEN
        if (verdict is Verdict.WORLD and is_new) or (verdict is not Verdict.DOCUMENT and blame.needs_trial(way)):
            told = await self._try_own_text(request, document_usage)
            fault.provider_is_well = told is _Told.ANSWERED
            if told is _Told.TURNED_DOWN:
                verdict = Verdict.WORLD
            elif is_new or fault.provider_is_well:
                verdict = Verdict.OPEN
        fault.is_worlds = None if verdict is Verdict.OPEN else verdict is Verdict.WORLD
        if fault.is_worlds and self._history.answers_other_steps(way):
            # The model is well for all steps but this one.
            fault.is_worlds, fault.refuses_step = None, True

    async def _judge_rejection(
        self, fault: RecordRejected, request: ChatRequest, call: int, document_usage: DocumentUsage
    ) -> DocsluiceError:
        """Check a rejection by a provider that has completed no call of this step: it may reject every document.

        A text of our own tells. If that call fails, nothing speaks against the provider's word.
        """
        way = (request.model, request.step)
        is_new = not self._history.has_completed(way)
        is_for_all = is_new and await self._try_own_text(request, document_usage) is _Told.TURNED_DOWN
        is_told_later = self._trials.is_under_way(way) and not self._history.has_completed(way)
        if not is_for_all and not is_told_later:
            self._history.judged(way, call)
            return fault
        remedy = f"{request.model} rejects even a short text of our own (task {request.step})"
        refusal = CallRefused(str(fault), kind="unknown", remedy=remedy)
        refusal.is_worlds = True if is_for_all else None
        refusal.usage, refusal.stated_cost_usd = fault.usage, fault.stated_cost_usd
        return refusal

    async def _try_own_text(self, request: ChatRequest, document_usage: DocumentUsage) -> _Told:
        """Make a trial call about a text of our own, unless it is too soon.

        The call goes out in the slot of the failed one. It protects two cases. All documents at the head of a topic may
        be odd, and must not stop the service. And a document that comes alone must not be blamed for a bad key.
        """
        way = (request.model, request.step)
        if not self._trials.may_begin(way, now=self._now()):
            return _Told.NOTHING
        trial = request.about(_OWN_TEXT.format(secrets.randbelow(10**9)))
        call, told = self._history.sent(way), _Told.NOTHING
        try:
            answer = await self._client.ask(trial)
        except DocsluiceError as fault:
            self._charge(self._accounting.failed(trial, fault, document_usage))
            if isinstance(fault, CallRefused | RecordRejected):
                told = _Told.TURNED_DOWN
            else:
                self._history.failed(way)
        else:
            self._charge(self._accounting.answered(trial, answer, outcome="trial", document_usage=document_usage))
            told = _Told.ANSWERED
        finally:
            self._history.ended(way, call)
            self._trials.ended(way, is_told=told is not _Told.NOTHING, now=self._now())
        if told is _Told.ANSWERED:
            self._history.answered(way, call)
        return told


def rejection_for(fault: DocsluiceError, request: ChatRequest) -> RecordRejected | None:
    """The rejection for a call that was refused for its document. None for any other fault."""
    match fault:
        case CallRefused(is_worlds=False):
            return rejected(fault.reason, str(fault), request)
        case QuotaExhausted(blames_document=True):
            return rejected(DeadLetterReason.REJECTED, str(fault), request)
        case _:
            return None

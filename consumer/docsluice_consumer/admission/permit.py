"""A permit for one call, and what admission learns from its end."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from docsluice.messages import Usage
from docsluice_consumer.admission.model_queue import ModelQueue, Waiter
from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    DocsluiceError,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
    ServiceFault,
)

_NOTHING = Decimal(0)
_LONG_QUOTA_PAUSE_SECONDS = 60.0
"""The pause after an hour's or a day's quota is used up, if the provider does not say for how long."""


class PermitListener(Protocol):
    """The part of admission that hears how a permit's call ended."""

    def settle(self, permit: Permit, *, usage: Usage | None = None, cost_usd: Decimal) -> None:
        """Take the difference between what was reserved and what was used. Usage None leaves the tokens reserved."""
        ...

    def note_answer(self, permit: Permit, *, output_tokens: int) -> None:
        """Note an answer."""
        ...

    def note_judgement(self, permit: Permit) -> None:
        """Note that the provider is well: it has refused this very call."""
        ...

    def note_refusal(self, permit: Permit, *, pause_seconds: float | None, teaches: bool) -> None:
        """Note a rate limit. `teaches`: it says something about all calls, not about this one alone."""
        ...

    def note_overload(self, permit: Permit, fault: AttemptFailed) -> None:
        """Note an overload. Marks on the fault whether it `teaches` something about the pace, and `pauses_others`."""
        ...

    def note_shut(self, permit: Permit, reason: str, *, pause_seconds: float | None = None) -> None:
        """Note that the provider refuses all calls.

        `reason`: `quota` (an empty account) or `refusals` (of a key or a model).
        """
        ...

    def note_doubt(self, permit: Permit) -> None:
        """Note a failure. Only other documents' calls tell whether the provider is well."""
        ...

    def note_fault(self, permit: Permit, *, is_paid: bool = False) -> None:
        """Note that the provider does not answer, or nothing that can be read. `is_paid`: it may be paid for."""
        ...

    def note_limits(self, permit: Permit, limits: Mapping[str, float], *, is_answer: bool) -> None:
        """Note the limits that the provider names, if any."""
        ...

    def note_silence(self, permit: Permit) -> None:
        """Note a call whose end nobody has heard: it was given up."""
        ...


class Permit:
    """The permit of one call. Report its end with `answered` or `failed`: the first report counts.

    Without one it was given up.
    """

    def __init__(
        self, *, waiter: Waiter, queue: ModelQueue, in_flight: int, sent_at: float, listener: PermitListener
    ) -> None:
        self.queue = queue
        self.place = waiter.number
        self.is_probe = waiter.admitted.result()
        self.in_flight = in_flight
        """Calls in flight when it went out, itself included."""
        self.sent_at = sent_at
        self.taken = waiter.taken
        self.reserved_usd = waiter.request.cost_usd
        self.fault: DocsluiceError | None = None
        """How the call failed."""
        self._listener = listener
        self._has_ended = False

    def answered(self, usage: Usage | None, *, cost_usd: Decimal = _NOTHING) -> None:
        """Report an answer and its usage. None from a server that does not say."""
        if self._ends():
            self._listener.settle(self, usage=usage, cost_usd=cost_usd)
            self._listener.note_answer(self, output_tokens=usage.output_tokens if usage else 0)

    def reported_limits(self, limits: Mapping[str, float], *, is_answer: bool = True) -> None:
        """Report the limits a minute that the provider has named, by quota. An answer may name none."""
        self._listener.note_limits(self, limits, is_answer=is_answer)

    def failed(self, fault: DocsluiceError, *, cost_usd: Decimal = _NOTHING) -> None:
        """Report a failure, and its cost as far as the provider has told.

        A provider does not count what it refused. A call that timed out, or whose answer cannot be read, keeps its
        reserved tokens and dollars. The provider may have worked on it.
        """
        if not self._ends():
            return
        self.fault = fault
        if isinstance(fault, AttemptFailed):
            self.reported_limits(fault.limits, is_answer=False)
            if fault.is_overload:
                self._listener.note_overload(self, fault)
        # First note what was learned, then free what was reserved. Otherwise one more call would go out into a refusal.
        self._note(fault, is_paid=bool(cost_usd) or isinstance(fault, AnswerUnreadable))
        told = fault.usage if isinstance(fault, AttemptFailed | RecordRejected) else None
        is_refused = isinstance(fault, RateLimited | QuotaExhausted | CallRefused | RecordRejected | ServiceFault)
        may_be_paid = isinstance(fault, CallTimedOut | AnswerUnreadable)
        self._listener.settle(
            self,
            usage=Usage() if is_refused and told is None else told,
            cost_usd=max(cost_usd, self.reserved_usd if may_be_paid else _NOTHING),
        )

    def _note(self, fault: DocsluiceError, *, is_paid: bool) -> None:
        """Report what the failure says about the provider."""
        match fault:
            case RateLimited(pauses_others=True):
                self._listener.note_refusal(self, pause_seconds=fault.retry_after_seconds, teaches=fault.teaches)
            case QuotaExhausted(pauses_others=True):
                asked = fault.retry_after_seconds or (_LONG_QUOTA_PAUSE_SECONDS if fault.period_seconds else None)
                self._listener.note_shut(self, "quota", pause_seconds=asked)
            case CallRefused():
                self._note_refused_call(fault)
            case AttemptFailed(provider_is_well=True):
                self._note_well_otherwise()
            case RateLimited() | QuotaExhausted(blames_document=False) | AttemptFailed(speaks_of_document=True):
                self._listener.note_doubt(self)
            case QuotaExhausted() | RecordRejected() | ServiceFault():
                # Refused before a model has read it. A model's own refusal goes through `answered`.
                self._listener.note_judgement(self)
            case _:
                self._listener.note_fault(self, is_paid=is_paid)

    def _note_refused_call(self, fault: CallRefused) -> None:
        match fault.is_worlds:
            case True:
                self._listener.note_shut(self, "refusals")
            case False:
                self._listener.note_judgement(self)
            case None if fault.provider_is_well:
                self._note_well_otherwise()
            case None:
                self._listener.note_doubt(self)

    def _note_well_otherwise(self) -> None:
        """Report that the provider is well, but not for this document, which then stands behind the others."""
        self._listener.note_judgement(self)
        self._listener.note_doubt(self)

    def unused(self) -> None:
        """Report that the call was never made."""
        if self._ends():
            self._listener.settle(self, usage=Usage(), cost_usd=_NOTHING)
            self._listener.note_silence(self)

    def close(self) -> None:
        """End the permit, whether or not an end was reported."""
        if self._ends():
            self._listener.settle(self, cost_usd=self.reserved_usd)
            self._listener.note_silence(self)

    def _ends(self) -> bool:
        had_ended, self._has_ended = self._has_ended, True
        return not had_ended

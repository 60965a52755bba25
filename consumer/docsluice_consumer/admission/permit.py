"""A permit for one call, and what admission learns from its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from docsluice.messages import Usage
from docsluice_consumer.admission.adaptive_concurrency import AdaptiveConcurrency
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.model_queue import ModelQueue, Waiter
from docsluice_consumer.admission.quota import REQUESTS
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
LONG_PAUSE_SECONDS = 10.0
"""A call does not wait longer at one model if another would do."""
_DEFAULT_PAUSE_SECONDS = 1.0
"""After a rate limit that does not say how long to wait."""
_LONG_QUOTA_PAUSE_SECONDS = 60.0
"""The pause after an hour's or a day's quota is used up, if the provider does not say for how long."""


class PermitListener(Protocol):
    """The part of admission that is told what matters to waiting calls."""

    def wake(self) -> None:
        """Look again: tokens or dollars came free."""
        ...

    def paused(self, queue: ModelQueue, seconds: float) -> None:
        """A model's provider has asked for a long pause."""
        ...

    def circuit_opened(self, queue: ModelQueue, reason: str, fault: DocsluiceError) -> None:
        """A model's circuit breaker has opened, with the last call's fault."""
        ...

    def circuit_closed(self, queue: ModelQueue) -> None:
        """A model answers again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The things that calls of all models share. `now` is the queues' clock, `clock` the time of day."""

    budget: Budget
    concurrency: AdaptiveConcurrency
    listener: PermitListener
    now: Callable[[], float]
    clock: Callable[[], float]


class Permit:
    """The permit of one call. Report its end with `answered` or `failed`: the first report counts.

    Without one it was given up.
    """

    def __init__(self, *, waiter: Waiter, queue: ModelQueue, in_flight: int, account: Account) -> None:
        self._queue = queue
        self._place = waiter.number
        self._is_probe = waiter.admitted.result()
        self._reserved = waiter.reserved
        self._reserved_usd = waiter.request.cost_usd
        self._in_flight = in_flight
        """Calls in flight when it went out, itself included."""
        self._account = account
        self._sent_at = account.now()
        self._has_ended = False

    def answered(self, usage: Usage | None, *, cost_usd: Decimal = _NOTHING) -> None:
        """It was answered, and took this much; None from a server that does not say."""
        if not self._ends():
            return
        self._settle(usage, cost_usd)
        now = self._account.now()
        self._queue.keep_pace(sent_at=self._sent_at, now=now)
        self._account.concurrency.answered(
            seconds=now - self._sent_at,
            output_tokens=usage.output_tokens if usage else 0,
            in_flight=self._in_flight,
            now=now,
        )
        self._queue.cooldown.answered()
        self._note_judgement()

    def reported_limits(self, limits: Mapping[str, float], *, is_answer: bool = True) -> None:
        """The provider has said what it allows a minute, by the names of the quotas. An answer may say nothing."""
        self._queue.reported(limits, is_answer=is_answer, now=self._account.now())

    def failed(self, fault: DocsluiceError, *, cost_usd: Decimal = _NOTHING) -> None:
        """It failed, and cost so much as far as the provider has told.

        What a provider refused, it has not counted. A call that timed out, or whose answer cannot be read, keeps what
        was reserved for it, tokens and dollars, for the provider may well have worked on it.
        """
        if not self._ends():
            return
        if isinstance(fault, AttemptFailed):
            self.reported_limits(fault.limits, is_answer=False)
            if fault.is_overload:
                self._weigh(fault)
        # First what is learned of the provider, and then what comes free: or one more call would go out into a refusal.
        self._note(fault, is_paid=bool(cost_usd) or isinstance(fault, AnswerUnreadable))
        told = fault.usage if isinstance(fault, AttemptFailed | RecordRejected) else None
        is_refused = isinstance(fault, RateLimited | QuotaExhausted | CallRefused | RecordRejected | ServiceFault)
        may_be_paid = isinstance(fault, CallTimedOut | AnswerUnreadable)
        self._settle(
            Usage() if is_refused and told is None else told,
            max(cost_usd, self._reserved_usd if may_be_paid else _NOTHING),
        )

    def unused(self) -> None:
        """The call was never made."""
        if self._ends():
            self._settle(Usage(), _NOTHING)
            self._give_up_probe()

    def close(self) -> None:
        """The call is over, whether or not anything was said of it."""
        if self._ends():
            self._settle(None, self._reserved_usd)
            self._give_up_probe()

    def _ends(self) -> bool:
        had_ended, self._has_ended = self._has_ended, True
        return not had_ended

    def _settle(self, usage: Usage | None, cost_usd: Decimal) -> None:
        """Count what was used instead of what was reserved; usage None counts the tokens reserved as used."""
        for quota, reserved in self._reserved.items():
            if quota.name != REQUESTS:
                quota.settle(reserved, None if usage is None else quota.amount(usage), now=self._account.now())
        self._account.budget.settle(self._reserved_usd, cost_usd, now=self._account.clock())
        self._account.listener.wake()

    def _note(self, fault: DocsluiceError, *, is_paid: bool) -> None:
        """Learn what the failure says of the provider."""
        match fault:
            case RateLimited(pauses_others=True):
                self._note_refusal(pause_seconds=fault.retry_after_seconds, teaches=fault.teaches)
            case QuotaExhausted(pauses_others=True):
                asked = fault.retry_after_seconds or (_LONG_QUOTA_PAUSE_SECONDS if fault.period_seconds else None)
                self._shut("quota", fault, pause_seconds=asked)
            case CallRefused(is_worlds=True):
                self._shut("refusals", fault)
            case CallRefused(is_worlds=False):
                self._note_judgement()
            case CallRefused(provider_is_well=True) | AttemptFailed(provider_is_well=True):
                self._note_judgement()
                self._note_doubt()
            case CallRefused() | RateLimited() | QuotaExhausted(blames_document=False):
                self._note_doubt()
            case AttemptFailed(speaks_of_document=True):
                self._note_doubt()
            case QuotaExhausted() | RecordRejected() | ServiceFault():
                # Before any model has read it: an answer that is none, such as a refusal, goes through `answered`.
                self._note_judgement()
            case _:
                self._note_fault(fault, is_paid=is_paid)

    def _note_judgement(self) -> None:
        """The provider is well: it has answered, or has refused this very call."""
        self._close_circuit()
        if not self._queue.circuit_breaker.is_open:
            self._queue.answered(sent_at=self._sent_at)

    def _note_refusal(self, *, pause_seconds: float | None, teaches: bool) -> None:
        """The provider answers: too fast. `teaches` unless that is so for this call only."""
        now = self._account.now()
        self._close_circuit()
        self._queue.refused(self._place, now=now)
        asked = _DEFAULT_PAUSE_SECONDS if pause_seconds is None else pause_seconds
        closed_for = self._queue.cooldown.close(asked, now=now)
        if closed_for >= LONG_PAUSE_SECONDS:
            self._account.listener.paused(self._queue, closed_for)
        if teaches:
            self._queue.slow_down(now=now)

    def _weigh(self, fault: AttemptFailed) -> None:
        """The provider has too much to do. Marks whether that `teaches` something and `pauses_others`."""
        now = self._account.now()
        self._queue.weigh(fault, sent_at=self._sent_at, now=now)
        if fault.teaches:
            self._account.concurrency.overloaded(seconds=now - self._sent_at, now=now)

    def _shut(self, reason: str, fault: DocsluiceError, *, pause_seconds: float | None = None) -> None:
        """The provider refuses all calls: `quota`, it wants to be paid first; or `refusals`, of a key or a model."""
        if self._queue.circuit_breaker.shut(reason, now=self._account.now(), pause_seconds=pause_seconds):
            self._account.listener.circuit_opened(self._queue, reason, fault)
        self._queue.failed(self._place)

    def _note_doubt(self) -> None:
        """Only other documents' calls tell whether the provider is well."""
        self._give_up_probe()
        self._queue.failed(self._place)

    def _note_fault(self, fault: DocsluiceError, *, is_paid: bool) -> None:
        """The provider does not answer, or nothing that can be read; that may have been paid for."""
        circuit_breaker = self._queue.circuit_breaker
        if circuit_breaker.failed(is_probe=self._is_probe, now=self._account.now(), is_paid=is_paid):
            self._account.listener.circuit_opened(self._queue, "faults", fault)
        if circuit_breaker.is_open:
            self._queue.failed(self._place)

    def _give_up_probe(self) -> None:
        """A probe has told nothing, so another call is to be one."""
        if self._is_probe:
            self._queue.circuit_breaker.given_up(now=self._account.now())

    def _close_circuit(self) -> None:
        if self._queue.circuit_breaker.answered(is_probe=self._is_probe):
            self._queue.cooldown.open(now=self._account.now())
            self._account.listener.circuit_closed(self._queue)

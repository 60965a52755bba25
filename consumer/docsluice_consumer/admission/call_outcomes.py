"""What the ends of calls teach, and which calls it affects."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from docsluice.messages import Usage
from docsluice_consumer.admission.adaptive_concurrency import AdaptiveConcurrency
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.model_queue import ModelQueue
from docsluice_consumer.admission.model_queues import ModelQueues
from docsluice_consumer.admission.permit import Permit
from docsluice_consumer.admission.quota import REQUESTS
from docsluice_consumer.errors import AttemptFailed, DocsluiceError
from docsluice_consumer.model_ref import ModelRef

OnCircuit: TypeAlias = Callable[[ModelRef, str | None, DocsluiceError | None], None]

LONG_PAUSE_SECONDS = 10.0
_DEFAULT_PAUSE_SECONDS = 1.0
"""After a refusal that does not say how long to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeHooks:
    """Callbacks for what a call's end changes.

    Attributes:
        settled: reserved room came free.
        divert: calls that wait in a queue may choose another model.
        on_circuit: a model's circuit has opened for a reason, with the last call's fault, or, with None twice, closed.
        on_gate: a model's cooldown has begun, with its seconds.
    """

    settled: Callable[[], None]
    divert: Callable[[ModelQueue], None]
    on_circuit: OnCircuit
    on_gate: Callable[[ModelRef, float], None]


class CallOutcomes:
    """The `PermitListener` of all permits. It updates queues, budget and concurrency.

    `now` is the queue's clock, `clock` the time of day.
    """

    def __init__(
        self,
        *,
        queues: ModelQueues,
        budget: Budget,
        concurrency: AdaptiveConcurrency,
        hooks: OutcomeHooks,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._queues = queues
        self._budget = budget
        self._concurrency = concurrency
        self._hooks = hooks
        self._now = now
        self._clock = clock

    def settle(self, permit: Permit, *, usage: Usage | None = None, cost_usd: Decimal) -> None:
        """See `PermitListener.settle`."""
        if usage is not None:
            for quota, taken in permit.taken.items():
                if quota.name != REQUESTS:
                    quota.give_back(taken - quota.amount(usage), now=self._now())
        self._budget.settle(permit.reserved_usd, cost_usd, now=self._clock())
        self._hooks.settled()

    def note_answer(self, permit: Permit, *, output_tokens: int) -> None:
        """See `PermitListener.note_answer`."""
        now = self._now()
        permit.queue.keep_pace(sent_at=permit.sent_at, now=now)
        self._concurrency.answered(
            seconds=now - permit.sent_at, output_tokens=output_tokens, in_flight=permit.in_flight, now=now
        )
        permit.queue.cooldown.answered()
        self.note_judgement(permit)

    def note_judgement(self, permit: Permit) -> None:
        """See `PermitListener.note_judgement`."""
        self._is_well(permit)
        if not permit.queue.circuit_breaker.is_open:
            permit.queue.answered(sent_at=permit.sent_at)

    def note_refusal(self, permit: Permit, *, pause_seconds: float | None, teaches: bool) -> None:
        """See `PermitListener.note_refusal`."""
        now = self._now()
        self._is_well(permit)
        permit.queue.refused(permit.place, now=now)
        asked = _DEFAULT_PAUSE_SECONDS if pause_seconds is None else pause_seconds
        closed_for = permit.queue.cooldown.close(asked, now=now)
        if closed_for >= LONG_PAUSE_SECONDS:
            self._hooks.on_gate(permit.queue.model, closed_for)
            self._hooks.divert(permit.queue)
        if teaches:
            permit.queue.slow_down(now=now)

    def note_overload(self, permit: Permit, fault: AttemptFailed) -> None:
        """See `PermitListener.note_overload`."""
        now = self._now()
        permit.queue.weigh(fault, sent_at=permit.sent_at, now=now)
        if fault.teaches:
            self._concurrency.overloaded(seconds=now - permit.sent_at, now=now)

    def note_shut(self, permit: Permit, reason: str, *, pause_seconds: float | None = None) -> None:
        """See `PermitListener.note_shut`."""
        if permit.queue.circuit_breaker.shut(reason, now=self._now(), pause_seconds=pause_seconds):
            self._opened(permit)
        permit.queue.failed(permit.place)

    def note_doubt(self, permit: Permit) -> None:
        """See `PermitListener.note_doubt`."""
        self.note_silence(permit)
        permit.queue.failed(permit.place)

    def note_fault(self, permit: Permit, *, is_paid: bool = False) -> None:
        """See `PermitListener.note_fault`."""
        if permit.queue.circuit_breaker.failed(is_probe=permit.is_probe, now=self._now(), is_paid=is_paid):
            self._opened(permit)
        if permit.queue.circuit_breaker.is_open:
            permit.queue.failed(permit.place)

    def note_limits(self, permit: Permit, limits: Mapping[str, float], *, is_answer: bool) -> None:
        """See `PermitListener.note_limits`."""
        permit.queue.reported(limits, is_answer=is_answer, now=self._now())

    def note_silence(self, permit: Permit) -> None:
        """See `PermitListener.note_silence`."""
        if permit.is_probe:
            permit.queue.circuit_breaker.given_up(now=self._now())

    def _is_well(self, permit: Permit) -> None:
        if permit.queue.circuit_breaker.answered(is_probe=permit.is_probe):
            permit.queue.cooldown.open(now=self._now())
            self._hooks.on_circuit(permit.queue.model, None, None)
            for queue in self._queues:
                if queue.circuit_breaker.is_open or self._is_paused(queue):
                    self._hooks.divert(queue)

    def _is_paused(self, queue: ModelQueue) -> bool:
        """Whether calls that wait in this queue should ask another model."""
        return queue.cooldown.wait_seconds(now=self._now(), crowd=1) >= LONG_PAUSE_SECONDS

    def _opened(self, permit: Permit) -> None:
        queue = permit.queue
        self._hooks.on_circuit(queue.model, queue.circuit_breaker.opened_for, permit.fault)
        self._hooks.divert(queue)

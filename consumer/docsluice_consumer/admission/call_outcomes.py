"""What is learned from how calls end, and for whom it matters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeAlias

from docsluice.messages import Usage
from docsluice_consumer.admission.adaptive_concurrency import AdaptiveConcurrency
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.model_queue import Lane
from docsluice_consumer.admission.model_queues import Lanes
from docsluice_consumer.admission.permit import Permit
from docsluice_consumer.admission.quota import REQUESTS
from docsluice_consumer.errors import AttemptFailed, DocsluiceError
from docsluice_consumer.model_ref import ModelRef

OnCircuit: TypeAlias = Callable[[ModelRef, str | None, DocsluiceError | None], None]

LONG_PAUSE_SECONDS = 10.0
_DEFAULT_PAUSE_SECONDS = 1.0
"""After a refusal that does not say how long to wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Consequences:
    """What others do about it.

    Attributes:
        settled: something came free.
        divert: those who wait in a lane may choose another model.
        on_circuit: a model's circuit has opened for a reason, with the last call's fault; or, with None twice, closed.
        on_gate: a model's gate is closed for so many seconds.
    """

    settled: Callable[[], None]
    divert: Callable[[Lane], None]
    on_circuit: OnCircuit
    on_gate: Callable[[ModelRef, float], None]


class Lessons:
    """The `House` of permits: takes note in lanes, budget and concurrency.

    `now` is the queue's clock, `clock` the time of day.
    """

    def __init__(
        self,
        *,
        lanes: Lanes,
        budget: Budget,
        concurrency: AdaptiveConcurrency,
        consequences: Consequences,
        now: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._lanes = lanes
        self._budget = budget
        self._concurrency = concurrency
        self._consequences = consequences
        self._now = now
        self._clock = clock

    def settle(self, permit: Permit, *, usage: Usage | None = None, cost_usd: Decimal) -> None:
        """See `House.settle`."""
        if usage is not None:
            for quota, taken in permit.taken.items():
                if quota.name != REQUESTS:
                    quota.give_back(taken - quota.amount(usage), now=self._now())
        self._budget.settle(permit.reserved_usd, cost_usd, now=self._clock())
        self._consequences.settled()

    def note_answer(self, permit: Permit, *, output_tokens: int) -> None:
        """See `House.note_answer`."""
        now = self._now()
        permit.lane.keep_pace(sent_at=permit.sent_at, now=now)
        self._concurrency.answered(
            seconds=now - permit.sent_at, output_tokens=output_tokens, in_flight=permit.in_flight, now=now
        )
        permit.lane.gate.answered()
        self.note_judgement(permit)

    def note_judgement(self, permit: Permit) -> None:
        """See `House.note_judgement`."""
        self._is_well(permit)
        if not permit.lane.circuit.is_open:
            permit.lane.answered(sent_at=permit.sent_at)

    def note_refusal(self, permit: Permit, *, pause_seconds: float | None, teaches: bool) -> None:
        """See `House.note_refusal`."""
        now = self._now()
        self._is_well(permit)
        permit.lane.refused(permit.place, now=now)
        asked = _DEFAULT_PAUSE_SECONDS if pause_seconds is None else pause_seconds
        closed_for = permit.lane.gate.close(asked, now=now)
        if closed_for >= LONG_PAUSE_SECONDS:
            self._consequences.on_gate(permit.lane.model, closed_for)
            self._consequences.divert(permit.lane)
        if teaches:
            permit.lane.slow_down(now=now)

    def note_overload(self, permit: Permit, fault: AttemptFailed) -> None:
        """See `House.note_overload`."""
        now = self._now()
        permit.lane.weigh(fault, sent_at=permit.sent_at, now=now)
        if fault.teaches:
            self._concurrency.overloaded(seconds=now - permit.sent_at, now=now)

    def note_shut(self, permit: Permit, reason: str, *, pause_seconds: float | None = None) -> None:
        """See `House.note_shut`."""
        if permit.lane.circuit.shut(reason, now=self._now(), pause_seconds=pause_seconds):
            self._opened(permit)
        permit.lane.failed(permit.place)

    def note_doubt(self, permit: Permit) -> None:
        """See `House.note_doubt`."""
        self.note_silence(permit)
        permit.lane.failed(permit.place)

    def note_fault(self, permit: Permit, *, is_paid: bool = False) -> None:
        """See `House.note_fault`."""
        if permit.lane.circuit.failed(is_probe=permit.is_probe, now=self._now(), is_paid=is_paid):
            self._opened(permit)
        if permit.lane.circuit.is_open:
            permit.lane.failed(permit.place)

    def note_limits(self, permit: Permit, limits: Mapping[str, float], *, is_answer: bool) -> None:
        """See `House.note_limits`."""
        permit.lane.said(limits, is_answer=is_answer, now=self._now())

    def note_silence(self, permit: Permit) -> None:
        """See `House.note_silence`."""
        if permit.is_probe:
            permit.lane.circuit.given_up(now=self._now())

    def _is_well(self, permit: Permit) -> None:
        if permit.lane.circuit.answered(is_probe=permit.is_probe):
            permit.lane.gate.open(now=self._now())
            self._consequences.on_circuit(permit.lane.model, None, None)
            for lane in self._lanes:
                if lane.circuit.is_open or self._is_paused(lane):
                    self._consequences.divert(lane)

    def _is_paused(self, lane: Lane) -> bool:
        """Whether those who wait in it would rather ask another model."""
        return lane.gate.wait_seconds(now=self._now(), crowd=1) >= LONG_PAUSE_SECONDS

    def _opened(self, permit: Permit) -> None:
        lane = permit.lane
        self._consequences.on_circuit(lane.model, lane.circuit.opened_for, permit.fault)
        self._consequences.divert(lane)

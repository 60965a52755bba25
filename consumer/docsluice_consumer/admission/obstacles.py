"""What holds a call back, and for how long. Pure: time is passed in, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NamedTuple

from docsluice_consumer.admission.adaptive_concurrency import AdaptiveConcurrency
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.admission.model_queue import ModelQueue
from docsluice_consumer.admission.quota import Quota

CONCURRENCY = "concurrency"
GATE = "gate"
CIRCUIT = "circuit"
BUDGET = "budget"


class Obstacle(NamedTuple):
    """What holds a call back: for how many seconds, or None for until an event.

    `is_shared`: calls to other models need it too. Only then does an earlier call make later calls to other models
    wait. A call that waits for its own model alone blocks no other model.
    """

    constraint: str
    seconds: float | None
    is_shared: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacles:
    """Finds them. `clock` is the time of day: the budget's windows go by it."""

    budget: Budget
    concurrency: AdaptiveConcurrency
    clock: Callable[[], float]

    def of(
        self, queue: ModelQueue, request: CallRequest, *, claimed: Collection[Quota], in_flight: int, now: float
    ) -> Obstacle | None:
        """The obstacle that will hold this call back longest, if any.

        Shared quotas belong first to earlier calls: those are `claimed`.
        """
        for quota in queue.shared:
            if quota in claimed and quota.per_minute is not None:
                # The call that has claimed it has an alarm, or an event, of its own.
                return Obstacle(quota.name, None, is_shared=True)
        longest = self.longest(queue, request, now=now)
        if longest.seconds:
            return longest
        for quota in (*queue.learned, *queue.shared):  # shared ones last: their grants are kept in hand for this call
            if quota.leased_bucket is not None and quota.wait_seconds(request, now=now) > 0:
                return Obstacle(quota.name, None, is_shared=quota in queue.shared)  # until it is granted
        return Obstacle(CONCURRENCY, None, is_shared=True) if in_flight >= self.concurrency.limit else None

    def longest(self, queue: ModelQueue, request: CallRequest, *, now: float) -> Obstacle:
        """The obstacle with the longest wait that is known. Its wait is 0 if nothing holds the call back.

        Grants of other replicas are no part of it.
        """
        longest, most, is_shared = GATE, queue.cooldown.wait_seconds(now=now, crowd=self.concurrency.limit), False
        for constraint, seconds in (
            (CIRCUIT, queue.circuit_breaker.wait_seconds(now=now)),
            (BUDGET, self.budget.wait_seconds(request.cost_usd, now=self.clock())),
        ):
            if seconds > most:
                longest, most = constraint, seconds
        for quota in queue.quotas:
            if quota.per_minute is not None and quota.leased_bucket is None:
                seconds = quota.wait_seconds(request, now=now)
                if seconds > most:
                    longest, most, is_shared = quota.name, seconds, quota in queue.shared
        return Obstacle(longest, most, is_shared)

"""One model's queue, and what holds its calls back. Time is passed in."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from docsluice_consumer.admission.circuit_breaker import CircuitBreaker
from docsluice_consumer.admission.cooldown import Cooldown
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.admission.overloads import Overloads, Verdict
from docsluice_consumer.admission.quota import QUOTAS, REQUESTS, Quota, Reserved
from docsluice_consumer.errors import AttemptFailed
from docsluice_consumer.model_ref import ModelRef

_MOST_FAILED = 10_000
"""More than are open at a time."""
_Standing: TypeAlias = tuple[int, int]
"""A place to stand behind, and the turn in which a document went there."""


@dataclass(eq=False, slots=True)
class Waiter:
    """A call in a queue. `number` is its place in the order of arrival over all queues. Calls may share one."""

    number: int
    request: CallRequest
    admitted: asyncio.Future[bool]
    """Done when the call may go out. Its result is whether it is a probe."""
    reserved: dict[Quota, Reserved] = field(default_factory=dict)
    """What was reserved for the call, once it may go out."""

    @property
    def has_left(self) -> bool:
        """Whether it has stopped waiting without being admitted."""
        return self.admitted.cancelled()


@dataclass(eq=False, slots=True, kw_only=True)
class ModelQueue:
    """The queue of one model. `shared` are the account's quotas, which other queues draw on too."""

    model: ModelRef
    shared: Sequence[Quota]
    learned: Sequence[Quota]
    cooldown: Cooldown = field(default_factory=Cooldown)
    circuit_breaker: CircuitBreaker = field(default_factory=CircuitBreaker)
    overloads: Overloads = field(default_factory=Overloads)
    waiters: deque[Waiter] = field(default_factory=deque)
    let_out: int = 0
    """How many calls were ever admitted."""
    limited_by: tuple[str, float] | None = None
    """The constraint for which the queue's head waits, and since when that is not charged yet."""
    _turns: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _latest: int = 0
    """The highest place that has come."""
    _failed: dict[int, _Standing] = field(default_factory=dict)
    """By place, where a document stands since one of its calls failed: behind all that had come by then."""
    _behind: dict[int, int] = field(default_factory=dict)
    """By place, the turn in which it went behind all others. Cleared by the next answer."""
    _refused: set[int] = field(default_factory=set)
    """Places of documents that were refused and have kept their place so far."""
    _only_refuses: bool = False
    """Whether the last end was a refusal that has begun the cooldown."""
    _refused_at: float = float("-inf")

    @property
    def quotas(self) -> Iterable[Quota]:
        """All quotas that a call must find room in."""
        return (*self.shared, *self.learned)

    def enqueue(self, waiter: Waiter) -> None:
        """Add a call behind all with the same or an earlier place. `failed` and `refused` make exceptions."""
        self._latest = max(self._latest, waiter.number)
        behind, turn = 0, self._turn(waiter)
        for other in reversed(self.waiters):
            if self._turn(other) <= turn:
                break
            behind += 1
        self.waiters.insert(len(self.waiters) - behind, waiter)

    def failed(self, place: int) -> None:
        """Note a failed call of a document. Until the next answer it stands behind all, and then where it is now.

        Otherwise a document that always fails would be tried next for ever, in each outage and after it. It would hide
        that the provider answers others.
        """
        self._failed.pop(place, None)  # the last one in is the last one forgotten
        self._failed[place] = (self._latest, next(self._turns))
        if len(self._failed) > _MOST_FAILED:
            del self._failed[next(iter(self._failed))]
        self._demote(place)

    def refused(self, place: int, *, now: float) -> None:
        """Note that a document's call was rate-limited. Call this before its cooldown begins.

        The document keeps its place, so it goes first after the pause, when the limits have most room: a large request
        needs that. If it is rate-limited again, documents that were not rate-limited yet go first.
        """
        self._refused.add(place)
        self._refused_at = now
        if self.cooldown.is_closed(now=now):
            return  # it had gone out together with the one that began it
        if self._only_refuses:
            self._demote(*sorted(self._refused))
            self._refused.clear()
        self._only_refuses = True

    def answered(self, *, sent_at: float) -> None:
        """Note an answer: documents that were put behind have a place among the others again, as `failed` says.

        A call from before the last refusal says nothing.
        """
        if sent_at < self._refused_at:
            return
        self._only_refuses = False
        self._refused.clear()
        if self._behind:
            self._behind.clear()
            self._sort()

    def keep_pace(self, *, sent_at: float, now: float) -> None:
        """A call was answered."""
        self.overloads.answered(sent_at=sent_at)
        for quota in self.learned:
            quota.answered(now=now)
        self.end_trial(now=now)

    def weigh(self, fault: AttemptFailed, *, sent_at: float, now: float) -> None:
        """Weigh a call that was refused for its pace, or has timed out. Marks what that means for other calls."""
        is_limit = not fault.times_alone and self.overloads.met(sent_at=sent_at)
        fault.teaches = fault.teaches and is_limit
        has_turn = not is_limit and self.overloads.gives_turn(times_alone=fault.times_alone)
        if has_turn:
            fault.retry_after_seconds = None  # other calls wait a second for one document, whatever it was told
        fault.pauses_others = is_limit or has_turn
        self.end_trial(now=now)

    def slow_down(self, *, now: float) -> None:
        """Lower the pace after a refusal that is more than an accident."""
        for quota in self.learned:
            if calls := quota.refused(now=now):
                self.overloads.begin_trial(calls=calls, now=now)

    def end_trial(self, *, now: float) -> None:
        """Once enough calls have ended at the lower pace, keep it or take it back."""
        if (verdict := self.overloads.verdict()) is None:
            return
        for quota in self.learned:
            quota.judged(is_limit=verdict is not Verdict.ACCIDENTS, now=now)
        if verdict is Verdict.STILL_TOO_FAST:
            self.slow_down(now=now)

    @property
    def has_untried(self) -> bool:
        """Whether a document waits that has not failed since the last answer."""
        return any(waiter.number not in self._behind for waiter in self.waiters)

    def head(self) -> Waiter | None:
        """The next waiter. Those that have left are skipped."""
        while self.waiters and self.waiters[0].has_left:
            self.waiters.popleft()
        return self.waiters[0] if self.waiters else None

    def _demote(self, *places: int) -> None:
        oldest = min((*places, *(waiter.number for waiter in self.waiters)), default=0)
        self._behind = {place: turn for place, turn in self._behind.items() if place >= oldest}  # others have ended
        self._behind.update((place, next(self._turns)) for place in places)
        if any(waiter.number in places for waiter in self.waiters):
            self._sort()

    def _turn(self, waiter: Waiter) -> tuple[int, _Standing]:
        return self._behind.get(waiter.number, 0), self._failed.get(waiter.number, (waiter.number, 0))

    def _sort(self) -> None:
        self.waiters = deque(sorted(self.waiters, key=self._turn))

    def reported(self, per_minute: Mapping[str, float], *, is_answer: bool, now: float) -> None:
        """Note the limits that a provider has named. Only an answer ends a limit that it leaves out."""
        for quota in self.learned:
            if quota.learns_pace:
                continue
            if quota.name in per_minute:
                quota.reported(per_minute[quota.name], now=now)
            elif is_answer:
                quota.not_reported(now=now)

    def account_wait(self, on_wait: Callable[[str, float], None], *, now: float) -> None:
        """Charge the time since the last look to the constraint that held the queue back, for all waiting calls."""
        if self.limited_by is not None:
            constraint, since = self.limited_by
            on_wait(constraint, (now - since) * len(self.waiters))
            self.limited_by = (constraint, now)


def learned_quotas(*, model: ModelRef, now: float) -> Sequence[Quota]:
    """The quotas of a model that only the provider names. They start unknown."""
    said = [Quota(name=name, now=now, key=f"{name}/said/{model}") for name in QUOTAS]
    return [Quota(name=REQUESTS, now=now, learns_pace=True), *said]

"""In any course of events: order, slots and limits are kept, and nothing leaks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.model_queue import Waiter
from docsluice_consumer.admission.quota import Quota
from docsluice_consumer.errors import RecordRejected
from tests.examples import examples
from tests.fakes.desk import Call, Desk, ends_with
from tests.fakes.timer import settled

CALL = st.tuples(st.just("call"), st.integers(0, 400), st.integers(0, 100), st.sampled_from("mmb"))
OPERATIONS = st.lists(
    st.one_of(
        CALL,
        CALL,
        CALL,
        st.tuples(st.just("call again"), st.integers(0, 400), st.integers(0, 30)),  # with the place of another one
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("end"), st.integers(0, 30), st.integers(0, 120)),
        st.tuples(st.just("end"), st.integers(0, 30), st.integers(0, 120)),  # having used this share of the estimate
        st.tuples(st.just("time out"), st.integers(0, 30)),
        st.tuples(st.just("reject"), st.integers(0, 30)),
        st.tuples(st.just("share"), st.sampled_from([1.0, 1 / 2, 1 / 3])),
        st.tuples(st.just("gate"), st.integers(0, 20)),
        st.tuples(st.just("cancel on admission"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.integers(0, 300)),
        st.tuples(st.just("wait"), st.integers(0, 4000)),  # hundredths of a second
    ),
    min_size=20,  # of few operations, hardly any make anybody wait
    max_size=60,
)
LIMITS = st.fixed_dictionaries(
    {
        "max_concurrency": st.integers(1, 5) | st.just(20),
        "requests_per_minute": st.none() | st.integers(6, 600),
        "input_tokens_per_minute": st.none() | st.integers(400, 100_000),
        "output_tokens_per_minute": st.none() | st.integers(100, 100_000),
    }
)
NAMED = st.fixed_dictionaries({}, optional={"requests": st.integers(6, 60), "input_tokens": st.integers(600, 6000)})
AMOUNTS: dict[str, Callable[[Usage], int]] = {
    "requests": lambda _usage: 1,
    "input_tokens": lambda usage: usage.input_tokens,
    "output_tokens": lambda usage: usage.output_tokens,
}


class Course:
    """Any course of events, at a desk where the provider names limits of the model `b`."""

    def __init__(self, limits: dict[str, int | None]) -> None:
        self.desk = Desk(**limits)
        self.began_at = self.desk.timer.time()
        self.named_at = self.began_at
        self.least_share = 1.0

    @property
    def waiting(self) -> list[Call]:
        return [call for call in self.desk.calls if call.admitted_at is None and not call.task.done()]

    @property
    def inside(self) -> list[Call]:
        return [call for call in self.desk.calls if call.is_inside()]

    async def happens(self, operation: str, *more: Any) -> None:
        """One thing, if it can."""
        before = len(self.desk.admitted)
        match operation, *more:
            case "call", input_tokens, output_tokens, model:
                await self.desk.call(input_tokens, output_tokens, model=model, place=self.desk.admission.take_place())
            case "call again", input_tokens, number:
                other = self.desk.calls[number % len(self.desk.calls)].request
                await self.desk.call(input_tokens, model=str(other.model), place=other.place)
            case "share", share:
                self.least_share = min(self.least_share, share)
                self.desk.admission.set_share(share)
            case "gate", seconds:
                self.desk.refuse(seconds)
            case "wait", hundredths:
                await self.desk.timer.run(hundredths / 100)
            case _:
                await self._happens_to_a_call(operation, *more)
        await settled()
        _check_order(self, self.desk.admitted[before:])

    async def _happens_to_a_call(self, operation: str, number: int, *more: int) -> None:
        match operation:
            case "cancel" if self.waiting:
                await self.waiting[number % len(self.waiting)].cancel()
            case "cancel on admission" if self.waiting and (alarm := self.desk.timer.next_alarm()) is not None:
                call = self.waiting[number % len(self.waiting)]
                self.desk.timer.advance_to(alarm)  # admits some. None of them has run
                await call.cancel()
            case "end" if self.inside:
                await self._answered(self.inside[number % len(self.inside)], *more)
            case "time out" if self.inside:
                await self.inside[number % len(self.inside)].cancel()
            case "reject" if self.inside:
                call = self.inside[number % len(self.inside)]
                call.usage = Usage()
                await ends_with(call, RecordRejected(DeadLetterReason.TOO_LARGE, "too large"))

    async def _answered(self, call: Call, percent: int) -> None:
        assert call.permit is not None
        call.usage = Usage(
            input_tokens=call.usage.input_tokens * percent // 100,
            output_tokens=call.usage.output_tokens * percent // 100,
        )
        call.permit.answered(call.usage)
        await call.end()

    async def begins(self, named: dict[str, int]) -> None:
        """Some calls to `b` are out, or wait, when the provider names its limits."""
        places = [self.desk.admission.take_place() for _ in range(3)]
        first, *_ = [await self.desk.call(100, 50, model="b", place=place) for place in places]
        await self.desk.timer.run(15)
        assert first.permit is not None
        first.permit.reported_limits({name: float(per_minute) for name, per_minute in named.items()})
        self.named_at = self.desk.timer.time()


@settings(max_examples=examples(300))
@given(limits=LIMITS, named=NAMED, operations=OPERATIONS)
async def test_whatever_happens(
    limits: dict[str, int | None], named: dict[str, int], operations: list[tuple[Any, ...]]
) -> None:
    """In any course of events: order, slots and limits are kept, all waiting is charged once, and nothing leaks."""
    course = Course(limits)
    await course.begins(named)
    for operation in operations:
        await course.happens(*operation)
        _check_slots(course, int(limits["max_concurrency"] or 0))
        _check_nobody_waits_for_nothing(course)
    desk = course.desk
    for name in AMOUNTS:
        if (per_minute := limits[f"{name}_per_minute"]) is not None:
            _check_limit(course, desk.admitted, name, per_minute, course.began_at)
    later = [
        call for call in desk.admitted if str(call.request.model) == "b" and (call.admitted_at or 0.0) > course.named_at
    ]
    for name, per_minute in named.items():
        _check_limit(course, later, name, per_minute, course.named_at)
    await _check_nothing_leaks(desk)
    waited = sum((call.waited_until or 0) - call.arrived_at for call in desk.calls)
    assert sum(desk.waits.values()) == pytest.approx(waited, abs=1e-3)


def _check_order(course: Course, admitted: list[Call]) -> None:
    """Of the calls that waited at a model, the earliest place goes first. Calls of one place go as they came."""
    turns = {id(call): (call.request.place or 0, number) for number, call in enumerate(course.desk.calls)}
    for model in "mb":
        order = [turns[id(call)] for call in admitted if str(call.request.model) == model]
        assert order == sorted(order)
        left = [turns[id(call)] for call in course.waiting if str(call.request.model) == model]
        assert not order or all(turn > order[-1] for turn in left)


def _check_slots(course: Course, max_concurrency: int) -> None:
    desk, inside = course.desk, len(course.inside)
    allowed = desk.admission.max_in_flight
    assert inside <= max_concurrency
    assert desk.available("concurrency") == allowed - inside
    assert (desk.admission.limited_by() is not None) == bool(course.waiting)
    if course.waiting and inside < allowed:
        assert desk.timer.next_alarm() is not None, "somebody waits for time to pass, and no alarm will wake him"


def _check_nobody_waits_for_nothing(course: Course) -> None:
    """The next call at a model lacks something, or waits behind another that lacks what both want."""
    desk = course.desk
    if len(course.inside) >= desk.admission.max_in_flight:
        return
    now = desk.timer.time()

    def lacks(waiter: Waiter, quotas: Iterable[Quota]) -> bool:
        return any(quota.wait_seconds(waiter.request, now=now) > 0 for quota in quotas)

    heads = sorted(
        ((head, queue) for queue in desk.admission._queues if (head := queue.head())), key=lambda found: found[0].number
    )
    is_shared_claimed = False
    for head, queue in heads:
        is_paused = queue.cooldown.wait_seconds(now=now, crowd=desk.admission.max_in_flight) > 0
        assert is_paused or lacks(head, queue.quotas) or is_shared_claimed
        is_shared_claimed = is_shared_claimed or lacks(head, queue.shared)


def _check_limit(course: Course, calls: list[Call], name: str, per_minute: int, since: float) -> None:
    """From then to each admission: the rate times the span, and what had been used beyond reservations."""
    burst = max(1.0, per_minute / 120 * course.least_share)
    used = 0
    for call in calls:
        units = AMOUNTS[name](call.usage)
        used += units
        over = 0.2 * used if name != "requests" else 0
        over += max(0.0, units - burst)  # the last one, for which the next ones will pay
        assert used <= per_minute / 60 * ((call.admitted_at or 0.0) - since) + over + 1e-2


async def _check_nothing_leaks(desk: Desk) -> None:
    await desk.close()
    assert desk.timer.next_alarm() is None
    assert desk.admission.limited_by() is None
    desk.admission.set_share(1.0)
    call = await desk.call()
    await desk.timer.run(600)  # what was used beyond reservations is paid for by then
    assert call.is_inside()
    await call.end()
    await desk.timer.run(3600)
    for constraint, (limit, available) in desk.admission.limits_and_available().items():
        full = limit if constraint == "concurrency" else max(1.0, limit / 120)
        assert available == pytest.approx(full)

"""When a call may go out: order, limits, and nothing left behind, on time that a test moves by hand."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.admission import Admission, CircuitOpened
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.limits import CallRequest, Limits, MinuteLimits
from docsluice_consumer.admission.listener import AdmissionListener
from docsluice_consumer.admission.model_queue import ModelQueue, Waiter
from docsluice_consumer.admission.permit import Permit
from docsluice_consumer.admission.quota import Quota
from docsluice_consumer.errors import (
    CallTimedOut,
    DocsluiceError,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)
from docsluice_consumer.model_ref import ModelRef, model_ref
from tests.examples import examples
from tests.fakes.timer import ManualTimer, settled


class Call:
    """One caller: waits for admission, stays until told to end, and notes when each happened."""

    def __init__(self, desk: Desk, ask: CallRequest) -> None:
        self.desk = desk
        self.request = ask
        self.usage = ask.usage
        self.arrived_at = desk.timer.time()
        self.admitted_at: float | None = None
        self.waited_until: float | None = None
        self.permit: Permit | None = None
        self._may_end = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        try:
            async with self.desk.admission.admit(self.request) as self.permit:
                self.admitted_at = self.waited_until = self.desk.timer.time()
                self.desk.admitted.append(self)
                await self._may_end.wait()
        finally:
            self.waited_until = self.waited_until or self.desk.timer.time()

    def is_inside(self) -> bool:
        return self.admitted_at is not None and not self.task.done()

    async def end(self) -> None:
        self._may_end.set()
        await settled()

    async def cancel(self) -> None:
        self.task.cancel()
        await settled()


class Desk(AdmissionListener):
    """An admission with its timer, its callers, and what it said about waiting."""

    def __init__(self, **limits: Any) -> None:
        by_model, budget = limits.pop("by_model", {}), limits.pop("budget", None)
        self.timer: ManualTimer = limits.pop("timer", None) or ManualTimer()
        self.change = asyncio.Event()
        self.waits: dict[str, float] = defaultdict(float)
        concurrency, least = int(limits.pop("max_concurrency", None) or 1000), limits.pop("min_concurrency", None)
        account = MinuteLimits(**limits)
        self.circuits: list[tuple[str, str | None]] = []
        self.faults: list[DocsluiceError] = []
        """With which each circuit has opened."""
        self.admission = Admission(
            limits=Limits(
                max_concurrency=concurrency,
                min_concurrency=least,
                by_model={model_ref(name): own for name, own in (by_model or {}).items()},
                **asdict(account),
            ),
            timer=self.timer,
            listener=self,
            budget=budget,
            clock=self.timer.time,
        )
        self.calls: list[Call] = []
        self.admitted: list[Call] = []

    def circuit_opened(self, model: ModelRef, reason: str, fault: DocsluiceError) -> None:
        self.circuits.append((str(model), reason))
        self.faults.append(fault)

    def circuit_closed(self, model: ModelRef) -> None:
        self.circuits.append((str(model), None))

    def changed(self) -> None:
        self.change.set()

    def waited(self, constraint: str, seconds: float) -> None:
        assert seconds >= 0
        assert constraint in self.admission.constraints, "the metrics know of no such wait"
        if seconds:
            self.waits[constraint] += seconds

    async def call(self, input_tokens: int = 0, output_tokens: int = 0, *, model: str = "m", **more: Any) -> Call:
        usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
        others = tuple(map(model_ref, more.pop("alternatives", ())))
        call = Call(self, CallRequest(model=model_ref(model), usage=usage, alternatives=others, **more))
        self.calls.append(call)
        await settled()
        return call

    def refuse(self, pause_seconds: float) -> None:
        """The provider asks for a pause, as if it were in a refusal to a call of long ago."""
        self.admission._queue(model_ref("m")).cooldown.close(pause_seconds, now=self.timer.time())
        self.admission._admit_ready()

    def available(self, constraint: str) -> float:
        return self.admission.limits_and_available()[constraint][1]

    async def close(self) -> None:
        for call in self.calls:
            call.task.cancel()
        await asyncio.gather(*(call.task for call in self.calls), return_exceptions=True)


async def test_without_limits_only_concurrency_holds_back() -> None:
    """Calls go out at once until the slots are taken, and each that ends lets the next one out."""
    desk = Desk(max_concurrency=2)
    first, second, third = [await desk.call(10**6, 10**6) for _ in range(3)]
    assert [call.is_inside() for call in (first, second, third)] == [True, True, False]
    assert desk.admission.limited_by() == "concurrency"
    assert desk.timer.next_alarm() is None, "a slot comes free by an event; nothing polls for it"
    await first.end()
    assert third.is_inside()
    assert desk.admission.limited_by() is None
    await desk.close()


async def test_requests_go_out_at_their_rate() -> None:
    """60 requests a minute are one a second from the first second on, with no burst at the start."""
    desk = Desk(requests_per_minute=60)
    for _ in range(5):
        await desk.call()
    start = desk.timer.time()
    await desk.timer.run(5)
    assert [call.admitted_at for call in desk.calls] == pytest.approx([start + n for n in (1, 2, 3, 4, 5)])
    await desk.close()


@pytest.mark.parametrize(
    ("limits", "second_waits"),
    [
        ({"input_tokens_per_minute": 6000}, 0.5),
        ({"output_tokens_per_minute": 6000}, 0.1),
        ({"tokens_per_minute": 6000}, 0.6),
        ({"requests_per_minute": 6}, 10),
        ({"input_tokens_per_minute": 6000, "output_tokens_per_minute": 60}, 10),
    ],
)
async def test_each_constraint_counts_its_own_unit(limits: dict[str, float | None], second_waits: float) -> None:
    """Input, output, both together, or the call itself: what a call takes is what the next one has to wait for."""
    desk = Desk(**limits)
    first, second = await desk.call(50, 10), await desk.call(50, 10)
    await desk.timer.run(30)
    assert first.admitted_at is not None
    assert second.admitted_at == pytest.approx(first.admitted_at + second_waits)
    await desk.close()


async def test_first_come_first_served() -> None:
    """Small requests do not overtake a large one, and pay with it for its size."""
    desk = Desk(tokens_per_minute=600)
    large = await desk.call(300)
    small = [await desk.call(1) for _ in range(20)]
    await desk.timer.run(29.9)
    assert desk.admitted == [large]
    await desk.timer.run(3)
    assert desk.admitted == [large, *small]
    await desk.close()


async def test_later_calls_of_a_document_keep_its_place() -> None:
    """They go before documents that came later, and among one another as they came."""
    desk = Desk(max_concurrency=1)
    places = [desk.admission.take_place() for _ in range(3)]
    under_way = await desk.call(place=places[0])
    third, second = await desk.call(place=places[2]), await desk.call(place=places[1])
    others = [await desk.call(place=places[1]), await desk.call(), await desk.call(place=places[0])]
    for call in (under_way, others[2], second, others[0], third, others[1]):
        assert call.is_inside()
        await call.end()
    await desk.close()


@given(st.lists(st.integers(0, 5), max_size=20))
async def test_queues_are_in_the_order_of_places(places: list[int]) -> None:
    """Whatever the order in which calls come. Those of one place as they came."""
    desk = Desk(max_concurrency=1)
    under_way = await desk.call(place=-1)
    calls = [await desk.call(place=place) for place in places]
    await under_way.end()
    for _ in calls:
        await desk.admitted[-1].end()
    assert desk.admitted[1:] == sorted(calls, key=lambda call: call.request.place or 0)
    await desk.close()


async def test_a_large_request_is_not_starved_by_a_stream_of_small_ones() -> None:
    """It gets out in its turn, however many small ones keep coming."""
    desk = Desk(tokens_per_minute=600)
    for _ in range(10):
        await desk.call(10)
    large = await desk.call(200)
    for _ in range(20):
        await desk.call(10)
        await desk.timer.run(1)
    assert large.admitted_at == pytest.approx(large.arrived_at + 10.5)
    await desk.close()


async def test_unused_reservation_is_given_back() -> None:
    """A call that used less than was estimated lets the next one out earlier."""
    desk = Desk(tokens_per_minute=600)
    first = await desk.call(100)
    await desk.timer.run(10)
    second = await desk.call(100)
    assert first.permit is not None
    first.permit.answered(Usage(input_tokens=40))
    await settled()
    await desk.timer.run(4.1)
    assert second.is_inside()
    await desk.close()


async def test_what_was_used_beyond_the_reservation_is_taken() -> None:
    """A call that used more than was estimated makes the next one wait for the difference."""
    desk = Desk(tokens_per_minute=600)
    first = await desk.call(10)
    await desk.timer.run(1)
    assert first.permit is not None
    first.permit.answered(Usage(input_tokens=100, output_tokens=10))
    second = await desk.call(10)
    await desk.timer.run(10.4)
    assert not second.is_inside()
    await desk.timer.run(0.2)
    assert second.is_inside()
    await desk.close()


async def test_a_call_ends_once() -> None:
    """Of its end the first word counts."""
    desk = Desk(tokens_per_minute=6000)
    call = await desk.call(1000)
    await desk.timer.run(10)
    assert call.permit is not None
    for _ in range(2):
        call.permit.answered(Usage(input_tokens=1040))
    assert desk.available("tokens") == pytest.approx(-40)
    await desk.close()


async def test_a_request_that_timed_out_keeps_its_tokens() -> None:
    """Without a settlement the reservation stays taken: the provider may have counted it. Its slot comes free."""
    desk = Desk(max_concurrency=1, tokens_per_minute=12_000)
    await desk.timer.run(60)
    call = await desk.call(100)
    assert desk.available("tokens") == pytest.approx(0)
    await call.end()
    assert desk.available("tokens") == pytest.approx(0)
    assert desk.available("concurrency") == 1


async def test_a_settlement_leaves_the_request_counted() -> None:
    """Whatever tokens it used, it was one request."""
    desk = Desk(requests_per_minute=60)
    call = await desk.call(10)
    await desk.timer.run(1)
    assert call.permit is not None
    call.permit.answered(Usage())
    assert desk.available("requests") == pytest.approx(0)
    await desk.close()


async def test_a_waiter_that_is_cancelled_lets_the_next_one_through() -> None:
    """The head of the queue leaves, and the alarm is for the one behind it."""
    desk = Desk(tokens_per_minute=600)
    large, small = await desk.call(600), await desk.call(1)
    await desk.timer.run(0.2)
    await large.cancel()
    assert small.is_inside()
    assert desk.available("tokens") == pytest.approx(1)
    await desk.close()


async def test_a_waiter_cancelled_just_as_it_was_admitted_gives_everything_back() -> None:
    """Between admission and the caller's next step lies one turn of the loop, in which it may be cancelled."""
    desk = Desk(max_concurrency=1, requests_per_minute=60, tokens_per_minute=12_000)
    call = await desk.call(60, 40)
    desk.timer.advance(1)
    assert desk.available("concurrency") == 0, "admitted"
    call.task.cancel()
    await settled()
    assert call.task.cancelled()
    assert call.admitted_at is None, "and yet it never ran"
    assert desk.available("concurrency") == 1
    assert desk.available("requests") == pytest.approx(1)
    assert desk.available("tokens") == pytest.approx(100)


async def test_a_call_that_was_never_made_has_spent_nothing() -> None:
    """Unlike one that is cut off, of which nobody knows what it took."""
    spent = []
    for is_made in (True, False):
        desk = Desk(tokens_per_minute=12_000, budget=Budget(usd_per_hour=Decimal(4)))
        call = await desk.call(60, 40, cost_usd=Decimal(1))
        desk.timer.advance(1)
        await settled()
        assert call.permit is not None
        if not is_made:
            call.permit.unused()
        await call.cancel()
        spent.append(desk.admission.budget_spent_ratios()["hour"])
    assert spent == [0.25, 0]


async def test_what_a_cancelled_waiter_gives_back_admits_the_next() -> None:
    """Nobody has to come by for the next one to be let out."""
    desk = Desk(max_concurrency=1)
    first, second, third = [await desk.call() for _ in range(3)]
    first._may_end.set()
    await asyncio.sleep(0)  # the slot passes to the second, which has not run yet
    await asyncio.sleep(0)
    second.task.cancel()
    await settled()
    assert third.is_inside()
    await desk.close()


async def test_a_caller_that_fails_frees_its_slot() -> None:
    """An exception inside leaves nothing in flight."""
    desk = Desk(max_concurrency=1)
    with pytest.raises(RuntimeError):
        async with desk.admission.admit(CallRequest(model=model_ref("m"), usage=Usage())):
            raise RuntimeError
    assert desk.available("concurrency") == 1


async def test_the_cooldown_holds_everyone_back() -> None:
    """While it is closed nobody goes out, though there is room. Those already out are not disturbed."""
    desk = Desk()
    inside = await desk.call()
    desk.refuse(7)
    waiting = [await desk.call() for _ in range(3)]
    await desk.timer.run(6.9)
    assert inside.is_inside()
    assert not any(call.is_inside() for call in waiting)
    assert desk.admission.limited_by() == "gate"
    await desk.timer.run(0.2)
    assert all(call.is_inside() for call in waiting)
    await desk.close()


async def test_a_shorter_closing_does_not_open_the_cooldown_earlier() -> None:
    """The longest that any call was told to wait holds for all."""
    desk = Desk()
    desk.refuse(10)
    desk.refuse(1)
    call = await desk.call()
    await desk.timer.run(9.9)
    assert not call.is_inside()
    await desk.timer.run(0.2)
    assert call.is_inside()
    await desk.close()


async def test_the_cooldown_closes_on_those_who_wait_already() -> None:
    """A waiter whose tokens have come meanwhile still waits for the gate, and from its closing on for nothing else."""
    desk = Desk(requests_per_minute=60)
    call = await desk.call()
    desk.refuse(30)
    await desk.timer.run(29.9)
    assert not call.is_inside()
    await desk.timer.run(0.2)
    assert call.is_inside()
    assert desk.waits == pytest.approx({"gate": 30})
    await desk.close()


async def test_waiting_is_charged_to_what_caused_it() -> None:
    """Each constraint hears of the seconds that it held calls back, for every call that waited."""
    desk = Desk(max_concurrency=1, requests_per_minute=60)
    first = await desk.call()
    second = await desk.call()
    await desk.timer.run(1)  # both waited for the rate
    await desk.timer.run(1)  # the second again
    await desk.timer.run(5)  # and then for the slot
    await first.end()
    assert second.is_inside()
    assert desk.waits == pytest.approx({"requests": 3, "concurrency": 5})
    desk.refuse(4)
    await desk.call()
    await desk.timer.run(2)
    await second.end()
    await desk.timer.run(2)
    assert desk.waits == pytest.approx({"requests": 3, "concurrency": 5, "gate": 4})
    await desk.close()


async def test_who_has_left_is_not_charged() -> None:
    """A waiter that was cancelled waits no more, wherever in the queue it stood."""
    desk = Desk(requests_per_minute=1)
    head, middle, last = [await desk.call() for _ in range(3)]
    await desk.timer.run(10)
    await middle.cancel()
    await desk.timer.run(10)
    await last.cancel()
    await desk.timer.run(10)
    await head.cancel()
    assert desk.waits == pytest.approx({"requests": 3 * 10 + 2 * 10 + 10})
    assert desk.admission.limited_by() is None


async def test_who_arrives_later_is_not_charged_for_what_was_before() -> None:
    """A call waits from its own arrival on."""
    desk = Desk(requests_per_minute=1)
    await desk.call()
    await desk.timer.run(30)
    await desk.call()
    await desk.timer.run(10)
    await desk.close()
    assert desk.waits == pytest.approx({"requests": 50})


@pytest.mark.parametrize(
    ("limits", "usage", "word"),
    [
        ({"tokens_per_minute": 1000}, Usage(input_tokens=900, output_tokens=101), "1001 tokens"),
        ({"input_tokens_per_minute": 1000}, Usage(input_tokens=1001), "1001 input_tokens"),
        ({"output_tokens_per_minute": 1000}, Usage(output_tokens=1001), "1001 output_tokens"),
    ],
)
async def test_what_exceeds_a_minutes_limit_never_fits(
    limits: dict[str, float | None], usage: Usage, word: str
) -> None:
    """Such a call could never pass at any provider. The sentence names the limit."""
    problem = Desk(**limits).admission.fits(CallRequest(model=model_ref("m"), usage=usage))
    assert problem is not None
    assert word in problem
    assert "1000 a minute" in problem


@pytest.mark.parametrize(
    "limits", [{}, {"tokens_per_minute": 1000}, {"requests_per_minute": 0.5}, {"output_tokens_per_minute": 500}]
)
async def test_what_meets_a_minutes_limit_fits(limits: dict[str, float | None]) -> None:
    """A call of just the limit passes in time, and one call passes under any rate of requests, be it one an hour."""
    desk = Desk(**limits)
    usage = Usage(input_tokens=500, output_tokens=500)
    assert desk.admission.fits(CallRequest(model=model_ref("m"), usage=usage)) is None
    call = await desk.call(usage.input_tokens, usage.output_tokens)
    await desk.timer.run(121)
    assert call.is_inside()
    await desk.close()


async def test_the_metrics_show_limits_and_what_is_left() -> None:
    """For each constraint that is set, and for no other."""
    desk = Desk(max_concurrency=3, requests_per_minute=240, tokens_per_minute=12_000)
    await desk.timer.run(60)
    await desk.call(50, 25)
    assert desk.admission.limits_and_available() == {
        "concurrency": (3, 2),
        "requests": (240, pytest.approx(1)),
        "tokens": (12_000, pytest.approx(25)),
    }
    await desk.close()


def test_the_metrics_expect_waits_for_what_may_be_limited() -> None:
    """A provider may name a limit of any kind with any answer, and refuse at any time. A budget is a person's."""
    always = ("concurrency", "requests", "tokens", "input_tokens", "output_tokens", "gate", "circuit")
    assert Desk().admission.constraints == always
    assert Desk(requests_per_minute=1).admission.constraints == always
    assert Desk(budget=Budget(usd_per_day=Decimal(1))).admission.constraints == (*always, "budget")


@pytest.mark.parametrize("used", [0.8, 1.0])
async def test_the_limit_is_used_up(used: float) -> None:
    """With more to do than is allowed, what is used over time is at least 97 % of the limit and never over it."""
    per_minute, reserved, minutes = 6000, 100, 20
    desk = Desk(tokens_per_minute=per_minute)
    actual = Usage(input_tokens=int(reserved * used))
    inside: list[Call] = []
    total = 0
    for second in range(1, minutes * 60 + 1):
        while sum(call.admitted_at is None for call in desk.calls) < 3 * per_minute // 60 // reserved + 3:
            await desk.call(reserved)
        await desk.timer.run(1)
        inside += desk.admitted
        desk.admitted.clear()
        while inside and desk.timer.time() - (inside[0].admitted_at or 0) >= 3:
            call = inside.pop(0)
            assert call.permit is not None
            call.permit.answered(actual)
            total += actual.input_tokens
            await call.end()
        assert total <= per_minute / 60 * second
    assert total >= 0.97 * per_minute * minutes
    await desk.close()


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
                await _ends_with(call, RecordRejected(DeadLetterReason.TOO_LARGE, "too large"))

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
    """Of those who waited at a model, whoever's place came first. Of one place, as they came."""
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
    """Whoever is next at a model lacks something, or is behind another that lacks something that both of them want."""
    desk = course.desk
    if len(course.inside) >= desk.admission.max_in_flight:
        return
    now = desk.timer.time()

    def lacks(waiter: Waiter, quotas: Iterable[Quota]) -> bool:
        return any(quota.wait_seconds(quota.reservation(waiter.request), now=now) > 0 for quota in quotas)

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


# Several models


async def test_a_model_at_its_limit_holds_up_no_other() -> None:
    """Each model has a queue of its own, and where it has limits of its own they are nobody else's."""
    desk = Desk(by_model={"slow": MinuteLimits(requests_per_minute=1)})
    slow, fast = await desk.call(model="slow"), await desk.call(model="fast")
    assert (slow.is_inside(), fast.is_inside()) == (False, True)
    await desk.timer.run(60)
    assert slow.is_inside()
    await desk.close()


async def test_what_models_share_goes_to_who_came_first() -> None:
    """A large call to one model is not starved by small ones to another that draw on the same limit."""
    desk = Desk(tokens_per_minute=600)
    large = await desk.call(200, model="a")
    small = [await desk.call(1, model="b") for _ in range(30)]
    for _ in range(19):
        await desk.timer.run(1)
        assert not any(call.is_inside() for call in small)
    await desk.timer.run(1.01)
    assert large.is_inside()
    await desk.timer.run(4)
    assert all(call.is_inside() for call in small)
    await desk.close()


async def test_what_is_too_large_holds_up_nobody() -> None:
    """The provider that refused it has counted nothing of it, so nobody has to wait until it is paid for."""
    desk = Desk(tokens_per_minute=600)
    large, small = await desk.call(6_000), await desk.call(5)
    await desk.timer.run(1)
    assert large.permit is not None
    large.permit.failed(RecordRejected(DeadLetterReason.TOO_LARGE, "too large"))
    await large.end()
    await desk.timer.run(1)
    assert small.is_inside()
    await desk.close()


async def test_slots_go_to_who_came_first() -> None:
    """Over all models, among those that nothing else holds back."""
    desk = Desk(max_concurrency=1, by_model={"limited": MinuteLimits(requests_per_minute=1)})
    first = await desk.call(model="a")
    limited, second, third = await desk.call(model="limited"), await desk.call(model="b"), await desk.call(model="a")
    await first.end()
    assert [call.is_inside() for call in (limited, second, third)] == [False, True, False]
    await second.end()
    assert third.is_inside()
    await desk.timer.run(61)
    await third.end()
    assert limited.is_inside()
    await desk.close()


async def test_a_pause_is_for_the_model_that_asked_for_it() -> None:
    """Others go out."""
    desk = Desk()
    first = await desk.call(model="a")
    assert first.permit is not None
    first.permit.failed(RateLimited("slow down", retry_after_seconds=5))
    await first.end()
    again, other = await desk.call(model="a"), await desk.call(model="b")
    assert (again.is_inside(), other.is_inside()) == (False, True)
    await desk.timer.run(5.1)
    assert again.is_inside()
    await desk.close()


async def test_a_model_that_is_paused_keeps_no_shared_limit_from_others() -> None:
    """It has come first, and yet it could not go."""
    desk = Desk(requests_per_minute=600)
    desk.refuse(60)
    paused = await desk.call(model="m")
    others = [await desk.call(model="b") for _ in range(5)]
    await desk.timer.run(1)
    assert not paused.is_inside()
    assert all(call.is_inside() for call in others)
    await desk.close()


async def _told(desk: Desk, limits: dict[str, float], *, model: str) -> None:
    """The provider has named a model's limits with an answer."""
    call = await desk.call(model=model)
    await desk.timer.run(60)
    assert call.permit is not None
    call.permit.reported_limits(limits)
    call.permit.answered(Usage())
    await call.end()


async def test_a_limit_that_is_a_models_own_keeps_no_shared_one_from_others() -> None:
    """A model of which the provider says that it is slow waits for itself, and is charged for that alone."""
    desk = Desk(requests_per_minute=600)
    await _told(desk, {"tokens": 60.0}, model="a")
    slow = [await desk.call(10, model="a") for _ in range(10)]
    for second in range(60):
        calls = [await desk.call(model="b") for _ in range(9)]
        await desk.timer.run(1)
        assert all(call.is_inside() for call in calls), second
    assert sum(call.is_inside() for call in slow) == 6 + 1, (
        "one to have it said again: nobody was answered for a minute"
    )
    waited = sum((call.admitted_at or desk.timer.time()) - call.arrived_at for call in slow)
    desk.admission.limits_and_available()
    assert desk.waits["tokens"] == pytest.approx(waited)
    await desk.close()


async def test_a_large_call_to_a_slow_model_is_not_starved_of_what_is_shared() -> None:
    """Once its own limit has room, what is shared is kept for it as for any other that came first."""
    desk = Desk(tokens_per_minute=600)
    await _told(desk, {"requests": 6.0}, model="a")
    await desk.timer.run(10)
    for _ in range(100):
        await desk.call(10, model="b")
    desk.calls.clear()
    large = [await desk.call(100, model="a", place=-1) for _ in range(2)]
    await desk.timer.run(45)
    assert all(call.is_inside() for call in large)
    await desk.close()


# How calls end


async def _ends_with(call: Call, fault: DocsluiceError) -> None:
    assert call.permit is not None
    call.permit.failed(fault)
    await call.end()


async def _fail(desk: Desk, fault: DocsluiceError, times: int, **ask: Any) -> None:
    for _ in range(times):
        call = await desk.call(**ask)
        assert call.permit is not None
        call.permit.failed(fault)
        await call.end()


async def test_an_outage_lets_out_one_probe_at_a_time() -> None:
    """Until one is answered. Then everybody goes out, a little apart."""
    desk = Desk(max_concurrency=10)
    await _fail(desk, ProviderUnavailable("no"), 5)
    assert desk.circuits == [("m", "faults")]
    waiting = [await desk.call() for _ in range(16)]
    for probes in range(1, 6):
        await desk.timer.run(3.01)
        (probe,) = (call for call in waiting if call.is_inside())
        assert desk.admission.limited_by() == "circuit"
        assert desk.admission.pause_reason() == "circuit"
        assert probe.permit is not None
        if probes < 5:
            probe.permit.failed(ProviderUnavailable("no"))
        else:
            probe.permit.answered(Usage())
        await probe.end()
    assert desk.circuits == [("m", "faults"), ("m", None)]
    assert desk.admission.pause_reason() is None
    await desk.timer.run(2)
    assert sum(call.is_inside() for call in waiting) == 10
    times = [call.admitted_at for call in waiting if call.is_inside()]
    assert len(set(times)) == 10, "not all in one instant"
    await desk.close()


async def _probe(desk: Desk) -> Call:
    """The call that is out while a circuit is open, once it is out."""
    await desk.timer.run(2.01)
    (probe,) = (call for call in desk.calls if call.is_inside())
    return probe


async def test_documents_take_turns_at_being_the_probe() -> None:
    """Who failed as one goes behind the others until all have had their turn, with all its calls. Then as they came."""
    desk = Desk(max_concurrency=10)
    places = [desk.admission.take_place() for _ in range(4)]
    await _fail(desk, ProviderUnavailable("no"), 5, place=places[0])
    for place in (*places, places[0]):  # the first has two steps that wait
        await desk.call(place=place)
    tried = []
    for _ in range(7):
        probe = await _probe(desk)
        tried.append(probe.request.place)
        await _ends_with(probe, ProviderUnavailable("no"))
        await desk.call(place=probe.request.place)
    assert tried == [places[n] for n in (1, 2, 3, 0, 1, 2, 3)]
    await desk.close()


async def test_who_comes_later_is_the_next_probe() -> None:
    """One document that makes the provider fail keeps nobody from finding out that it is well."""
    desk = Desk()
    bad = desk.admission.take_place()
    await _fail(desk, ProviderUnavailable("no"), 5, place=bad)
    await desk.call(place=bad)
    for _ in range(3):
        await _ends_with(await _probe(desk), ProviderUnavailable("no"))
        await desk.call(place=bad)
    later = await desk.call()
    assert await _probe(desk) is later
    await desk.close()


async def test_after_an_outage_who_was_a_probe_in_vain_comes_after_those_who_waited_with_him() -> None:
    """One that always fails would be the first again, and begin the next outage, and before those who come later."""
    desk = Desk(max_concurrency=1)
    places = [desk.admission.take_place() for _ in range(4)]
    await _fail(desk, ProviderUnavailable("no"), 5)
    for place in places:
        await desk.call(place=place)
    for _ in range(2):
        probe = await _probe(desk)
        await _ends_with(probe, ProviderUnavailable("no"))
        await desk.call(place=probe.request.place)
    probe = await _probe(desk)
    assert probe.request.place == places[2]
    assert probe.permit is not None
    probe.permit.answered(Usage())
    desk.admitted.clear()
    later = await desk.call()
    await probe.end()
    for _ in range(4):
        await desk.timer.run(3)
        await desk.admitted[-1].end()
    assert [call.request.place for call in desk.admitted] == [places[3], places[0], places[1], later.request.place]
    await desk.close()


async def _refused(desk: Desk, call: Call) -> None:
    """It is told to wait, and comes again with its place."""
    await _ends_with(call, RateLimited("429", retry_after_seconds=1))
    await desk.call(place=call.request.place)


async def test_who_is_refused_is_the_first_after_the_pause() -> None:
    """However large it is: what the pause has saved up is for it."""
    desk = Desk()
    first = await desk.call(place=desk.admission.take_place())
    await _refused(desk, first)
    await desk.call()
    await desk.timer.run(1.01)
    assert desk.admitted[1].request.place == first.request.place
    await desk.close()


async def test_who_is_refused_again_and_again_lets_others_try() -> None:
    """As long as nobody is answered they take turns. Then everybody has his place again."""
    desk = Desk(max_concurrency=10)
    places = [desk.admission.take_place() for _ in range(3)]
    for place in places:
        desk.refuse(1)
        await desk.call(place=place)
    tried = []
    for _ in range(7):
        while not (inside := [call for call in desk.calls if call.is_inside()]):
            await desk.timer.run(0.01)
        tried.append(inside[0].request.place)
        await _refused(desk, inside[0])
    assert tried == [places[n] for n in (0, 0, 1, 2, 0, 1, 2)]
    await desk.close()


async def test_who_is_answered_gives_everybody_his_place_again() -> None:
    """One that was refused twice goes before those that came later."""
    desk = Desk(max_concurrency=1)
    first, second, third = (desk.admission.take_place() for _ in range(3))
    for place in (first, first):
        call = await desk.call(place=place)
        await desk.timer.run(20)
        await _ends_with(call, RateLimited("429"))
    for place in (first, second, third):
        await desk.call(place=place)
    await desk.timer.run(20)
    (call,) = (call for call in desk.calls if call.is_inside())
    assert call.request.place == second
    assert call.permit is not None
    call.permit.answered(Usage())
    await call.end()
    await desk.timer.run(20)
    assert desk.admitted[-1].request.place == first
    await desk.close()


async def test_a_circuit_that_opens_tells_the_fault_that_opened_it() -> None:
    """The last of a row, the refusal of all calls, the empty account, and none when it closes."""
    last, empty = ProviderUnavailable("the fifth"), QuotaExhausted("empty")
    desk = Desk()
    await _fail(desk, ProviderUnavailable("no"), 4)
    await _fail(desk, last, 1)
    await desk.timer.run(3)
    call = await desk.call()
    assert call.permit is not None
    call.permit.answered(Usage())
    await call.end()
    await _fail(desk, empty, 1)
    assert desk.circuits == [("m", "faults"), ("m", None), ("m", "quota")]
    assert desk.faults == [last, empty]
    await desk.close()


async def test_an_empty_account_opens_the_circuit_at_once() -> None:
    """The first call that is told so speaks for all."""
    desk = Desk()
    await _fail(desk, QuotaExhausted("empty"), 1)
    assert desk.circuits == [("m", "quota")]
    call = await desk.call()
    await desk.timer.run(9.9)
    assert not call.is_inside()
    await desk.timer.run(0.2)
    assert call.is_inside()
    await desk.close()


async def test_a_probe_that_is_given_up_makes_way_for_another() -> None:
    """Nobody waits for the answer to a call that was cancelled."""
    desk = Desk()
    await _fail(desk, ProviderUnavailable("no"), 5)
    probe, second = await desk.call(), await desk.call()
    await desk.timer.run(1)
    assert (probe.is_inside(), second.is_inside()) == (True, False)
    await probe.cancel()
    assert second.is_inside()
    await desk.close()


async def test_who_has_an_alternative_does_not_wait_for_a_model_that_fails() -> None:
    """As soon as the circuit opens, for an alternative that is well. Others wait."""
    desk = Desk(max_concurrency=1)
    stay = [await desk.call() for _ in range(6)]
    leave, stuck = await desk.call(alternatives=("b",)), await desk.call(alternatives=("m",))
    for call in stay[:5]:
        await _ends_with(call, ProviderUnavailable("no"))
    with pytest.raises(CircuitOpened):
        await leave.task
    assert not stuck.task.done()
    assert not desk.admission.would_take(model_ref("m"))
    assert desk.admission.would_take(model_ref("b"))
    await desk.close()
    assert desk.available("concurrency") == 1


async def test_a_refusal_that_is_one_calls_own_affair_holds_nobody_back() -> None:
    """No gate closes for it, no pace is learned, fewer calls are no remedy. It still gives back what it had taken."""
    desk = Desk(max_concurrency=4, min_concurrency=2, tokens_per_minute=12_000)
    for _ in range(20):
        await desk.timer.run(1)
        call = await desk.call(100)
        fault = RateLimited("429", retry_after_seconds=5)
        fault.times_alone = 1
        await _ends_with(call, fault)
        assert desk.available("tokens") == pytest.approx(100)
        assert (await desk.call()).is_inside()
        await desk.calls[-1].end()
    assert "requests" not in desk.admission.limits_and_available()
    await desk.close()


@pytest.mark.parametrize(("times_alone", "waits"), [(1, False), (2, True)])
async def test_others_wait_for_a_call_that_is_refused_alone_again_and_again(times_alone: int, *, waits: bool) -> None:
    """Now and then: a large one would never find enough left beside the others."""
    desk = Desk(max_concurrency=4)
    for _ in range(20):
        call = await desk.call()
        assert call.permit is not None
        call.permit.answered(Usage())
        await call.end()
    fault = RateLimited("429", retry_after_seconds=5)
    fault.times_alone = times_alone
    await _ends_with(await desk.call(), fault)
    assert fault.pauses_others is waits
    assert (await desk.call()).is_inside() is not waits
    await desk.close()


async def test_who_has_an_alternative_does_not_wait_for_a_long_pause_to_end() -> None:
    """Also who stands there already when it is asked for. Others wait, and of a short pause everybody the end."""
    for seconds, leaves in ((50, True), (5, False)):
        desk = Desk(max_concurrency=1)
        refused = await desk.call()
        leave, stay, stuck = [await desk.call(alternatives=other) for other in (("b",), (), ("m",))]
        await _ends_with(refused, RateLimited("429", retry_after_seconds=seconds))
        assert isinstance(leave.task.exception() if leave.task.done() else None, CircuitOpened) is leaves
        assert not stay.task.done()
        assert not stuck.task.done()
        await desk.close()


async def test_who_waits_for_a_long_pause_leaves_when_an_alternative_is_well_again() -> None:
    """It was down when the pause was asked for."""
    desk = Desk(max_concurrency=2)
    await _fail(desk, ProviderUnavailable("no"), 5, model="b")
    probe = await desk.call(model="b")
    refused = await desk.call(model="a")
    await _ends_with(refused, RateLimited("429", retry_after_seconds=50))
    waiting = await desk.call(model="a", alternatives=("b",))
    await desk.timer.run(1)
    assert not waiting.task.done()
    assert probe.permit is not None
    probe.permit.answered(Usage())
    await probe.end()
    assert waiting.task.done()
    assert isinstance(waiting.task.exception(), CircuitOpened)
    await desk.close()


async def test_one_document_at_a_time_is_kept_for_a_probe() -> None:
    """Who comes next is not to stand behind it, and who stands there may choose again when it has gone out."""
    desk = Desk(max_concurrency=1)
    await _fail(desk, ProviderUnavailable("no"), 5)
    busy = await desk.call(model="b")
    await desk.timer.run(1)
    assert desk.admission.would_take(model_ref("m"))
    probe = await desk.call(alternatives=("b",))
    assert not desk.admission.would_take(model_ref("m")), "one waits there already"
    behind = await desk.call(alternatives=("b",))
    await busy.end()
    assert probe.is_inside()
    with pytest.raises(CircuitOpened):
        await behind.task
    await desk.close()


async def test_an_alternative_that_is_well_again_is_chosen_again() -> None:
    """Those who waited at the first choice while both failed go to the second as soon as it answers."""
    desk = Desk(max_concurrency=2)
    for model in ("a", "b"):
        await _fail(desk, ProviderUnavailable("no"), 5, model=model)
    waiting = [await desk.call(model="a", alternatives=("b",)) for _ in range(5)]
    probe = await desk.call(model="b")
    await desk.timer.run(1)
    assert probe.is_inside()
    assert probe.permit is not None
    probe.permit.answered(Usage())
    await probe.end()
    await settled()
    assert sum(isinstance(call.task.exception(), CircuitOpened) for call in waiting if call.task.done()) >= 4
    await desk.close()


async def test_a_failing_model_beside_one_that_is_well_stops_no_reading() -> None:
    """Nor do a few documents at an open circuit: the one that closes it may still have to be read."""
    desk = Desk(max_concurrency=2)
    await _fail(desk, ProviderUnavailable("no"), 5)
    for _ in range(7):
        await desk.call()
    assert desk.admission.pause_reason() is None
    await desk.call()
    assert desk.admission.pause_reason() == "circuit"
    await desk.call(model="b")
    assert desk.admission.pause_reason() is None
    await desk.close()


def test_what_failed_once_is_not_remembered_for_ever() -> None:
    """Of a model that never answers, the documents that have ended at another one are forgotten."""
    queue = ModelQueue(model=model_ref("m"), shared=(), learned=())
    for place in range(100):
        queue.failed(place)
    assert len(queue._behind) == 1


async def test_reading_goes_on_when_all_who_wait_were_tried_in_vain() -> None:
    """All of them may be to blame: whoever finds out that the model is well may still have to be read."""
    desk = Desk(max_concurrency=2)
    await _fail(desk, ProviderUnavailable("no"), 5)
    for _ in range(8):
        await desk.call(place=desk.admission.take_place())
    for tried in range(8):
        assert desk.admission.pause_reason() == "circuit", f"only {tried} of them were tried"
        probe = await _probe(desk)
        await _ends_with(probe, ProviderUnavailable("no"))
        await desk.call(place=probe.request.place)
    assert desk.admission.pause_reason() is None
    await desk.call()
    assert desk.admission.pause_reason() == "circuit", "there is somebody to be tried"
    await desk.close()


async def test_however_many_calls_there_may_be_a_failing_model_stops_reading() -> None:
    """More records than a partition may have open by default never wait for it."""
    desk = Desk(max_concurrency=1000)
    await _fail(desk, ProviderUnavailable("no"), 5)
    for _ in range(200):
        await desk.call()
    assert desk.admission.pause_reason() == "circuit"
    await desk.close()


async def test_a_drain_lets_go_of_who_waits_for_a_pause_to_end() -> None:
    """As soon as no call is under way. With one under way, or for a limit, it waits."""
    desk = Desk(max_concurrency=2)
    inside = await desk.call()
    desk.refuse(30)
    waiting = await desk.call()
    desk.admission.cancel_if_blocked()
    await settled()
    assert not waiting.task.done()
    await inside.end()
    desk.admission.cancel_if_blocked()
    await settled()
    assert waiting.task.cancelled()
    assert desk.available("concurrency") == 2
    limited = Desk(requests_per_minute=6)
    slow = await limited.call()
    limited.admission.cancel_if_blocked()
    await settled()
    assert not slow.task.done()
    await limited.close()


@pytest.mark.parametrize(
    ("fault", "left"),
    [
        (RateLimited("429"), 100),
        (QuotaExhausted("empty"), 100),
        (RecordRejected(DeadLetterReason.TOO_LARGE, "request too large"), 100),
        (RecordRejected(DeadLetterReason.CONTENT_FILTERED, "the prompt was filtered"), 100),
        (ProviderMisconfigured("no such model"), 100),
        (CallTimedOut("slow"), 0),
        (ProviderUnavailable("no"), 0),
    ],
)
async def test_what_a_provider_refused_it_has_not_counted(fault: DocsluiceError, left: float) -> None:
    """The tokens of a call that was refused are given back, the request is not. Those of a time-out stay taken."""
    desk = Desk(requests_per_minute=60, tokens_per_minute=12_000)
    await desk.timer.run(60)
    call = await desk.call(100)
    assert call.permit is not None
    call.permit.failed(fault)
    assert desk.available("tokens") == pytest.approx(left)
    assert desk.available("requests") == 0
    await desk.close()


async def test_a_document_that_is_refused_as_too_large_holds_up_no_other() -> None:
    """However large it is beside the limit that the provider has named: it was never read."""
    desk = Desk()
    first = await desk.call(10)
    assert first.permit is not None
    first.permit.reported_limits({"tokens": 30_000.0})
    await first.end()
    large = await desk.call(200_000)
    await desk.timer.run(1)
    await _ends_with(large, RecordRejected(DeadLetterReason.TOO_LARGE, "request too large"))
    after = await desk.call(10)
    await desk.timer.run(1)
    assert after.is_inside()
    await desk.close()


@pytest.mark.parametrize("is_shared", [False, True])
async def test_calls_that_were_out_before_a_limit_was_known_are_counted_too(*, is_shared: bool) -> None:
    """What they used is taken when they end. Nothing was reserved for them, so there is nothing to give back."""
    desk = Desk()
    desk.admission.set_shared(is_shared)
    first, *others = [await desk.call(300, 100) for _ in range(10)]
    assert first.permit is not None
    first.permit.reported_limits({"tokens": 6000.0})
    for call in (first, *others):
        assert call.permit is not None
        call.permit.answered(Usage(input_tokens=250, output_tokens=50))
        await call.end()
    assert desk.available("tokens") == pytest.approx(-3000)
    await desk.close()


async def test_limits_that_the_provider_names_hold() -> None:
    """They lower what was configured, by the constraint's name, and set what was not."""
    desk = Desk(requests_per_minute=600)
    call = await desk.call()
    await desk.timer.run(1)
    assert call.permit is not None
    call.permit.reported_limits({"requests": 60.0, "tokens": 1200.0})
    await call.end()
    limits = {name: limit for name, (limit, _) in desk.admission.limits_and_available().items()}
    assert (limits["requests"], limits["tokens"]) == (60, 1200)
    assert desk.admission.fits(CallRequest(model=model_ref("m"), usage=Usage(input_tokens=1201))) is None, (
        "a word turns nobody away"
    )
    await desk.close()


# Shares and budgets


async def test_a_share_is_of_every_limit() -> None:
    """A quarter of the partitions is a quarter of the requests, tokens, slots and dollars."""
    begin = ManualTimer(now=3600.0)
    desk = Desk(max_concurrency=10, requests_per_minute=60, budget=Budget(usd_per_hour=Decimal(4)), timer=begin)
    desk.admission.set_share(0.25)
    await desk.timer.run(60)
    limits = desk.admission.limits_and_available()
    assert limits["concurrency"][0] == 2
    assert limits["requests"][0] == 15
    call = await desk.call(cost_usd=Decimal(1))
    assert call.permit is not None
    call.permit.answered(Usage(), cost_usd=Decimal("0.5"))
    await call.end()
    assert desk.admission.budget_spent_ratios() == {"hour": 0.5}
    desk.admission.set_share(1.0)
    assert desk.admission.limits_and_available()["concurrency"][0] == 10
    assert desk.admission.budget_spent_ratios()["hour"] == pytest.approx(0.125, rel=0.02)
    await desk.close()


async def test_the_smallest_share_still_lets_one_call_out() -> None:
    """A thousandth of sixteen slots is one, not none."""
    desk = Desk(max_concurrency=16)
    desk.admission.set_share(0.001)
    assert (await desk.call()).is_inside()
    await desk.close()


async def test_what_never_fits_is_judged_by_the_whole_limit() -> None:
    """A call of more than our share passes in time. Only one of more than the account's minute never can."""
    desk = Desk(tokens_per_minute=1000)
    desk.admission.set_share(0.1)
    assert desk.admission.fits(CallRequest(model=model_ref("m"), usage=Usage(input_tokens=900))) is None
    call = await desk.call(900)
    await desk.timer.run(9 * 60 + 1)
    assert call.is_inside()
    await desk.close()


async def test_a_spent_budget_pauses_until_the_window_is_over() -> None:
    """Calls that may still pass it are held. At the roll-over they go out by themselves."""
    desk = Desk(budget=Budget(usd_per_hour=Decimal(1)))
    begin = desk.timer.time()
    for _ in range(2):
        call = await desk.call(cost_usd=Decimal("0.5"))
        assert call.permit is not None
        call.permit.answered(Usage(), cost_usd=Decimal("0.5"))
        await call.end()
    held = await desk.call(cost_usd=Decimal("0.01"))
    assert not held.is_inside()
    assert desk.admission.pause_reason() == "budget"
    await desk.timer.run(3600 - begin % 3600 - 1)
    assert not held.is_inside()
    await desk.timer.run(2)
    assert held.is_inside()
    assert desk.admission.pause_reason() is None
    assert set(desk.waits) == {"budget"}
    await desk.close()


@pytest.mark.parametrize(
    ("limits", "in_flight"),
    [
        ({"max_concurrency": 16}, 16),
        ({"max_concurrency": 16, "requests_per_minute": 60}, 2),
        ({"max_concurrency": 1, "requests_per_minute": 60}, 1),
        ({"tokens_per_minute": 6000}, 2),
        ({"output_tokens_per_minute": 60}, 0.1),
    ],
)
async def test_how_many_calls_the_limits_let_be_in_flight(limits: dict[str, Any], in_flight: float) -> None:
    """The rate that is allowed, times how long a call takes. Of the whole account, whatever our share."""
    desk = Desk(**limits)
    desk.admission.set_share(0.5)
    found = desk.admission.useful_in_flight(input_tokens=80, output_tokens=20, seconds=2.0)
    assert found == pytest.approx(in_flight)


async def _useful(desk: Desk) -> float:
    return desk.admission.useful_in_flight(input_tokens=80, output_tokens=20, seconds=2.0)


async def test_a_models_own_limit_bounds_what_is_useful_by_its_part_of_the_calls() -> None:
    """Of a model that takes half of them its limit lets twice as many pass. One that is not asked bounds nothing."""
    desk = Desk(by_model={"own": MinuteLimits(requests_per_minute=60), "idle": MinuteLimits(requests_per_minute=1)})
    await desk.call(model="own")
    await desk.timer.run(1)
    desk.admission.would_take(model_ref("idle"))
    assert await _useful(desk) == pytest.approx(2)
    await desk.call(model="other")
    assert await _useful(desk) == pytest.approx(4)
    await _told(desk, {"tokens": 600.0}, model="named")
    assert await _useful(desk) == pytest.approx(0.6), "a third of the calls, at six a minute"
    await desk.close()


async def test_a_learned_pace_bounds_what_is_useful() -> None:
    """It is ours alone: with half of the partitions, the account's may be taken for twice as much."""
    desk = Desk()
    for second in range(15):
        call = await desk.call()
        await desk.timer.run(1)
        assert call.permit is not None
        if second in {8, 9, 14}:
            call.permit.failed(RateLimited("slow down", retry_after_seconds=0))
        else:
            call.permit.answered(Usage())
        await call.end()
    pace = desk.admission.limits_and_available()["requests"][0]
    assert 30 < pace < 70
    assert await _useful(desk) == pytest.approx(pace / 30)
    desk.admission.set_share(0.5)
    assert await _useful(desk) == pytest.approx(2 * pace / 30)
    await desk.close()


@pytest.mark.parametrize("share", [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 2 / 3, 5 / 12, 7 / 12, 3 / 10, 1 / 12])
async def test_concurrency_is_found_out_between_its_bounds(share: float) -> None:
    """It begins at the lower one, grows while that pays, and gives way to a server that has too much to do."""
    desk = Desk(max_concurrency=64, min_concurrency=4)
    desk.admission.set_share(share)
    assert desk.available("concurrency") == max(1, round(4 * share))
    calls: list[Call] = []
    for _ in range(160):
        assert desk.admission.max_in_flight <= 64 * share
        while desk.admission.limited_by() is None:
            calls.append(await desk.call())
        await desk.timer.run(1)
        inside, calls = [call for call in calls if call.is_inside()], [call for call in calls if not call.admitted_at]
        for call in inside:
            assert call.permit is not None
            call.permit.answered(Usage(output_tokens=50))
            await call.end()
    grown = desk.admission.max_in_flight
    assert grown > 16 * share
    await desk.timer.run(1)
    for _ in range(3):
        await desk.timer.run(1)
        call = await desk.call()
        assert call.permit is not None
        call.permit.failed(CallTimedOut("too much"))
        await call.end()
    assert desk.admission.max_in_flight < grown
    await desk.close()


async def test_who_still_waits_is_charged_when_somebody_looks() -> None:
    """A long pause in which nothing happens is seen while it lasts."""
    desk = Desk()
    desk.refuse(60)
    await desk.call()
    await desk.timer.run(20)
    desk.admission.limits_and_available()
    assert desk.waits == pytest.approx({"gate": 20})
    await desk.close()


async def test_a_probe_cancelled_just_as_it_was_let_out_makes_way_too() -> None:
    """It never ran, and nobody will hear of it."""
    desk = Desk()
    await _fail(desk, ProviderUnavailable("no"), 5)
    probe, second = await desk.call(), await desk.call()
    alarm = desk.timer.next_alarm()
    assert alarm is not None
    desk.timer.advance_to(alarm)
    probe.task.cancel()
    await settled()
    assert probe.admitted_at is None
    assert second.is_inside()
    await desk.close()


async def test_nobody_goes_out_into_a_refusal() -> None:
    """What comes free by it is given on only after the gate has closed."""
    desk = Desk(max_concurrency=1, tokens_per_minute=600)
    first, second = await desk.call(5), await desk.call(5)
    await desk.timer.run(0.5)
    assert first.permit is not None
    first.permit.failed(RateLimited("429", retry_after_seconds=5))
    await first.end()
    assert not second.is_inside()
    await desk.timer.run(4.9)
    assert not second.is_inside()
    await desk.timer.run(0.2)
    assert second.is_inside()
    await desk.close()

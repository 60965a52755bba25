"""When a call may go out: order, rates and reservations, and nothing left behind."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import Usage
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.model_ref import model_ref
from tests.fakes.desk import Desk
from tests.fakes.timer import settled


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

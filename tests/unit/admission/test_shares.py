"""A share of every limit, what a budget lets pass, and how many calls are useful."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from docsluice.messages import Usage
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.limits import CallRequest, MinuteLimits
from docsluice_consumer.errors import CallTimedOut, RateLimited
from docsluice_consumer.model_ref import model_ref
from tests.fakes.desk import Call, Desk, tell_limits
from tests.fakes.timer import ManualTimer


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
    await tell_limits(desk, {"tokens": 600.0}, model="named")
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


@pytest.mark.long
@pytest.mark.parametrize("share", [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 6, 2 / 3, 5 / 12, 7 / 12, 3 / 10, 1 / 12])
async def test_concurrency_is_found_out_between_its_bounds(share: float) -> None:
    """It begins at the lower one, grows while that pays, and gives way to a server that has too much to do."""
    desk = Desk(max_concurrency=64, min_concurrency=4)
    desk.admission.set_share(share)
    assert desk.available("concurrency") == max(1, round(4 * share))
    calls: list[Call] = []
    for _ in range(100):
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

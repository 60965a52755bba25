"""For what calls wait, and what is said about it: pauses, charges, and what never fits."""

from __future__ import annotations

from decimal import Decimal

import pytest

from docsluice.messages import Usage
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.model_ref import model_ref
from tests.fakes.desk import Call, Desk


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


async def test_who_still_waits_is_charged_when_somebody_looks() -> None:
    """A long pause in which nothing happens is seen while it lasts."""
    desk = Desk()
    desk.refuse(60)
    await desk.call()
    await desk.timer.run(20)
    desk.admission.limits_and_available()
    assert desk.waits == pytest.approx({"gate": 20})
    await desk.close()

"""Each model has a queue of its own. What they share goes to who came first."""

from __future__ import annotations

import pytest

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.limits import MinuteLimits
from docsluice_consumer.errors import RateLimited, RecordRejected
from tests.fakes.desk import Desk, tell_limits


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


async def test_a_limit_that_is_a_models_own_keeps_no_shared_one_from_others() -> None:
    """A model of which the provider says that it is slow waits for itself, and is charged for that alone."""
    desk = Desk(requests_per_minute=600)
    await tell_limits(desk, {"tokens": 60.0}, model="a")
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
    await tell_limits(desk, {"requests": 6.0}, model="a")
    await desk.timer.run(10)
    for _ in range(100):
        await desk.call(10, model="b")
    desk.calls.clear()
    large = [await desk.call(100, model="a", place=-1) for _ in range(2)]
    await desk.timer.run(45)
    assert all(call.is_inside() for call in large)
    await desk.close()

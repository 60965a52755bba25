"""Who may go to another model does not wait long for this one."""

from __future__ import annotations

import pytest

from docsluice.messages import Usage
from docsluice_consumer.admission.admission import CircuitOpened
from docsluice_consumer.errors import ProviderUnavailable, RateLimited
from docsluice_consumer.model_ref import model_ref
from tests.fakes.desk import Desk, ends_with, fail
from tests.fakes.timer import settled


async def test_who_has_an_alternative_does_not_wait_for_a_model_that_fails() -> None:
    """As soon as the circuit opens, for an alternative that is well. Others wait."""
    desk = Desk(max_concurrency=1)
    stay = [await desk.call() for _ in range(6)]
    leave, stuck = await desk.call(alternatives=("b",)), await desk.call(alternatives=("m",))
    for call in stay[:5]:
        await ends_with(call, ProviderUnavailable("no"))
    with pytest.raises(CircuitOpened):
        await leave.task
    assert not stuck.task.done()
    assert not desk.admission.would_take(model_ref("m"))
    assert desk.admission.would_take(model_ref("b"))
    await desk.close()
    assert desk.available("concurrency") == 1


async def test_who_has_an_alternative_does_not_wait_for_a_long_pause_to_end() -> None:
    """Also a call that waits there already. Others wait, and after a short pause all of them do."""
    for seconds, leaves in ((50, True), (5, False)):
        desk = Desk(max_concurrency=1)
        refused = await desk.call()
        leave, stay, stuck = [await desk.call(alternatives=other) for other in (("b",), (), ("m",))]
        await ends_with(refused, RateLimited("429", retry_after_seconds=seconds))
        assert isinstance(leave.task.exception() if leave.task.done() else None, CircuitOpened) is leaves
        assert not stay.task.done()
        assert not stuck.task.done()
        await desk.close()


async def test_who_waits_for_a_long_pause_leaves_when_an_alternative_is_well_again() -> None:
    """It was down when the pause was asked for."""
    desk = Desk(max_concurrency=2)
    await fail(desk, ProviderUnavailable("no"), 5, model="b")
    probe = await desk.call(model="b")
    refused = await desk.call(model="a")
    await ends_with(refused, RateLimited("429", retry_after_seconds=50))
    waiting = await desk.call(model="a", alternatives=("b",))
    await desk.timer.run(1)
    assert not waiting.task.done()
    assert probe.permit is not None
    probe.permit.answered(Usage())
    await probe.end()
    assert waiting.task.done()
    assert isinstance(waiting.task.exception(), CircuitOpened)
    await desk.close()


async def test_an_alternative_that_is_well_again_is_chosen_again() -> None:
    """Calls that waited at the first choice while both failed go to the second as soon as it answers."""
    desk = Desk(max_concurrency=2)
    for model in ("a", "b"):
        await fail(desk, ProviderUnavailable("no"), 5, model=model)
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

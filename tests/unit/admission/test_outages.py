"""A circuit that is open lets out one probe at a time, and everybody has a turn."""

from __future__ import annotations

import pytest

from docsluice.messages import Usage
from docsluice_consumer.admission.admission import CircuitOpened
from docsluice_consumer.admission.model_queue import ModelQueue
from docsluice_consumer.errors import ProviderUnavailable, QuotaExhausted
from docsluice_consumer.model_ref import model_ref
from tests.fakes.desk import Call, Desk, ends_with, fail
from tests.fakes.timer import settled


async def test_an_outage_lets_out_one_probe_at_a_time() -> None:
    """Until one is answered. Then everybody goes out, a little apart."""
    desk = Desk(max_concurrency=10)
    await fail(desk, ProviderUnavailable("no"), 5)
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
    """A failed document goes behind the others with all its calls, until all have had their turn.

    Then they go as they came.
    """
    desk = Desk(max_concurrency=10)
    places = [desk.admission.take_place() for _ in range(4)]
    await fail(desk, ProviderUnavailable("no"), 5, place=places[0])
    for place in (*places, places[0]):  # the first has two steps that wait
        await desk.call(place=place)
    tried = []
    for _ in range(7):
        probe = await _probe(desk)
        tried.append(probe.request.place)
        await ends_with(probe, ProviderUnavailable("no"))
        await desk.call(place=probe.request.place)
    assert tried == [places[n] for n in (1, 2, 3, 0, 1, 2, 3)]
    await desk.close()


async def test_who_comes_later_is_the_next_probe() -> None:
    """One document that makes the provider fail keeps nobody from finding out that it is well."""
    desk = Desk()
    bad = desk.admission.take_place()
    await fail(desk, ProviderUnavailable("no"), 5, place=bad)
    await desk.call(place=bad)
    for _ in range(3):
        await ends_with(await _probe(desk), ProviderUnavailable("no"))
        await desk.call(place=bad)
    later = await desk.call()
    assert await _probe(desk) is later
    await desk.close()


async def test_after_an_outage_who_was_a_probe_in_vain_comes_after_those_who_waited_with_him() -> None:
    """One that always fails would be the first again, and begin the next outage, and before those who come later."""
    desk = Desk(max_concurrency=1)
    places = [desk.admission.take_place() for _ in range(4)]
    await fail(desk, ProviderUnavailable("no"), 5)
    for place in places:
        await desk.call(place=place)
    for _ in range(2):
        probe = await _probe(desk)
        await ends_with(probe, ProviderUnavailable("no"))
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


async def test_a_circuit_that_opens_tells_the_fault_that_opened_it() -> None:
    """The last of a row, the refusal of all calls, the empty account, and none when it closes."""
    last, empty = ProviderUnavailable("the fifth"), QuotaExhausted("empty")
    desk = Desk()
    await fail(desk, ProviderUnavailable("no"), 4)
    await fail(desk, last, 1)
    await desk.timer.run(3)
    call = await desk.call()
    assert call.permit is not None
    call.permit.answered(Usage())
    await call.end()
    await fail(desk, empty, 1)
    assert desk.circuits == [("m", "faults"), ("m", None), ("m", "quota")]
    assert desk.faults == [last, empty]
    await desk.close()


async def test_an_empty_account_opens_the_circuit_at_once() -> None:
    """The first call that is told so speaks for all."""
    desk = Desk()
    await fail(desk, QuotaExhausted("empty"), 1)
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
    await fail(desk, ProviderUnavailable("no"), 5)
    probe, second = await desk.call(), await desk.call()
    await desk.timer.run(1)
    assert (probe.is_inside(), second.is_inside()) == (True, False)
    await probe.cancel()
    assert second.is_inside()
    await desk.close()


async def test_one_document_at_a_time_is_kept_for_a_probe() -> None:
    """The next call does not stand behind it, and a waiting one may choose again when it has gone out."""
    desk = Desk(max_concurrency=1)
    await fail(desk, ProviderUnavailable("no"), 5)
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


async def test_a_failing_model_beside_one_that_is_well_stops_no_reading() -> None:
    """Nor do a few documents at an open circuit: the one that closes it may still have to be read."""
    desk = Desk(max_concurrency=2)
    await fail(desk, ProviderUnavailable("no"), 5)
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
    """All of them may be at fault: the document that finds the model well may still be unread."""
    desk = Desk(max_concurrency=2)
    await fail(desk, ProviderUnavailable("no"), 5)
    for _ in range(8):
        await desk.call(place=desk.admission.take_place())
    for tried in range(8):
        assert desk.admission.pause_reason() == "circuit", f"only {tried} of them were tried"
        probe = await _probe(desk)
        await ends_with(probe, ProviderUnavailable("no"))
        await desk.call(place=probe.request.place)
    assert desk.admission.pause_reason() is None
    await desk.call()
    assert desk.admission.pause_reason() == "circuit", "there is somebody to be tried"
    await desk.close()


async def test_however_many_calls_there_may_be_a_failing_model_stops_reading() -> None:
    """More records than a partition may have open by default never wait for it."""
    desk = Desk(max_concurrency=1000)
    await fail(desk, ProviderUnavailable("no"), 5)
    for _ in range(200):
        await desk.call()
    assert desk.admission.pause_reason() == "circuit"
    await desk.close()


async def test_a_probe_cancelled_just_as_it_was_let_out_makes_way_too() -> None:
    """It never ran, and nobody will hear of it."""
    desk = Desk()
    await fail(desk, ProviderUnavailable("no"), 5)
    probe, second = await desk.call(), await desk.call()
    alarm = desk.timer.next_alarm()
    assert alarm is not None
    desk.timer.advance_to(alarm)
    probe.task.cancel()
    await settled()
    assert probe.admitted_at is None
    assert second.is_inside()
    await desk.close()

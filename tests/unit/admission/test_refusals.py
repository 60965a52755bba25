"""What a refusal means for whoever was refused, and for the others."""

from __future__ import annotations

import pytest

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.limits import CallRequest
from docsluice_consumer.errors import (
    CallTimedOut,
    DocsluiceError,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)
from docsluice_consumer.model_ref import model_ref
from tests.fakes.desk import Call, Desk, ends_with
from tests.fakes.timer import settled


async def _refused(desk: Desk, call: Call) -> None:
    """It is told to wait, and comes again with its place."""
    await ends_with(call, RateLimited("429", retry_after_seconds=1))
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
        await ends_with(call, RateLimited("429"))
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


async def test_a_refusal_that_is_one_calls_own_affair_holds_nobody_back() -> None:
    """No gate closes for it, no pace is learned, fewer calls are no remedy. It still gives back what it had taken."""
    desk = Desk(max_concurrency=4, min_concurrency=2, tokens_per_minute=12_000)
    for _ in range(20):
        await desk.timer.run(1)
        call = await desk.call(100)
        fault = RateLimited("429", retry_after_seconds=5)
        fault.times_alone = 1
        await ends_with(call, fault)
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
    await ends_with(await desk.call(), fault)
    assert fault.pauses_others is waits
    assert (await desk.call()).is_inside() is not waits
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
    await ends_with(large, RecordRejected(DeadLetterReason.TOO_LARGE, "request too large"))
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

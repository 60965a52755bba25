"""Replicas that share their limits, when nobody grants anything."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from docsluice.messages import Usage
from docsluice_consumer.admission.leased_bucket import BURST_SECONDS, STOCK_SECONDS
from docsluice_consumer.store.redis_quota import LEASE_SECONDS
from tests.examples import examples
from tests.fakes.desk import Call
from tests.fakes.site import TICK_SECONDS, Site, started
from tests.fakes.timer import settled


async def test_from_the_start_without_redis_each_keeps_to_its_share() -> None:
    """At once, for nobody has its share, and it is said once, with what to do."""
    site = Site(shares=[0.25], requests_per_minute=240)
    site.replicas[0].grantor.is_away = True
    with structlog.testing.capture_logs() as logs:
        for _ in range(20):
            await site.replicas[0].call()
        await site.run(10.5)
    assert len(site.admitted) == 10
    assert site.replicas[0].admission.limits_and_available()["requests"][0] == 60
    (line,) = logs
    assert (line["event"], line["log_level"], line["error"]) == ("limits.away", "warning", "connection refused")
    assert "DOCSLUICE_SHARED_LIMITS_URL" in line["remedy"]
    await site.close()


async def test_cut_off_it_waits_until_its_share_is_its_own_again() -> None:
    """Until then others may use it. Then it goes on with the share alone, and with all of it once Redis is back."""
    site = await started(replicas=2, requests_per_minute=600)
    alone = site.replicas[0]
    for _ in range(200):
        await alone.call()
    await site.run(2)
    alone.grantor.is_away = True
    with structlog.testing.capture_logs() as logs:
        await site.run(0.5)
        before = len(alone.admitted)
        await site.run(LEASE_SECONDS - 0.7)
        assert len(alone.admitted) == before, "its share is still everybody's"
        await site.run(10.3)
        assert len(alone.admitted) - before == pytest.approx(50, abs=3)
        alone.grantor.is_away = False
        await site.run(1.1)
        before = len(alone.admitted)
        await site.run(5)
        assert len(alone.admitted) - before == pytest.approx(50, abs=3)
    assert [line["event"] for line in logs] == ["limits.away", "limits.back"]
    await site.close()


async def test_a_debt_is_not_forgotten_when_redis_goes() -> None:
    """What was used beyond the reservation is worked off from our own share then."""
    site = await started(tokens_per_minute=600)
    replica = site.replicas[0]
    call = await replica.call(10)
    await site.run(1.2)
    replica.grantor.is_away = True
    assert call.permit is not None
    call.permit.answered(Usage(input_tokens=110))
    await site.run(LEASE_SECONDS + 1)
    later = await replica.call(10)
    await site.run(8)
    assert not later.is_inside()
    await site.run(3)
    assert later.is_inside()
    await site.close()


async def test_what_may_have_been_counted_is_not_returned_again() -> None:
    """When only the answer was lost, a second return would make units out of nothing."""
    site = await started(tokens_per_minute=6000)
    replica = site.replicas[0]
    call = await replica.call(60)
    await site.run(0.7)
    assert call.permit is not None
    replica.grantor.is_deaf = True
    call.permit.answered(Usage())
    await site.run(0.3)
    replica.grantor.is_deaf = False
    await site.run(2)
    assert site.account.returned["tokens/account"] == pytest.approx(60)
    await site.close()


COURSE = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 2), st.integers(1, 300)),
        st.tuples(st.just("call"), st.integers(0, 2), st.integers(1, 30)),
        st.tuples(st.just("cancel"), st.integers(0, 2), st.integers(0, 20)),
        st.tuples(st.just("end"), st.integers(0, 2), st.integers(0, 100)),
        st.tuples(st.just("cut off"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("mend"), st.integers(0, 2), st.just(0)),
        st.tuples(st.just("wait"), st.just(0), st.integers(1, 120)),
        st.tuples(st.just("wait"), st.just(0), st.integers(1, 1000)),  # hundredths of a second
    ),
    max_size=40,
)


@settings(max_examples=examples(60))
@given(course=COURSE, per_minute=st.sampled_from([60, 600, 6000]))
async def test_all_together_never_exceed_the_limit(course: list[tuple[str, int, int]], per_minute: int) -> None:
    """In any span, in any course of events, replicas cut off or not: the rate times the span, and one burst.

    A replica that is cut off leaves the debt of a large call to the others, and so adds it once more.
    """
    site = await started(replicas=3, tokens_per_minute=per_minute)
    for event, number, more in course:
        replica = site.replicas[number]
        match event:
            case "call":
                await replica.call(min(more, per_minute))
            case "cancel":
                waiting = [call for call in replica.calls if call.admitted_at is None and not call.task.done()]
                if waiting:
                    await waiting[more % len(waiting)].cancel()
            case "end" if inside := [call for call in replica.calls if call.is_inside()]:
                assert inside[0].permit is not None
                inside[0].usage = Usage(input_tokens=inside[0].usage.input_tokens * more // 100)
                inside[0].permit.answered(inside[0].usage)
                await inside[0].end()
            case "cut off" | "mend":
                replica.grantor.is_away = event == "cut off"
            case "wait":
                await site.run(more / 100)
    largest = max((call.request.usage.input_tokens for call in site.admitted), default=0)
    was_cut_off = any(event == "cut off" for event, _, _ in course)
    _check_spans(site.admitted, rate=per_minute / 60, replicas=3, slack=3 * largest if was_cut_off else 0)
    await site.close()


def _check_spans(calls: list[Call], *, rate: float, replicas: int, slack: float) -> None:
    """A burst of the account's, what each may have in hand or in a bucket of its own, and the last call of each."""
    burst = max(1.0, rate * BURST_SECONDS) + replicas * max(1.0, rate * STOCK_SECONDS)
    for first, begin in enumerate(calls):
        used, last = 0.0, dict.fromkeys((id(call.desk) for call in calls), 0)
        for call in calls[first:]:
            used += call.usage.input_tokens
            last[id(call.desk)] = call.request.usage.input_tokens
            span = (call.admitted_at or 0.0) - (begin.admitted_at or 0.0)
            assert used <= rate * (span + 2 * TICK_SECONDS) + burst + max(burst, sum(last.values())) + slack


async def test_a_grantor_that_answers_by_halves_is_away() -> None:
    """That it can be reached is not enough: until it grants something, each keeps to its share, and it is said once."""
    site = await started(replicas=1, tokens_per_minute=600)
    (replica,) = site.replicas
    replica.grantor.refuses_buckets = True
    with capture_logs() as logs:
        calls = [await replica.call(10) for _ in range(30)]
        await site.run(30)
        assert [entry["event"] for entry in logs] == ["limits.away"]
        assert sum(call.admitted_at is not None for call in calls) > 15
        replica.grantor.refuses_buckets = False
        await site.run(2)
    assert [entry["event"] for entry in logs] == ["limits.away", "limits.back"]
    await site.close()


async def test_a_task_that_dies_stops_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else everybody would wait for grants for ever, while all seems well. To close it is no death."""
    site = Site(requests_per_minute=600)
    (replica,) = site.replicas
    await replica.quota_lease.start()
    bug = TypeError("a bug")
    monkeypatch.setattr(replica.grantor, "exchange", Mock(side_effect=bug))
    await replica.call()
    async with asyncio.timeout(20):
        while not replica.deaths:
            await asyncio.sleep(0.001)
    assert replica.deaths == [bug]
    await site.close()

    other = Site(requests_per_minute=600)
    await other.replicas[0].quota_lease.start()
    await settled()
    await other.close()
    assert other.replicas[0].deaths == []

"""Replicas that share their limits: order, large requests, what comes back, and what happens when nobody grants."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from unittest.mock import Mock

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from docsluice.messages import Usage
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.leased_bucket import BURST_SECONDS, STOCK_SECONDS
from docsluice_consumer.admission.limits import MinuteLimits
from docsluice_consumer.errors import RateLimited
from docsluice_consumer.side_tasks.quota_lease import QuotaLease
from docsluice_consumer.store.redis_quota import LEASE_SECONDS
from docsluice_local.rehearsal.limiter import MinuteLimit
from tests.examples import examples
from tests.fakes.grantor import FakeAccount, FakeGrantor
from tests.fakes.timer import ManualTimer, settled
from tests.unit.admission.test_admission import Call, Desk

TICK_SECONDS = 0.02


class Replica(Desk):
    """A desk, and who brings it what is granted."""

    def __init__(self, account: FakeAccount, name: str, share: float, **limits: Any) -> None:
        super().__init__(timer=account.timer, **limits)
        self.grantor = FakeGrantor(account, name)
        self.deaths: list[BaseException] = []
        self.quota_lease = QuotaLease(
            admission=self.admission,
            grantor=self.grantor,
            clock=self.timer,
            change=self.change,
            stop_because=self.deaths.append,
        )
        self.quota_lease.set_share(share)
        self.due_at = self.timer.time()

    async def go_on(self) -> None:
        if self.change.is_set() or self.timer.time() >= self.due_at - 1e-9:
            self.due_at = self.timer.time() + await self.quota_lease.step()


class Site:
    """Replicas of one account, with equal shares unless told otherwise."""

    def __init__(self, *, replicas: int = 1, shares: Sequence[float] | None = None, **limits: Any) -> None:
        self.timer = ManualTimer()
        self.account = FakeAccount(self.timer)
        shares = shares or [1 / replicas] * replicas
        self.replicas = [Replica(self.account, f"r{n}", share, **limits) for n, share in enumerate(shares)]

    async def run(self, seconds: float) -> None:
        until = self.timer.time() + seconds
        while self.timer.time() < until - 1e-9:
            for replica in self.replicas:
                await replica.go_on()
            await self.timer.run(TICK_SECONDS)

    async def close(self) -> None:
        for replica in self.replicas:
            await replica.close()
            await replica.quota_lease.close()

    @property
    def admitted(self) -> list[Call]:
        calls = [call for replica in self.replicas for call in replica.admitted]
        return sorted(calls, key=lambda call: call.admitted_at or 0.0)


async def _started(**more: Any) -> Site:
    site = Site(**more)
    for replica in site.replicas:
        await replica.go_on()
    return site


async def test_the_one_that_has_work_may_use_all_of_the_limit() -> None:
    """Though its share is a hundredth: the others have nothing to do."""
    site = await _started(shares=[0.01, 0.495, 0.495], requests_per_minute=600, max_concurrency=10_000)
    for _ in range(200):
        await site.replicas[0].call()
    await site.run(10)
    assert 97 <= len(site.admitted) <= 100
    assert site.replicas[0].admission.limits_and_available()["requests"][0] == 600
    await site.close()


async def test_those_that_have_work_get_the_same() -> None:
    """They queue for every grant, so none is served twice before another once."""
    site = await _started(shares=[0.8, 0.1, 0.1], tokens_per_minute=6000)
    for replica in site.replicas:
        for _ in range(100):
            await replica.call(20)
    await site.run(30)
    counts = [len(replica.admitted) for replica in site.replicas]
    assert max(counts) - min(counts) <= 2
    assert 0.97 * 150 <= sum(counts) <= 150
    await site.close()


async def test_the_order_of_arrival_is_kept() -> None:
    """Within a replica, over all sizes."""
    site = await _started(replicas=2, tokens_per_minute=6000)
    calls = [await site.replicas[0].call(size) for size in (500, 1, 30, 200, 2, 700, 5)]
    await site.run(30)
    assert site.replicas[0].admitted == calls
    await site.close()


async def test_a_large_request_is_not_starved_by_the_small_ones_of_others() -> None:
    """It gets out within the time that its own size takes and that of those in the queue before it."""
    site = await _started(replicas=3, tokens_per_minute=600)
    large = await site.replicas[0].call(200)
    for _ in range(25):
        for replica in site.replicas[1:]:
            for _ in range(5):
                await replica.call(2)
        await site.run(1)
    assert large.admitted_at is not None
    assert large.admitted_at - large.arrived_at < 22
    await site.run(3)
    assert len(site.admitted) > 2, "and the small ones go on behind it"
    await site.close()


async def test_large_requests_of_several_do_not_go_out_together() -> None:
    """One saves up at a time: a provider that lets one of them overdraw its window refuses none."""
    site = await _started(replicas=3, tokens_per_minute=600)
    judge = MinuteLimit(per_minute=600, window_seconds=1.0, now=site.timer.time())
    for replica in site.replicas:
        for _ in range(3):
            await replica.call(100)
    await site.run(100)
    assert len(site.admitted) == 9
    for call in site.admitted:
        assert call.admitted_at is not None
        assert judge.wait_seconds(now=call.admitted_at) == 0
        judge.take(100, now=call.admitted_at)
    await site.close()


async def test_what_was_not_used_lets_others_out() -> None:
    """A reservation that was too high comes back to the account."""
    site = await _started(replicas=2, tokens_per_minute=6000)
    first = await site.replicas[0].call(400)
    await site.run(4.2)
    assert first.permit is not None
    second = await site.replicas[1].call(60)
    first.permit.answered(Usage(input_tokens=330))
    await site.run(0.1)
    assert second.is_inside()
    await site.close()


async def test_what_was_used_beyond_is_counted_for_everybody() -> None:
    """Others wait until the debt is worked off."""
    site = await _started(replicas=2, tokens_per_minute=600)
    first = await site.replicas[0].call(10)
    await site.run(1.1)
    assert first.permit is not None
    first.permit.answered(Usage(input_tokens=110))
    await site.run(0.1)
    second = await site.replicas[1].call(10)
    await site.run(10)
    assert not second.is_inside()
    await site.run(1.2)
    assert second.is_inside()
    await site.close()


async def test_a_waiter_that_is_cancelled_leaves_its_grants_to_others() -> None:
    """And the turn that it has waited for: the next one does not wait for a request that nobody makes."""
    site = await _started(replicas=2, tokens_per_minute=600)
    large, other = await site.replicas[0].call(600), await site.replicas[1].call(20)
    await site.run(0.3)
    await large.cancel()
    await site.run(0.8)
    assert other.is_inside()
    await site.close()


async def test_a_replica_that_dies_in_the_queue_is_not_waited_for() -> None:
    """Its turn passes when its lease ends."""
    site = await _started(shares=[0.5, 0.5, 0.5], tokens_per_minute=6000)
    await site.replicas[0].call(6000)
    await site.run(0.1)
    dead = site.replicas.pop(0)
    small = await site.replicas[0].call(20)
    await site.run(LEASE_SECONDS - 0.5)
    assert not small.is_inside()
    await site.run(0.8)
    assert small.is_inside()
    await dead.close()
    await site.close()


async def test_nothing_is_asked_while_nothing_is_wanted() -> None:
    """Only that the replica is still there is told once a second."""
    site = await _started(requests_per_minute=600)
    await site.run(1.0)
    before = site.replicas[0].grantor.exchanges
    await site.run(10)
    assert site.replicas[0].grantor.exchanges - before <= 11
    assert site.replicas[0].grantor.asked == {}
    await site.close()


async def test_nothing_is_asked_for_who_could_not_go_anyhow() -> None:
    """While the provider has asked for a pause, what is granted would be of use to others only."""
    site = await _started(replicas=2, requests_per_minute=600)
    first = await site.replicas[0].call()
    await site.run(0.3)
    assert first.permit is not None
    first.permit.failed(RateLimited("slow down", retry_after_seconds=10))
    granted = site.account.granted["requests/account"]
    held = await site.replicas[0].call()
    await site.run(9)
    assert site.account.granted["requests/account"] == granted
    await site.run(1.2)
    assert held.is_inside()
    await site.close()


@pytest.mark.parametrize("slow_tokens", [1, 300])
@pytest.mark.parametrize("tokens", [100, 500, 2000])
async def test_a_slow_model_keeps_no_shared_limit_from_others(slow_tokens: int, tokens: int) -> None:
    """Neither by small calls nor by large ones, however large those of others are, and it has all of its own limit."""
    site = await _started(replicas=2, requests_per_minute=600, tokens_per_minute=60_000)
    replica = site.replicas[0]
    first = await replica.call(1, model="a")
    await site.run(1)
    assert first.permit is not None
    first.permit.reported_limits({"requests": 6.0})
    await first.end()
    slow = [await replica.call(slow_tokens, model="a") for _ in range(20)]
    others = [await replica.call(tokens, model="b") for _ in range(300)]
    await site.run(31)
    assert sum(call.is_inside() for call in slow) == 3
    assert sum(call.is_inside() for call in others) >= 0.9 * min(300, (30_000 - 3 * slow_tokens) // tokens)
    await site.close()


async def test_what_is_in_hand_goes_back_at_close() -> None:
    """Others need not wait for it, and our share is brought in no more."""
    site = await _started(shares=[1.0, 1.0], tokens_per_minute=6000, max_concurrency=1)
    replica = site.replicas[0]
    await replica.call(50)
    await site.run(0.6)
    await replica.call(5)
    await site.run(0.04)
    before = site.account.level["tokens/account"]
    assert replica.available("tokens") == 5, "for a call that there is no slot for"
    gained = (site.timer.time() - site.account.filled_at["tokens/account"]) * 100
    await replica.quota_lease.close()
    assert site.account.level["tokens/account"] == pytest.approx(before + gained + 5)
    assert site.account.leases["r0"][0] == 0
    assert replica.grantor.is_closed
    await replica.close()


async def test_each_limit_is_one_of_its_own() -> None:
    """By what it counts and by whose it is: the account's, a model's, or what the provider says of a model."""
    site = await _started(
        requests_per_minute=600, tokens_per_minute=6000, by_model={"own": MinuteLimits(requests_per_minute=60)}
    )
    replica = site.replicas[0]
    first = await replica.call(1, model="any")
    await site.run(1)
    assert first.permit is not None
    first.permit.reported_limits({"tokens": 600.0})
    await replica.call(1, model="any")
    await replica.call(1, model="own")
    await site.run(3)
    assert set(site.account.level) == {
        "requests/account",
        "tokens/account",
        "requests/model/own",
        "tokens/said/any",
    }
    assert len(replica.admitted) == 3
    await site.close()


async def test_what_the_provider_says_is_shared_too() -> None:
    """All of it is for whoever has work. The pace that refusals teach is each replica's own."""
    site = await _started(shares=[0.01, 0.99], max_concurrency=100_000)
    first = await site.replicas[0].call()
    assert first.permit is not None
    first.permit.reported_limits({"requests": 600.0})
    await first.end()
    for _ in range(200):
        await site.replicas[0].call()
    await site.run(10)
    assert 97 <= len(site.admitted) - 1 <= 100
    await site.close()


async def test_slots_and_budget_stay_shares() -> None:
    """Only limits a minute are counted in one place."""
    budget = Budget(usd_per_hour=Decimal(4))
    site = await _started(shares=[0.25], max_concurrency=8, requests_per_minute=600, budget=budget)
    assert site.replicas[0].admission.max_in_flight == 2
    call = await site.replicas[0].call(cost_usd=Decimal(1))
    await site.run(1)
    assert call.permit is not None
    call.permit.answered(Usage(), cost_usd=Decimal("0.5"))
    assert site.replicas[0].admission.budget_spent_ratios()["hour"] == pytest.approx(0.5 / (1 - 1000 / 3600), rel=0.01)
    await site.close()


# Where nobody grants anything


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
    site = await _started(replicas=2, requests_per_minute=600)
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
    site = await _started(tokens_per_minute=600)
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
    site = await _started(tokens_per_minute=6000)
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

    Who is cut off leaves the debt of a large call to the others, and so adds it once more.
    """
    site = await _started(replicas=3, tokens_per_minute=per_minute)
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
    site = await _started(replicas=1, tokens_per_minute=600)
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

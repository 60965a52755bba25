"""Replicas that share their limits: order, large requests, and what comes back."""

from __future__ import annotations

from decimal import Decimal

import pytest

from docsluice.messages import Usage
from docsluice_consumer.admission.budget import Budget
from docsluice_consumer.admission.limits import MinuteLimits
from docsluice_consumer.errors import RateLimited
from docsluice_consumer.store.redis_quota import LEASE_SECONDS
from docsluice_local.rehearsal.limiter import MinuteLimit
from tests.fakes.site import started


async def test_the_one_that_has_work_may_use_all_of_the_limit() -> None:
    """Though its share is a hundredth: the others have nothing to do."""
    site = await started(shares=[0.01, 0.495, 0.495], requests_per_minute=600, max_concurrency=10_000)
    for _ in range(200):
        await site.replicas[0].call()
    await site.run(10)
    assert 97 <= len(site.admitted) <= 100
    assert site.replicas[0].admission.limits_and_available()["requests"][0] == 600
    await site.close()


async def test_those_that_have_work_get_the_same() -> None:
    """They queue for every grant, so none is served twice before another once."""
    site = await started(shares=[0.8, 0.1, 0.1], tokens_per_minute=6000)
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
    site = await started(replicas=2, tokens_per_minute=6000)
    calls = [await site.replicas[0].call(size) for size in (500, 1, 30, 200, 2, 700, 5)]
    await site.run(30)
    assert site.replicas[0].admitted == calls
    await site.close()


async def test_a_large_request_is_not_starved_by_the_small_ones_of_others() -> None:
    """It gets out within the time that its own size takes and that of those in the queue before it."""
    site = await started(replicas=3, tokens_per_minute=600)
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
    site = await started(replicas=3, tokens_per_minute=600)
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
    site = await started(replicas=2, tokens_per_minute=6000)
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
    site = await started(replicas=2, tokens_per_minute=600)
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
    site = await started(replicas=2, tokens_per_minute=600)
    large, other = await site.replicas[0].call(600), await site.replicas[1].call(20)
    await site.run(0.3)
    await large.cancel()
    await site.run(0.8)
    assert other.is_inside()
    await site.close()


async def test_a_replica_that_dies_in_the_queue_is_not_waited_for() -> None:
    """Its turn passes when its lease ends."""
    site = await started(shares=[0.5, 0.5, 0.5], tokens_per_minute=6000)
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
    site = await started(requests_per_minute=600)
    await site.run(1.0)
    before = site.replicas[0].grantor.exchanges
    await site.run(10)
    assert site.replicas[0].grantor.exchanges - before <= 11
    assert site.replicas[0].grantor.asked == {}
    await site.close()


async def test_nothing_is_asked_for_who_could_not_go_anyhow() -> None:
    """While the provider has asked for a pause, what is granted would help others only."""
    site = await started(replicas=2, requests_per_minute=600)
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


@pytest.mark.long
@pytest.mark.parametrize("slow_tokens", [1, 300])
@pytest.mark.parametrize("tokens", [100, 500, 2000])
async def test_a_slow_model_keeps_no_shared_limit_from_others(slow_tokens: int, tokens: int) -> None:
    """Neither by small calls nor by large ones, however large those of others are, and it has all of its own limit."""
    site = await started(replicas=2, requests_per_minute=600, tokens_per_minute=60_000)
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
    site = await started(shares=[1.0, 1.0], tokens_per_minute=6000, max_concurrency=1)
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
    site = await started(
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
    """All of it goes to replicas with work. The pace that refusals teach is each replica's own."""
    site = await started(shares=[0.01, 0.99], max_concurrency=100_000)
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
    site = await started(shares=[0.25], max_concurrency=8, requests_per_minute=600, budget=budget)
    assert site.replicas[0].admission.max_in_flight == 2
    call = await site.replicas[0].call(cost_usd=Decimal(1))
    await site.run(1)
    assert call.permit is not None
    call.permit.answered(Usage(), cost_usd=Decimal("0.5"))
    assert site.replicas[0].admission.budget_spent_ratios()["hour"] == pytest.approx(0.5 / (1 - 1000 / 3600), rel=0.01)
    await site.close()

"""Limits counted in a real Redis: what the script grants, and replicas that have nothing but it in common."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import structlog

from docsluice.messages import Usage
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.leased_bucket import BURST_SECONDS
from docsluice_consumer.admission.limits import CallRequest, Limits
from docsluice_consumer.analysis.admission_report import AdmissionReport
from docsluice_consumer.check.check import check
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.settings import load_settings
from docsluice_consumer.side_tasks.quota_lease import QuotaLease
from docsluice_consumer.store.redis_quota import Asked, LimitsAway, RedisQuota, account_of
from docsluice_consumer.telemetry.metrics import Metrics
from docsluice_local.rehearsal.limiter import MinuteLimit
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.wire import Wire, document, serving, until

HARDLY_ANY = 1e-6
"""A minute's limit of this many units: within a test not one comes by itself."""
PLENTY = 6_000_000
KEY = "sk-verysecret"
PASSWORD = "hunter2-secret"


class Members:
    """Members of one account, each with a connection of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._members: dict[str, RedisQuota] = {}

    def __getitem__(self, name: str) -> RedisQuota:
        if name not in self._members:
            self._members[name] = RedisQuota(url=self._url, account="a", burst_seconds=BURST_SECONDS)
        return self._members[name]

    async def ask(
        self,
        member: str,
        *,
        wanted: float = 0,
        needed: float = 0,
        returned: float = 0,
        share: float = 0.25,
        per_minute: float = HARDLY_ANY,
    ) -> float:
        """What is granted. Whether to ask again must go with it."""
        asked = Asked(per_minute=per_minute, wanted=wanted, needed=needed, returned=returned)
        granted = (await self[member].exchange({"tokens/account": asked}, share=share))["tokens/account"]
        assert (granted.wait_seconds > 0) == (granted.amount < needed - 1e-6)
        return round(granted.amount, 3)

    async def close(self) -> None:
        for member in self._members.values():
            await member.close()


@pytest.fixture
async def members(redis: RedisServer) -> AsyncIterator[Members]:
    found = Members(redis.url)
    yield found
    await found.close()


async def test_a_bucket_starts_empty_and_holds_a_burst(members: Members) -> None:
    """What nobody has saved up for is not there. What comes back is kept up to a burst, and is anybody's."""
    assert await members.ask("a", wanted=10) == 0
    assert await members.ask("a", returned=0.75) == 0
    assert await members.ask("b", wanted=0.5) == 0.5
    assert await members.ask("b", returned=1000) == 0
    assert await members.ask("a", wanted=1000) == 1.0, "a whole request at the least"


async def test_time_fills_it(members: Members) -> None:
    """By Redis' own clock, up to a burst."""
    await members.ask("a", per_minute=PLENTY, share=1.0)
    burst = PLENTY / 60 * BURST_SECONDS
    await until(lambda: _has(members, burst), what="the bucket is full")


async def _has(members: Members, burst: float) -> bool:
    granted = await members["a"].exchange(
        {"tokens/account": Asked(per_minute=PLENTY, wanted=PLENTY, needed=0, returned=0)}, share=1.0
    )
    amount = granted["tokens/account"].amount
    assert amount <= burst * (1 + 1e-9)
    await members.ask("a", per_minute=PLENTY, share=1.0, returned=amount)
    return amount > burst * 0.99


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "1e300", "-1e300", "many", ""])
@pytest.mark.parametrize("field", ["level", "filled_at", "needs:other", "lease", "share"])
async def test_a_number_that_is_none_is_not_believed(members: Members, field: str, value: str) -> None:
    """A foreign value neither blocks the limit, nor lets more through, and is overwritten."""
    redis, bucket = members["a"]._redis, "docsluice:{a}:tokens/account"
    await members.ask("other", needed=1, wanted=1)
    await members.ask("a", wanted=1)
    (name,) = [name for name in await redis.hkeys(bucket) if name.startswith("needs:")]
    other = name.removeprefix("needs:")
    match field:
        case "lease" | "share":
            kept = await redis.hget("docsluice:{a}:members", other)
            share, ends_at = kept.split()
            lease = f"{share} {value}" if field == "lease" else f"{value} {ends_at}"
            await redis.hset("docsluice:{a}:members", other, lease)
        case _:
            await redis.hset(bucket, name if field == "needs:other" else field, value)
    await members.ask("a", returned=1000)
    assert await members.ask("other", wanted=0.25) <= 1
    await members.ask("a", returned=1000)
    assert await members.ask("a", wanted=1000) == 1.0, "a whole burst, and no more"
    assert not [kept for kept in await redis.hvals(bucket) if kept.lstrip("-")[:3] in {"nan", "inf", "1e+"}]


async def test_a_debt_is_everybodys(members: Members) -> None:
    """What one has used beyond its reservation, all have to make up for."""
    await members.ask("a", returned=-5)
    assert await members.ask("b", wanted=1, returned=5) == 0
    assert await members.ask("b", wanted=1, returned=0.5) == 0.5


async def test_only_the_first_in_the_queue_is_granted_less_than_it_needs(members: Members) -> None:
    """It saves up. A later replica gets what earlier ones do not need."""
    await members.ask("a", returned=0.75)
    assert await members.ask("a", wanted=10, needed=1) == 0.75
    assert await members.ask("b", wanted=10, needed=0.5, returned=0.5) == 0, "half of it is a's"
    assert await members.ask("c", wanted=10, needed=0.25) == 0, "b is before it"
    assert await members.ask("a", wanted=0.25, needed=0.25) == 0.25
    assert await members.ask("c", wanted=10, needed=0.25) == 0, "b needs more than is left"
    assert await members.ask("b", wanted=0.5, needed=0.5, returned=0.5) == 0.5
    assert await members.ask("c", wanted=10, needed=0.25) == 0.25


async def test_who_wants_nothing_any_more_has_left_the_queue(members: Members) -> None:
    """Others are served at once."""
    assert await members.ask("a", wanted=10, needed=10) == 0
    assert await members.ask("b", wanted=1, needed=1, returned=1) == 0
    assert await members.ask("a") == 0
    assert await members.ask("b", wanted=1, needed=1) == 1


async def test_who_is_not_heard_of_has_left_the_queue(redis: RedisServer, members: Members) -> None:
    """When its lease has ended, its turn has passed, and its share is not in what is filled."""
    await members.ask("a", wanted=10, needed=10, share=0.75)
    assert await members.ask("b", wanted=1, needed=1, returned=1) == 0
    leases = members["a"]._redis
    name = f"{members['a']._account}:members"
    await leases.hset(name, members["a"]._member, "0.75 1.0")  # which was in 1970
    assert await members.ask("b", wanted=1, needed=1) == 1
    assert await leases.hkeys(name) == [members["b"]._member]


async def test_the_limit_is_as_much_as_has_been_brought_in(members: Members) -> None:
    """With a quarter of the shares a quarter of the burst. More than all of them is no more than all of it."""
    for name, whole in (("a", 0.25), ("b", 0.5), ("c", 0.75), ("d", 1.0), ("e", 1.0)):
        await members.ask(name, per_minute=PLENTY)
        await members.ask(name, per_minute=PLENTY, returned=PLENTY)
        granted = await members["a"].exchange(
            {"tokens/account": Asked(per_minute=PLENTY, wanted=PLENTY, needed=0, returned=0)}, share=0.25
        )
        assert granted["tokens/account"].amount == pytest.approx(PLENTY / 60 * BURST_SECONDS * whole), name


async def test_several_limits_at_once(members: Members) -> None:
    """Each answer belongs to its own."""
    asked = {
        name: Asked(per_minute=HARDLY_ANY, wanted=1, needed=0, returned=returned)
        for name, returned in (("requests/account", 0.25), ("tokens/said/m:1 {x}", 0.75))
    }
    granted = await members["a"].exchange(asked, share=1.0)
    assert {name: round(of.amount, 3) for name, of in granted.items()} == {
        "requests/account": 0.25,
        "tokens/said/m:1 {x}": 0.75,
    }
    assert await members["a"].exchange({}, share=1.0) == {}


async def test_dead_keys_vanish_and_no_key_is_told(members: Members) -> None:
    """Each has an end. A debt keeps its key until it is worked off."""
    await members.ask("a", wanted=10, needed=10)
    client = members["a"]._redis
    keys = await client.keys("*")
    assert sorted(keys) == [f"docsluice:{{a}}:{name}" for name in ("members", "tokens/account", "tokens/account:queue")]
    for key in keys:
        assert 0 < await client.ttl(key) <= 60 + 86_400
    await members.ask("a", returned=-1000, per_minute=600)
    assert await client.ttl("docsluice:{a}:tokens/account") > 100


def test_an_account_is_named_by_its_key_without_telling_it() -> None:
    """And by the server: naming OpenAI and leaving it out is the same."""
    openai = account_of(base_url=None, api_key=KEY)
    assert openai == account_of(base_url="https://api.openai.com/v1/", api_key=KEY)
    others = [account_of(base_url=None, api_key="other"), account_of(base_url="http://x/v1", api_key=KEY)]
    assert len({openai, *others, account_of(base_url="http://x/v1", api_key=None)}) == 4
    assert KEY not in openai


async def test_a_server_that_is_not_there_is_told_in_a_few_words(tmp_path: Path) -> None:
    """Without the address or the password that the URL holds."""
    absent = RedisQuota(url=f"redis://u:{PASSWORD}@127.0.0.1:1/0", account="a", burst_seconds=1.0)
    with pytest.raises(LimitsAway, match=r"^connection refused$"):
        await absent.exchange({}, share=0.0)
    await absent.close()


async def test_a_server_that_does_not_answer_is_given_up(redis: RedisServer) -> None:
    """Within a second or so, and what comes late is not taken for the answer to something else."""
    limits = RedisQuota(url=redis.url, account="a", burst_seconds=1.0)
    await limits.exchange({}, share=1.0)
    blocker = RedisQuota(url=redis.url, account="a", burst_seconds=1.0)
    await blocker._redis.client_pause(1500)
    with pytest.raises(LimitsAway, match=r"^no answer$"):
        await limits.exchange({}, share=1.0)
    await until(lambda: _answers(limits), what="it answers again")
    for member in (limits, blocker):
        await member.close()


async def _answers(limits: RedisQuota) -> bool:
    with contextlib.suppress(LimitsAway):
        asked = Asked(per_minute=HARDLY_ANY, wanted=1, needed=0, returned=0)
        return set(await limits.exchange({"requests/account": asked}, share=1.0)) == {"requests/account"}
    return False


async def test_a_wrong_password_is_told_as_one(redis: RedisServer, tmp_path: Path) -> None:
    """And a right one lets us in."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    with redis_server(folder=folder, arguments=("--requirepass", PASSWORD)) as guarded:
        for password, works in ((PASSWORD, True), ("wrong", False), ("", False)):
            url = guarded.url.replace("//", f"//:{password}@" if password else "//")
            limits = RedisQuota(url=url, account="a", burst_seconds=1.0)
            with contextlib.nullcontext() if works else pytest.raises(LimitsAway, match=r"user name and password$"):
                assert await limits.exchange({}, share=1.0) == {}
            await limits.close()


# Replicas


class Replica:
    """An admission that shares its limits, and a provider that counts every call."""

    def __init__(self, url: str, share: float, *, per_minute: float) -> None:
        change = asyncio.Event()
        self.admission = Admission(
            limits=Limits(max_concurrency=1_000_000_000, requests_per_minute=per_minute),
            timer=asyncio.get_running_loop(),
            listener=AdmissionReport(metrics=Metrics(), change=change),
        )
        self.quota_lease = QuotaLease(
            admission=self.admission,
            grantor=RedisQuota(url=url, account="a", burst_seconds=BURST_SECONDS),
            clock=asyncio.get_running_loop(),
            change=change,
            stop_because=lambda _: None,
        )
        self.share = share

    async def calls(self, count: int, called: Callable[[], None]) -> None:
        """So many at once, each of which is over at once."""
        await asyncio.gather(*(self._call(called) for _ in range(count)))

    async def _call(self, called: Callable[[], None]) -> None:
        async with self.admission.admit(CallRequest(model=model_ref("m"), usage=Usage())) as permit:
            called()
            permit.answered(Usage())


@contextlib.asynccontextmanager
async def _replicas(url: str, *shares: float, per_minute: float) -> AsyncIterator[list[Replica]]:
    replicas = [Replica(url, share, per_minute=per_minute) for share in shares]
    async with contextlib.AsyncExitStack() as cleanup:
        for replica in replicas:
            cleanup.push_async_callback(replica.quota_lease.close)
            await replica.quota_lease.start()
            replica.quota_lease.set_share(replica.share)
        yield replicas


async def test_uneven_work_is_done_within_the_limit(redis: RedisServer) -> None:
    """The replica with nearly all of the work has a share that would take it hours. Nothing is refused."""
    per_minute, refused = 3000, 0
    judge = MinuteLimit(per_minute=per_minute, window_seconds=1.0, now=time.monotonic())

    def called() -> None:
        nonlocal refused
        now = time.monotonic()
        refused += judge.wait_seconds(now=now) > 0
        judge.take(1, now=now)

    async with _replicas(redis.url, 0.0001, 0.5, 0.4999, per_minute=per_minute) as (busy, idle, other):
        await asyncio.gather(busy.calls(150, called), idle.calls(5, called), other.calls(5, called))
    assert refused == 0


async def test_redis_may_go_and_come_back(redis: RedisServer) -> None:
    """Work goes on with the share alone, which is said, and with all of the limit afterwards."""
    done = 0

    def called() -> None:
        nonlocal done
        done += 1

    async def both_are_back() -> bool:
        return len(logs) == 4

    with structlog.testing.capture_logs() as logs:
        async with _replicas(redis.url, 0.5, 0.5, per_minute=6000) as (one, other):
            await one.calls(20, called)
            redis.child.kill()
            await asyncio.gather(one.calls(20, called), other.calls(20, called))
            assert {line["event"] for line in logs} == {"limits.away"}
            redis.start()
            await until(both_are_back, what="both are back")
            await asyncio.gather(one.calls(20, called), other.calls(20, called))
    assert done == 100
    assert [line["event"] for line in logs] == ["limits.away"] * 2 + ["limits.back"] * 2


async def test_the_service_shares_its_limits(redis: RedisServer, wire: Wire, provider: RehearsalProvider) -> None:
    """The whole way, from the setting to the key in Redis and back."""
    await wire.create_topics()
    await wire.produce([document("one"), document("two")])
    settings = wire.settings(
        provider.base_url, mode="fused", requests_per_minute=600, shared_limits_url=redis.url, openai_api_key=KEY
    )
    async with serving(settings):
        assert len(await wire.outcomes(2)) == 2
    watcher = RedisQuota(url=redis.url, account="a", burst_seconds=1.0)
    account = account_of(base_url=provider.base_url, api_key=KEY)
    assert f"docsluice:{{{account}}}:requests/account" in await watcher._redis.keys("*")
    await watcher.close()


async def test_check_tries_it(redis: RedisServer) -> None:
    """A line of its own, with the cause where it fails."""
    for url, said in ((redis.url, "ok       {}: reached"), ("redis://127.0.0.1:1", "FAILED   {}: connection refused")):
        lines: list[str] = []
        settings = load_settings(
            {
                "kafka_bootstrap_servers": "localhost:1",
                "openai_base_url": "http://localhost:1/v1",
                "shared_limits_url": url,
            }
        )
        await check(settings, say=lines.append)
        assert lines[-1] == said.format("shared limits (DOCSLUICE_SHARED_LIMITS_URL)")

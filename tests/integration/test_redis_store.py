"""Steps in a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest

from docsluice_consumer.store.redis_store import RedisStore
from docsluice_consumer.store.step_store import StepStore, StoreAway, StoreUnusable
from tests.fakes.step_contracts import DAY, LastingStepStoreContract, fingerprint, paid
from tests.integration.redis_server import RedisServer, redis_server
from tests.integration.wire import until

PASSWORD = "hunter2-secret"


class TestRedisSteps(LastingStepStoreContract):
    """The contract. Age is Redis' own matter."""

    _redis: RedisServer

    @pytest.fixture(autouse=True)
    def _server(self, redis: RedisServer) -> None:
        self._redis = redis

    def opened(self) -> StepStore:
        return RedisStore(url=self._redis.url, max_age_seconds=DAY)

    async def spoil(self, store: StepStore, fingerprint: str, written: bytes) -> None:
        assert isinstance(store, RedisStore)
        await store._redis.set(f"docsluice:step:{fingerprint}", written)


@pytest.mark.parametrize(("max_age_seconds", "seconds"), [(DAY, DAY), (0.2, 1), (90.5, 91)])
async def test_redis_is_told_for_how_long(redis: RedisServer, max_age_seconds: float, seconds: float) -> None:
    """In whole seconds. A later put begins it again."""
    store = RedisStore(url=redis.url, max_age_seconds=max_age_seconds)
    key = f"docsluice:step:{fingerprint('a')}"
    await store._redis.set(key, b"of another time")
    before = await _redis_time(store)
    await store.put(fingerprint("a"), paid())
    keys, left = await store._redis.keys("*"), await store._redis.pttl(key) / 1000
    passed = await _redis_time(store) - before
    assert passed >= seconds or keys == [key.encode()]
    # Redis counts in milliseconds, so that up to one of them is missing at once.
    assert passed >= seconds or seconds - passed - 0.002 <= left <= seconds
    await store.close()


async def _redis_time(store: RedisStore) -> float:
    seconds, micros = await store._redis.time()
    return float(seconds) + float(micros) / 1e6


async def test_what_redis_has_let_go_is_unknown(redis: RedisServer) -> None:
    """Whether for its age, or for want of memory."""
    store = RedisStore(url=redis.url, max_age_seconds=DAY)
    await store.put(fingerprint("a"), paid())
    await store._redis.pexpire(f"docsluice:step:{fingerprint('a')}", 1)

    async def is_gone() -> bool:
        return await store.get(fingerprint("a")) is None

    await until(is_gone, what="it is too old")
    await store.close()


async def test_redis_goes_away_and_comes_back(redis: RedisServer) -> None:
    """Killed in the middle: each caller gets an error, and the same store goes on with the next Redis."""
    store = RedisStore(url=redis.url, max_age_seconds=DAY)
    await store.put(fingerprint("a"), paid())
    redis.child.kill()
    ends = await asyncio.gather(
        *(store.get(fingerprint(n)) for n in range(300)),
        *(store.put(fingerprint(n), paid()) for n in range(300)),
        return_exceptions=True,
    )
    assert {type(end) for end in ends} == {StoreAway}
    assert {str(end) for end in ends} <= {"connection refused", "it closed the connection"}
    redis.start()
    await until(lambda: _answers(store), what="it answers again")
    await store.put(fingerprint("a"), paid("again"))
    assert await store.get(fingerprint("a")) == paid("again")
    await store.close()


async def _answers(store: StepStore) -> bool:
    with contextlib.suppress(StoreAway):
        return await store.get(fingerprint("a")) is None
    return False


async def test_a_connection_that_was_closed_meanwhile_is_no_failure(redis: RedisServer) -> None:
    """A server closes what has been idle. The next caller does not notice."""
    store, other = (RedisStore(url=redis.url, max_age_seconds=DAY) for _ in range(2))
    await store.put(fingerprint("a"), paid())
    await other._redis.client_kill_filter(_type="normal", skipme=True)
    assert await store.get(fingerprint("a")) == paid()
    for one in (store, other):
        await one.close()


async def test_a_server_that_does_not_answer_is_given_up(redis: RedisServer) -> None:
    """Within a second or so, and what comes late is not taken for the answer to something else."""
    store, blocker = (RedisStore(url=redis.url, max_age_seconds=DAY) for _ in range(2))
    await store.put(fingerprint("a"), paid("a"))
    await store.put(fingerprint("b"), paid("b"))
    await blocker._redis.client_pause(1500)
    with pytest.raises(StoreAway, match=r"^no answer$"):
        await store.get(fingerprint("a"))

    async def answers() -> bool:
        with contextlib.suppress(StoreAway):
            return await store.get(fingerprint("b")) == paid("b")
        return False

    await until(answers, what="it answers again")
    for one in (store, blocker):
        await one.close()


async def test_what_one_key_holds_is_no_matter_of_another(redis: RedisServer) -> None:
    """Somebody else's list under our key is nothing that is known, and is written over: it does not pass by waiting."""
    store = RedisStore(url=redis.url, max_age_seconds=DAY)
    await store.put(fingerprint("a"), paid())
    await store._redis.rpush(f"docsluice:step:{fingerprint('list')}", b"x")
    well, foreign = await asyncio.gather(store.get(fingerprint("a")), store.get(fingerprint("list")))
    assert (well, foreign) == (paid(), None)
    await store.put(fingerprint("list"), paid("mended"))
    assert await store.get(fingerprint("list")) == paid("mended")
    await store.close()


async def test_a_full_redis_says_so(redis: RedisServer) -> None:
    """What it holds is still got."""
    store = RedisStore(url=redis.url, max_age_seconds=DAY)
    await store.put(fingerprint("a"), paid())
    await store._redis.config_set("maxmemory", "1")
    with pytest.raises(StoreAway, match="maxmemory"):
        await store.put(fingerprint("b"), paid())
    assert await store.get(fingerprint("a")) == paid()
    await store._redis.config_set("maxmemory", "0")
    await store.put(fingerprint("b"), paid())
    await store.close()


async def test_a_wrong_password_is_told_as_one(redis: RedisServer, tmp_path: Path) -> None:
    """Without the password, and a right one lets us in."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    with redis_server(folder=folder, arguments=("--requirepass", PASSWORD)) as guarded:
        for password, works in ((PASSWORD, True), ("wrong", False), ("", False)):
            url = guarded.url.replace("//", f"//:{password}@" if password else "//")
            store = RedisStore(url=url, max_age_seconds=DAY)
            with contextlib.nullcontext() if works else pytest.raises(StoreUnusable, match=r"user name and password$"):
                assert await store.get(fingerprint("a")) is None
            await store.close()


async def test_a_redis_that_will_never_do_is_told_apart(redis: RedisServer) -> None:
    """A database that it does not have, and a user who may not write: neither passes by waiting."""
    store = RedisStore(url=redis.url.replace("/0", "/99"), max_age_seconds=DAY)
    with pytest.raises(StoreUnusable, match="DB index is out of range"):
        await store.get(fingerprint("a"))
    owner = RedisStore(url=redis.url, max_age_seconds=DAY)
    await owner._redis.acl_setuser("reader", enabled=True, nopass=True, keys=["*"], commands=["+get"])
    reader = RedisStore(url=redis.url.replace("//", "//reader:any@"), max_age_seconds=DAY)
    assert await reader.get(fingerprint("a")) is None
    with pytest.raises(StoreUnusable, match="no permissions"):
        await reader.put(fingerprint("a"), paid())
    for one in (store, owner, reader):
        await one.close()


async def test_a_server_that_is_not_there_is_told_in_a_few_words() -> None:
    """Without the address or the password that the URL holds."""
    store = RedisStore(url=f"redis://u:{PASSWORD}@127.0.0.1:1/0", max_age_seconds=DAY)
    with pytest.raises(StoreAway, match=r"^connection refused$"):
        await store.put(fingerprint("a"), paid())
    await store.close()

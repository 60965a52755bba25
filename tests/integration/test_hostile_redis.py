"""A Redis that is broken, or means ill: what it says is bounded, and refused as what a store that is away says."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence

import pytest

from docsluice_consumer.store.redis_quota import Asked, LimitsAway, RedisQuota
from docsluice_consumer.store.redis_store import RedisStore
from docsluice_consumer.store.step_store import NotBelieved, StoreAway
from tests.fakes.redis_wire import OK, Says, array, bulk, redis_that_says
from tests.fakes.step_contracts import DAY, fingerprint, paid

ASKED = {"tokens": Asked(per_minute=6000.0, wanted=100.0, needed=50.0, returned=0.0)}
_MEBIBYTE = 1024
_MOST_MEBIBYTES = 300

BROKEN = {
    "a string without an end": b"$3000000000\r\n" + b"x" * 1_000_000,
    "a list without an end": b"*1000000000\r\n" + b":1\r\n" * 2_000_000,
    "lists in lists": b"*1\r\n" * 100_000,
    "a line without an end": b"+" + b"x" * 10_000_000,
    "less than nothing": b"$-5\r\n",
    "a number with thousands of digits": b":" + b"9" * 5000 + b"\r\n",
    "another protocol": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a number": b":5\r\n",
    "a list": array(bulk(b"a"), bulk(b"b")),
    "a word": b"+PONG\r\n",
    "an error with all its escapes": b"-ERR \x1b[31mno\x07 " + b"y" * 5000 + b"\r\n",
}


def _always(said: bytes) -> Says:
    return lambda _command: said


@pytest.mark.parametrize("said", BROKEN.values(), ids=list(BROKEN))
async def test_an_answer_that_is_none_is_a_store_that_is_away(said: bytes) -> None:
    """To a put and to a get, within the memory that an answer may take, and said in one short line."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with redis_that_says(_always(said)) as url:
        store = RedisStore(url=url, max_age_seconds=DAY)
        for _ in range(2):
            with pytest.raises(StoreAway) as away:
                await store.put(fingerprint("a"), paid())
            assert len(str(away.value)) <= 210
            assert str(away.value).isprintable()
            if said != BROKEN["a word"]:
                with pytest.raises(StoreAway):
                    await store.get(fingerprint("a"))
        await store.close()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / _MEBIBYTE < _MOST_MEBIBYTES


async def test_an_entry_of_anything_is_no_step() -> None:
    """What was never a step is not believed, however well it is told."""
    async with redis_that_says(lambda command: bulk(b"{}") if command[0] == b"GET" else OK) as url:
        store = RedisStore(url=url, max_age_seconds=DAY)
        with pytest.raises(NotBelieved):
            await store.get(fingerprint("a"))
        await store.put(fingerprint("a"), paid())
        await store.close()


async def test_many_large_entries_are_got_in_several_exchanges() -> None:
    """Together they would be more than an answer may take. Each of them is what was put."""
    step = paid("x" * 600_000)
    async with redis_that_says(lambda command: bulk(step.written()) if command[0] == b"GET" else OK) as url:
        store = RedisStore(url=url, max_age_seconds=DAY)
        got = await asyncio.gather(*(store.get(fingerprint(number)) for number in range(40)))
        await store.close()
    assert got == [step] * 40


async def test_a_server_that_takes_connections_and_says_nothing() -> None:
    """It is given up after a second, also when it is left. Nobody waits for it in silence."""
    async with asyncio.timeout(30), redis_that_says(_always(b"")) as url:
        store, limits = (
            RedisStore(url=url, max_age_seconds=DAY),
            RedisQuota(url=url, account="a", burst_seconds=1.0),
        )
        with pytest.raises(StoreAway, match=r"^no answer$"):
            await store.get(fingerprint("a"))
        with pytest.raises(LimitsAway, match=r"^no answer$"):
            await limits.exchange(ASKED, share=1.0)
        await store.close()
        await limits.close()


GRANTS: dict[str, Sequence[bytes]] = {
    "not a number": (b"nan", b"0"),
    "infinity": (b"inf", b"0"),
    "more than was asked for": (b"101", b"0"),
    "less than nothing": (b"-1", b"0"),
    "a word": (b"all", b"0"),
    "a wait that is no number": (b"10", b"nan"),
    "a wait without an end": (b"10", b"inf"),
    "a wait of less than nothing": (b"10", b"-1"),
    "one of two": (b"10",),
    "more than one limit": (b"10", b"0", b"10", b"0"),
    "nothing": (),
}


@pytest.mark.parametrize("told", GRANTS.values(), ids=list(GRANTS))
async def test_a_grant_that_cannot_be_meant_is_no_grant(told: Sequence[bytes]) -> None:
    """A number that is none would spoil every sum that it comes into, and hang all calls."""
    async with redis_that_says(_always(array(*map(bulk, told)))) as url:
        limits = RedisQuota(url=url, account="a", burst_seconds=1.0)
        with pytest.raises(LimitsAway):
            await limits.exchange(ASKED, share=1.0)
        await limits.close()


async def test_a_grant_as_it_should_be_is_taken() -> None:
    """All that was asked for, and a wait that is no longer than a day."""
    async with redis_that_says(_always(array(bulk(b"100"), bulk(b"1e9")))) as url:
        limits = RedisQuota(url=url, account="a", burst_seconds=1.0)
        granted = await limits.exchange(ASKED, share=1.0)
        await limits.close()
    assert (granted["tokens"].amount, granted["tokens"].wait_seconds) == (100.0, 86_400.0)

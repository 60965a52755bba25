"""Steps in memory, and steps that are not kept."""

from __future__ import annotations

import pytest

from docsluice_consumer.store.memory_store import MemoryStore, NoStore
from docsluice_consumer.store.step_store import StepStore
from tests.fakes.step_contracts import DAY, PLENTY, AgingStepStoreContract, SetClock, fingerprint, paid


class TestMemorySteps(AgingStepStoreContract):
    """The whole contract but what lasts."""

    def opened(self) -> StepStore:
        return MemoryStore(max_bytes=PLENTY, max_age_seconds=DAY, clock=self.clock)

    async def spoil(self, store: StepStore, fingerprint: str, written: bytes) -> None:
        assert isinstance(store, MemoryStore)
        entry = store._entries[fingerprint]
        store._entries[fingerprint] = type(entry)(entry.written_at, written)


async def test_what_was_put_first_is_forgotten_first() -> None:
    """As much of it as makes room. What is put again is put last."""
    store = MemoryStore(max_bytes=11_000, max_age_seconds=DAY)
    for n in range(4):
        await store.put(fingerprint(n), paid("x" * 2000))
    await store.put(fingerprint(0), paid("y" * 2000))
    await store.put(fingerprint(4), paid("x" * 2000))
    assert [await store.get(fingerprint(n)) is not None for n in range(5)] == [True, False, True, True, True]
    await store.put(fingerprint(5), paid("x" * 9500))
    assert [await store.get(fingerprint(n)) is not None for n in range(6)] == [False] * 5 + [True]


async def test_what_is_larger_than_the_store_drives_nothing_out() -> None:
    """It is not kept."""
    store = MemoryStore(max_bytes=10_000, max_age_seconds=DAY)
    await store.put(fingerprint("small"), paid())
    await store.put(fingerprint("large"), paid("x" * 10_000))
    assert await store.get(fingerprint("large")) is None
    assert await store.get(fingerprint("small")) == paid()


async def test_what_is_too_old_takes_no_memory() -> None:
    """It goes when something new comes."""
    clock = SetClock()
    store = MemoryStore(max_bytes=PLENTY, max_age_seconds=DAY, clock=clock)
    for n in range(100):
        await store.put(fingerprint(n), paid())
    clock.now += 1.5 * DAY
    await store.put(fingerprint("young"), paid())
    assert list(store._entries) == [fingerprint("young")]


async def test_the_bytes_are_counted_right() -> None:
    """After any number of puts, replacements and removals they are those of what is there."""
    store = MemoryStore(max_bytes=50_000, max_age_seconds=DAY)
    for n in range(500):
        await store.put(fingerprint(n * n % 83), paid("x" * (n * 37 % 3000)))
    there = [entry.written for entry in store._entries.values()]
    overhead = (store._bytes - sum(map(len, there))) / len(there)
    assert overhead == pytest.approx(400)
    assert store._bytes <= 50_000
    await store.close()
    assert (store._bytes, store._entries) == (0, {})


async def test_a_store_of_nothing_knows_nothing() -> None:
    """Every step is asked."""
    store: StepStore = NoStore()
    await store.put(fingerprint("a"), paid())
    assert await store.get(fingerprint("a")) is None
    await store.close()

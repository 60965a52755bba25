"""A store that is away: that it is waited for, and how it is passed by."""

from __future__ import annotations

import asyncio

import pytest
import structlog

from docsluice_consumer.analysis.usage import DocumentUsage
from docsluice_consumer.store.memory_store import MemoryStore
from docsluice_consumer.store.retrying_store import RetryingStore
from docsluice_consumer.store.step_store import PaidStep, StoreAway, StoreUnusable
from tests.fakes.lab import Lab
from tests.fakes.samples import steps
from tests.fakes.timer import FakeSleep, ManualTimer, settled

PAID = PaidStep(outputs={"a": "b"}, models={"a": "m"})


class Moody(MemoryStore):
    """A store that is away for so many tries."""

    def __init__(self, *, away_for: int) -> None:
        super().__init__(max_bytes=10**6, max_age_seconds=10**6)
        self.away_for = away_for
        self.tries = 0

    def _maybe_away(self) -> None:
        self.tries += 1
        if self.away_for > 0:
            self.away_for -= 1
            raise StoreAway("connection refused")

    async def get(self, fingerprint: str) -> PaidStep | None:
        self._maybe_away()
        return await super().get(fingerprint)

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        self._maybe_away()
        await super().put(fingerprint, step)


class Pause:
    """Sleeping that takes until somebody ends it."""

    def __init__(self) -> None:
        self.is_over = asyncio.Event()

    async def __call__(self, _seconds: float) -> None:
        await self.is_over.wait()


class Full(MemoryStore):
    """A store that can be read, and not written to."""

    def __init__(self) -> None:
        super().__init__(max_bytes=10**6, max_age_seconds=10**6)
        self.is_full = True

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        if self.is_full:
            raise StoreAway("the disk is full")
        await super().put(fingerprint, step)


def _patient(
    store: MemoryStore, *, is_optional: bool = False, sleep: Pause | None = None
) -> tuple[RetryingStore, ManualTimer]:
    timer = ManualTimer()
    quick = FakeSleep(on_sleep=timer.advance)
    return RetryingStore(store=store, is_optional=is_optional, clock=timer.time, sleep=sleep or quick), timer


async def test_a_store_that_comes_back_has_lost_nothing() -> None:
    """Puts and gets wait meanwhile. It is said once that it is away, and once that it is back."""
    store = Moody(away_for=5)
    patient, _ = _patient(store)
    with structlog.testing.capture_logs() as logs:
        await patient.put("f", PAID)
    assert await patient.get("f") == PAID
    assert [entry["event"] for entry in logs] == ["store.away", "store.back"]
    assert patient.why_away is None


async def test_a_store_that_is_away_for_hours_is_waited_for() -> None:
    """Like a broker: without an end, and without another word."""
    patient, timer = _patient(Moody(away_for=20_000))
    began = timer.time()
    with structlog.testing.capture_logs() as logs:
        assert await patient.get("f") is None
    assert timer.time() - began > 5 * 3600
    assert [entry["event"] for entry in logs] == ["store.away", "store.back"]


async def test_a_store_that_is_away_at_the_start_is_no_failure() -> None:
    """The service starts, and waits for it."""
    patient, _ = _patient(Moody(away_for=1))
    await patient.try_it()
    await patient.try_it()
    assert patient.why_away is None


class Unusable(Moody):
    """One whose password is wrong: for reading, or only for writing."""

    def __init__(self, *, is_read: bool) -> None:
        super().__init__(away_for=0)
        self.is_read = is_read

    async def get(self, fingerprint: str) -> PaidStep | None:
        if not self.is_read:
            raise StoreUnusable("it does not take the password")
        return None

    async def put(self, fingerprint: str, step: PaidStep) -> None:
        raise StoreUnusable("it does not take the password")


@pytest.mark.parametrize("is_read", [True, False])
async def test_a_store_that_can_never_work_is_told_at_the_start(*, is_read: bool) -> None:
    """Before a call is paid whose answer could not be kept. One that is optional is only told of."""
    patient, _ = _patient(Unusable(is_read=is_read))
    with pytest.raises(StoreUnusable, match="password"):
        await patient.try_it()
    optional, _ = _patient(Unusable(is_read=is_read), is_optional=True)
    await optional.try_it()
    assert optional.why_away == "it does not take the password"


async def test_an_optional_store_is_passed_by() -> None:
    """Nobody waits. It is tried again after a few seconds, by one of them."""
    store = Moody(away_for=2)
    patient, timer = _patient(store, is_optional=True)
    began = timer.time()
    assert await patient.get("f") is None
    for _ in range(100):
        await patient.put("f", PAID)
    assert (store.tries, timer.time()) == (1, began)
    timer.advance(6)
    assert await patient.get("f") is None
    assert await patient.get("f") is None
    assert store.tries == 2
    timer.advance(6)
    await patient.put("f", PAID)
    assert await patient.get("f") == PAID
    assert patient.why_away is None


@pytest.mark.parametrize("is_optional", [True, False])
async def test_a_store_that_can_be_read_is_not_back_by_that(*, is_optional: bool) -> None:
    """Of one that is full it is said once that it is away, and once that it is back, however often it is read."""
    store = Full()
    await MemoryStore.put(store, "known", PAID)
    patient, timer = _patient(store, is_optional=is_optional, sleep=Pause())
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            put = asyncio.create_task(patient.put("f", PAID))
            await settled()
            assert await patient.get("known") == PAID
            assert patient.why_away == "the disk is full"
            put.cancel()
            timer.advance(10)
        store.is_full = False
        await patient.put("f", PAID)
    assert [entry["event"] for entry in logs] == ["store.away", "store.back"]


async def test_while_an_answer_cannot_be_kept_no_other_is_asked_for() -> None:
    """A call keeps its place in the queue, and known answers are used."""
    store, pause = Full(), Pause()
    await MemoryStore.put(store, "known", PAID)
    patient, _ = _patient(store, sleep=pause)
    lab = Lab(store=patient, wait_until_store_writable=patient.until_writable, steps=steps()[:1])
    tasks = [asyncio.create_task(lab.analyzer.analyze("first", DocumentUsage()))]
    await settled()
    tasks += [asyncio.create_task(lab.analyzer.analyze(f"text {number}", DocumentUsage())) for number in range(20)]
    await settled()
    assert len(lab.client.requests) == 1
    assert await patient.get("known") == PAID
    tasks.pop().cancel()
    store.is_full = False
    pause.is_over.set()
    await asyncio.gather(*tasks)
    assert len(lab.client.requests) == 20


async def test_a_store_that_nobody_waits_for_is_not_said_to_be_away() -> None:
    """Its documents may have gone to another replica, and nobody here would find out that it is back."""
    patient, _ = _patient(Moody(away_for=10**6), sleep=Pause())
    get = asyncio.create_task(patient.get("f"))
    await settled()
    assert patient.why_away == "connection refused"
    get.cancel()
    await settled()
    assert patient.why_away is None


async def test_in_a_drain_an_answer_that_cannot_be_kept_is_published_all_the_same() -> None:
    """Its document ends with it, and needs it no more."""
    store, pause = Full(), Pause()
    patient, _ = _patient(store, sleep=pause)
    lab = Lab(store=patient, steps=steps()[:1])
    answered = asyncio.create_task(lab.analyzer.analyze("text", DocumentUsage()))
    await settled()
    assert not answered.done()
    patient.leave()
    pause.is_over.set()
    assert await answered
    assert await lab.analyze("another")

"""A store that is away: for how long it is waited for, and how it is passed by."""

from __future__ import annotations

import pytest
import structlog

from consumer.errors import StoreGone
from consumer.store.memory_steps import MemorySteps
from consumer.store.patient_steps import WAIT_SECONDS, PatientSteps
from consumer.store.steps import PaidStep, StoreAway
from tests.fakes.timer import FakeSleep, ManualTimer

PAID = PaidStep(outputs={"a": "b"}, models={"a": "m"})


class Moody(MemorySteps):
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


def _patient(store: Moody, *, is_optional: bool = False) -> tuple[PatientSteps, ManualTimer]:
    timer = ManualTimer()
    sleep = FakeSleep(on_sleep=timer.advance)
    return PatientSteps(store=store, is_optional=is_optional, clock=timer.time, sleep=sleep), timer


async def test_a_store_that_comes_back_has_lost_nothing() -> None:
    """Whoever puts or gets meanwhile waits; it is said once that it is away, and once that it is back."""
    store = Moody(away_for=5)
    patient, _ = _patient(store)
    with structlog.testing.capture_logs() as logs:
        await patient.put("f", PAID)
    assert await patient.get("f") == PAID
    assert [entry["event"] for entry in logs] == ["store.away", "store.back"]
    assert patient.why_away is None


async def test_a_store_that_stays_away_stops_the_service() -> None:
    """After a minute, with the setting that names it and the one that would go on without it."""
    store = Moody(away_for=10**6)
    patient, timer = _patient(store)
    began = timer.time()
    with pytest.raises(StoreGone, match=r"DOCSLUICE_STORE_URL.*connection refused.*DOCSLUICE_STORE_OPTIONAL"):
        await patient.get("f")
    assert timer.time() - began == pytest.approx(WAIT_SECONDS, abs=2)
    assert patient.why_away == "connection refused"


async def test_an_optional_store_is_passed_by() -> None:
    """Nobody waits; it is tried again after a few seconds, by one of them."""
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

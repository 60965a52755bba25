"""One short run of the fault suite, so that it cannot rot; `make faults` is the whole of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.kafka import why_not
from tests import required
from tests.acceptance.faults.ground import Ground, ground
from tests.acceptance.faults.registry import SCENARIOS
from tests.acceptance.faults.replicas import ROOT
from tests.acceptance.faults.trial import Mode, Trial, run


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ground]:
    reason = why_not()
    if reason and required.KAFKA:
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with ground(tmp_path / "kafka") as on:
        yield on


@pytest.mark.kafka
def test_replicas_that_are_killed_lose_nothing(on: Ground, tmp_path: Path) -> None:
    """Killed in the middle of the work and started again: every document has an outcome, and all are committed."""
    trial = Trial(
        scenario=SCENARIOS["kill9"],
        mode="at_least_once",
        seed=7,
        documents=120,
        settings={},
        log_dir=tmp_path / "logs",
    )
    outcome = run(trial, on)
    assert len(outcome.account.lost) == 0
    assert outcome.failures == ()
    assert outcome.account.documents == 120


@pytest.mark.kafka
@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_a_broker_that_is_far_away_is_read(on: Ground, tmp_path: Path, mode: Mode) -> None:
    """Its answers take longer than any look at what has come, and are not missed for that."""
    trial = Trial(
        scenario=SCENARIOS["broker-far"], mode=mode, seed=7, documents=60, settings={}, log_dir=tmp_path / "logs"
    )
    outcome = run(trial, on)
    assert len(outcome.account.lost) == 0
    assert outcome.failures == ()

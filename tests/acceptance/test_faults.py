"""One short run of the fault suite, so that it cannot rot. `make faults` is the whole of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from docsluice_local.kafka import why_not
from tests import required
from tests.acceptance.faults.ground import Ground, ground
from tests.acceptance.faults.registry import SCENARIOS
from tests.acceptance.faults.replicas import ROOT
from tests.acceptance.faults.scenario import Scenario
from tests.acceptance.faults.stage import Stage
from tests.acceptance.faults.trial import Mode, Trial, run


@pytest.fixture(scope="module")
def on(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    if reason := why_not():
        (pytest.fail if required.KAFKA else pytest.skip)(reason)
    with ground(tmp_path_factory.mktemp("kafka")) as on:
        yield on


@pytest.fixture(autouse=True)
def _this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def _trial(name: str, mode: Mode, folder: Path, *, documents: int) -> Trial:
    return Trial(
        scenario=SCENARIOS[name],
        mode=mode,
        seed=7,
        documents=documents,
        settings={},
        log_dir=folder / "logs",
        is_forked=True,
    )


@pytest.mark.kafka
@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_replicas_that_are_killed_lose_nothing(on: Ground, tmp_path: Path, mode: Mode) -> None:
    """Killed in the middle of the work and started again: every document has an outcome, and all are committed."""
    outcome = run(_trial("kill9", mode, tmp_path, documents=120), on)
    assert len(outcome.account.lost) == 0
    assert outcome.failures == ()
    assert outcome.account.documents == 120


async def _killed_in_secret(stage: Stage) -> None:
    """A replica dies with calls in flight that nobody has counted."""
    await stage.begin(stage.documents)
    await stage.until_ended(10)
    for replica in stage.replicas:
        replica.child.send_signal(signal.SIGKILL)


@pytest.mark.kafka
def test_a_call_that_is_paid_again_without_a_kill_is_a_failure(on: Ground, tmp_path: Path) -> None:
    """Where nothing but kills happens, no more may be paid again than was in flight at them."""
    trial = Trial(
        scenario=Scenario(name="secret", play=_killed_in_secret, documents=40, replicas=1, only_kills=True),
        mode="exactly_once",
        seed=7,
        documents=40,
        settings={},
        log_dir=tmp_path / "logs",
        is_forked=True,
    )
    outcome = run(trial, on)
    assert outcome.in_flight == 0
    assert outcome.account.paid_again > 0
    (failure,) = outcome.failures
    assert "paid again" in failure


@pytest.mark.kafka
@pytest.mark.parametrize("mode", ["at_least_once", "exactly_once"])
def test_a_broker_that_is_far_away_is_read(on: Ground, tmp_path: Path, mode: Mode) -> None:
    """Its answers take longer than any look at what has come, and are not missed for that."""
    outcome = run(_trial("broker-far", mode, tmp_path, documents=60), on)
    assert len(outcome.account.lost) == 0
    assert outcome.failures == ()

"""What an earlier release has written is read: its store, its ledger, its commits, its results and dead letters.

The files in tests/fixtures/earlier_release were written by a real service of that release, on a real broker.
"""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from docsluice_consumer.kafka.offsets import CommitPoint, Run, decode
from tests.integration.wire import Record, Wire, document, serving

_FILES = Path(__file__).parents[1] / "fixtures" / "earlier_release"
_WRITTEN: dict[str, Any] = json.loads((_FILES / "records.json").read_text())
_PROVIDER = "http://127.0.0.1:18093/v1"
"""Where the earlier service found its provider. Nothing is there now."""


def _records(topic: str) -> list[Record]:
    return [
        Record(
            key=base64.b64decode(record["key"]),
            value=base64.b64decode(record["value"]),
            headers=tuple((name, base64.b64decode(value)) for name, value in record["headers"]),
        )
        for record in _WRITTEN["records"]
        if record["topic"] == topic
    ]


async def test_its_answers_need_no_call(wire: Wire, tmp_path: Path) -> None:
    """The fingerprints are the same, so the store answers, and the ledger is no damaged file."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    for name in ("steps.sqlite3", "spending.sqlite3"):
        shutil.copy(_FILES / name, state / name)
        (state / name).chmod(0o600)
    await wire.create_topics()
    settings = wire.settings(
        _PROVIDER,
        model="gpt-4o-mini",
        state_dir=state,
        store_url=f"sqlite:///{state}/steps.sqlite3",
        store_max_age_days=36_500,
        budget_usd_per_day="100",
    )
    async with serving(settings):
        await wire.produce(document(f"day-{number}", text) for number, text in enumerate(_WRITTEN["texts"], 1))
        outcomes = await wire.outcomes(len(_WRITTEN["texts"]))
    before = [json.loads(record.value or b"") for record in _records("old.results")]
    assert {outcome.document_id: outcome.fields["outputs"] for outcome in outcomes} == {
        result["document_id"]: result["outputs"] for result in before
    }
    assert {outcome.fields["attempts"] for outcome in outcomes} == {0}
    assert not (state / "spending.damaged").exists()


async def test_its_results_and_dead_letters_are_read(wire: Wire) -> None:
    """By the program that follows the topics: every field that was there is still understood."""
    await wire.create_topics()
    written = [*_records("old.results"), *_records("old.dlq")]
    for role, topic in (("result", "old.results"), ("dead_letter", "old.dlq")):
        await wire.produce(_records(topic), role=role)
    outcomes = await wire.outcomes(len(written))
    (dead_letter,) = [outcome for outcome in outcomes if outcome.is_dead_letter]
    assert len(outcomes) == len(_WRITTEN["texts"]) + 1
    assert dead_letter.fields["reason"] == "invalid_event"


@pytest.mark.parametrize("commit", _WRITTEN["commits"], ids=lambda commit: str(commit["offset"]))
def test_its_maps_of_ended_records_are_read(commit: dict[str, Any]) -> None:
    """Nothing that has ended is repeated after the upgrade."""
    point = CommitPoint(commit["offset"], commit["metadata"])
    assert decode(point, log_end=10**12) == [Run(*run) for run in commit["ended"]]

"""One record, one answer, one file that once took the whole down. `make hostile` is the long form of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.faults.replicas import ROOT
from tests.acceptance.hostile.cases import CASES
from tests.acceptance.hostile.stage import play
from tests.integration.wire import Wire

DOCUMENTS = 40
QUICK = (
    *("24 MB in 400 kB", "header name", "deep JSON", "ten always 500", "body of 16 MB of lists"),
    *("pattern that explodes", "one request a minute, said once", "ledger of NaN", "200 idle connections"),
    "an error that quotes the key",
)


@pytest.mark.kafka
@pytest.mark.parametrize("name", QUICK)
async def test_nothing_single_costs_more_than_itself(
    name: str, kafka_wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ordinary documents beside it all end as results, once. It ends as it should. The service drains with 0."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    seen = await play(
        CASES[name],
        kafka_wire,
        documents=DOCUMENTS,
        folder=tmp_path / "run",
        seed=1,
        timeout_seconds=90,
        is_forked=True,
    )
    assert seen.problems(CASES[name], documents=DOCUMENTS) == []

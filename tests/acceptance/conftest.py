"""Real processes: the programs as people start them, the embedded broker, the rehearsal provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.wire import Wire


@pytest.fixture
def wire(embedded: str) -> Wire:
    return Wire(bootstrap_servers=embedded)


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "program.log"

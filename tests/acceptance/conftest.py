"""Real processes: the programs as people start them, the embedded broker, the rehearsal provider."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local.broker import Broker
from tests.integration.wire import Wire


@pytest.fixture
def wire(embedded: Broker) -> Wire:
    return Wire(bootstrap_servers=embedded.bootstrap_servers)


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "program.log"

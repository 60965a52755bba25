"""Real processes: the programs as people start them, the embedded broker, the rehearsal provider."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.broker import Broker, embedded_broker
from tests.integration.wire import Wire


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    with embedded_broker(data_dir=tmp_path_factory.mktemp("embedded")) as broker:
        yield broker


@pytest.fixture
def wire(embedded: Broker) -> Wire:
    return Wire(bootstrap_servers=embedded.bootstrap_servers)


@pytest.fixture
def log_path(tmp_path: Path) -> Path:
    return tmp_path / "program.log"

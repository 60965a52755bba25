"""Keeps a person's own settings out of the tests, and the clock out of what hypothesis draws. One of each broker."""

from __future__ import annotations

import gc
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from docsluice_local.broker import embedded_broker
from docsluice_local.kafka import why_not
from tests import required  # read before the environment is cleared
from tests.examples import examples
from tests.integration.wire import Wire
from tests.shared_kafka import shared_kafka

# Modules and fixtures are many objects that stay. By default, scanning them takes a sixth of the unit tests' time.
gc.set_threshold(10_000, 10, 10)

_UNIT = Path(__file__).parent / "unit"
_WAITING_END_AT = 0.8

# Nothing is asserted about time, not even that an example takes less than 200 ms.
hypothesis.settings.register_profile("docsluice", deadline=None, max_examples=examples(100))
hypothesis.settings.load_profile("docsluice")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let files that wait for brokers alternate with files that compute: side by side, they keep all cores busy.

    The files that wait end earlier, so that no long one is left over at the end.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    computing = [path for path in files if _UNIT in path.parents]
    waiting = [path for path in files if _UNIT not in path.parents]
    place = {path: number / len(computing) for number, path in enumerate(computing)}
    place |= {path: _WAITING_END_AT * number / len(waiting) for number, path in enumerate(waiting)}
    items[:] = [item for path in sorted(files, key=place.__getitem__) for item in files[path]]


def pytest_collection_finish() -> None:
    """Keep the collector from the tests themselves: they stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The empty folder of tests that ask for none. For each new one, pytest looks through all that it has made."""
    return tmp_path_factory.mktemp("nowhere")


@pytest.fixture(autouse=True)
def _no_settings_of_ours(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, nowhere: Path
) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith(("DOCSLUICE_", "OPENAI_", "KAFKA_")):
            monkeypatch.delenv(name)
    # And away from any .env.
    monkeypatch.chdir(request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else nowhere)
    yield
    if any(nowhere.iterdir()):
        shutil.rmtree(nowhere)
        nowhere.mkdir()


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the embedded broker."""
    with embedded_broker(data_dir=tmp_path_factory.mktemp("embedded")) as broker:
        yield broker.bootstrap_servers


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Apache Kafka."""
    reason = why_not()
    if reason and required.KAFKA:
        pytest.fail(f"DOCSLUICE_REQUIRE_KAFKA=1, but: {reason}")
    if reason:
        pytest.skip(reason)
    ours = tmp_path_factory.getbasetemp()
    with shared_kafka((ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "kafka") as address:
        yield address


@pytest.fixture
def kafka_wire(kafka: str) -> Wire:
    """Apache Kafka, for what needs several members or the topic's own limits."""
    return Wire(bootstrap_servers=kafka)


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Logging is the process's. A test that configures it, as every command does, leaves it as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, levels = (
        root.handlers[:],
        {name: logging.getLogger(name).level for name in ("", "docsluice", "docsluice_consumer", "aiokafka")},
    )
    yield
    root.handlers[:] = handlers
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.configure(**before)

"""Brokers for the tests on the wire: the embedded one, and Apache Kafka where it can be had."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docsluice.cli.program import main
from docsluice_local.broker import Broker, embedded_broker
from docsluice_local.kafka import apache_kafka, why_not
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from tests import required
from tests.integration.guarded_broker import Guarded, guarded_broker
from tests.integration.model_server import Server
from tests.integration.redis_server import RedisServer, redis_server, why_no_redis
from tests.integration.wire import Wire


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def wire(request: pytest.FixtureRequest) -> Wire:
    """Both brokers in turn: one consumer's work must be the same on either."""
    return Wire(bootstrap_servers=request.getfixturevalue(request.param))


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A broker that a test may stop."""
    if request.param == "kafka" and (reason := why_not()):
        (pytest.fail if required.KAFKA else pytest.skip)(reason)
    with (apache_kafka if request.param == "kafka" else embedded_broker)(data_dir=tmp_path / "broker") as broker:
        yield broker


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    """A broker that wants TLS and a password."""
    reason = why_not() or (None if shutil.which("openssl") else "no openssl to make a certificate with")
    if reason:
        (pytest.fail if required.KAFKA else pytest.skip)(reason)
    with guarded_broker(tmp_path_factory.mktemp("guarded")) as broker:
        yield broker


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis of our own, empty, that a test may stop."""
    if reason := why_no_redis():
        (pytest.fail if required.REDIS else pytest.skip)(reason)
    with redis_server(folder=tmp_path) as server:
        yield server


@pytest.fixture
async def provider() -> AsyncIterator[RehearsalProvider]:
    """A rehearsal provider that answers at once and allows everything."""
    async with rehearsal_provider() as provider:
        yield provider


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Runs a command against a server, in a folder of its own: the exit code, the output, and what it said besides."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    monkeypatch.setenv("COLUMNS", "100")

    async def run(server: Server, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        code = await asyncio.to_thread(main, list(arguments))
        out, err = capsys.readouterr()
        assert "sk-secret" not in out + err
        return code, out, err

    return run

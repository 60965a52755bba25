"""What a program gets from `import docsluice`, and what it does not load."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

import docsluice
import docsluice.testing
from docsluice.errors import BrokerAway, ConfigurationError


@pytest.mark.parametrize("room", [docsluice, docsluice.testing])
def test_every_public_name_is_there(room: object) -> None:
    """Each in one room."""
    names = {name for names in room._ROOMS.values() for name in names}  # type: ignore[attr-defined]
    assert sorted(names) == sorted(room.__all__)  # type: ignore[attr-defined]
    for name in names:
        assert getattr(room, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        room.nothing  # type: ignore[attr-defined] # noqa: B018


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        ("import docsluice", "pydantic aiokafka asyncio"),
        ("import docsluice.testing, docsluice.testing.plugin", "pydantic aiokafka docsluice_consumer docsluice_local"),
        ("import docsluice; docsluice.results, docsluice.read_results", "pandas polars docsluice_consumer"),
    ],
)
def test_only_what_is_asked_for_is_loaded(code: str, heavy: str) -> None:
    """Pytest loads our plugin for every project that has docsluice."""
    before = "import sys, pytest; before = set(sys.modules); " if "plugin" in code else "before = set(); "
    said = f"import sys; {before}{code}; print(*(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True).stdout.split()
    assert not set(heavy.split()) & set(loaded)


async def test_a_broker_that_is_away_is_told_in_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    """No trace of the client's, on the terminal or in the exception."""
    nowhere = docsluice.DocumentProducer(bootstrap_servers="127.0.0.1:1", wait_seconds=0)
    with pytest.raises(BrokerAway, match=r"no broker at 127.0.0.1:1: .*bootstrap_servers= names another") as caught:
        async with nowhere:
            pass
    assert "\n" not in str(caught.value)
    assert "Traceback" not in "".join(capfd.readouterr())


def test_a_mistake_is_told_before_anything_is_tried(tmp_path: Path) -> None:
    """Each names the argument or the variable."""
    with pytest.raises(ConfigurationError, match="KAFKA_BOOTSTRAP_SERVERS: must be host:port"):
        docsluice.results(bootstrap_servers="http://localhost")
    with pytest.raises(ConfigurationError, match="DOCSLUICE_KAFKA_SASL_PASSWORD: needed"):
        docsluice.results(security_protocol="SASL_SSL")
    with pytest.raises(ConfigurationError, match="SSL_CAFILE: cannot read"):
        docsluice.results(security_protocol="SSL", ssl_cafile=str(tmp_path / "none.pem"))
    with pytest.raises(ConfigurationError, match="time without a zone"):
        docsluice.results(from_=datetime(2026, 1, 1))  # noqa: DTZ001 - the mistake
    with pytest.raises(ConfigurationError, match="from_: must be"):
        docsluice.results(from_="now")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="group_id"):
        docsluice.results(group_id=" ")
    with pytest.raises(ConfigurationError, match="DOCSLUICE_RESULT_TOPIC"):
        docsluice.results(topic="a b")
    with pytest.raises(ConfigurationError, match="servers: no such argument; there are bootstrap_servers, "):
        docsluice.results(servers="localhost:9092")  # type: ignore[call-arg]


async def test_the_settings_of_the_programs_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment, a file that is named, and arguments above both."""
    monkeypatch.setenv("DOCSLUICE_RESULT_TOPIC", "of.the.environment")
    (tmp_path / "mine.env").write_text("DOCSLUICE_INPUT_TOPIC=of.a.file\n")
    assert docsluice.results().topic == "of.the.environment"
    assert docsluice.results(topic="given").topic == "given"
    assert docsluice.DocumentProducer(env_file=tmp_path / "mine.env").topic == "of.a.file"


async def test_a_producer_that_is_not_open_says_how(docsluice_topics: docsluice.testing.MemoryTopics) -> None:
    """The mistake of everybody who has used another client."""
    with pytest.raises(ConfigurationError, match="async with DocumentProducer"):
        await docsluice.DocumentProducer(topics=docsluice_topics).send(document_id="a", text="T")


def test_documents_are_sent_without_a_loop(docsluice_topics: docsluice.testing.MemoryTopics) -> None:
    """From a script."""
    assert docsluice.send_documents([{"document_id": "a", "text": "T"}], topics=docsluice_topics) == 1
    assert [one.key for one in docsluice_topics.records("documents")] == [b"a"]

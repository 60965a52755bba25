"""The parts that the service is built of, and its start, as far as it needs no broker."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from docsluice.messages import REASONS_OF_RECORDS, REASONS_OF_STEPS
from docsluice_consumer.admission.obstacles import CIRCUIT, CONCURRENCY, GATE
from docsluice_consumer.admission.quota import QUOTAS
from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.provider_clients import ProviderClients
from docsluice_consumer.service import LOOP_DEADLINE_SECONDS, Service
from docsluice_consumer.settings import load_settings
from docsluice_consumer.side_tasks.budget_journal import BudgetJournal
from docsluice_consumer.telemetry.health import why_not_listening
from tests.fakes.sink import FakeSink
from tests.fakes.timer import settled

HOST_IS_WRONG = "DOCSLUICE_HTTP_HOST: {} is no address of this machine; choose one that is, or 0.0.0.0 for all"


async def _problem_of_listening(host: str, port: int) -> str:
    settings = load_settings({"openai_base_url": "http://unused", "http_host": host, "http_port": port})
    with pytest.raises(ConfigurationError) as caught:
        await Service(settings).run(asyncio.Event())
    (problem,) = caught.value.problems
    return problem


@pytest.mark.parametrize("host", ["203.0.113.1", "2001:db8::1", "x" * 70, ".."])
async def test_a_host_that_is_not_ours_is_blamed_itself(host: str) -> None:
    """Another port would not help: the address is another machine's, or no address at all."""
    assert await _problem_of_listening(host, 0) == HOST_IS_WRONG.format(host)


async def test_a_port_that_is_taken_is_blamed_itself() -> None:
    """The host is right."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        assert await _problem_of_listening("127.0.0.1", port) == (
            f"DOCSLUICE_HTTP_PORT: cannot listen on port {port} of 127.0.0.1 (Address already in use); choose another"
        )


async def test_a_store_that_can_never_work_ends_the_start(tmp_path: Path) -> None:
    """By its setting and its place, with what is wrong with it, and before the broker is asked."""
    (tmp_path / "file").write_text("no folder")
    url = f"sqlite:///{tmp_path}/file/x/steps.sqlite3"
    settings = load_settings({"openai_base_url": "http://unused", "http_port": 0, "store_url": url})
    with pytest.raises(ConfigurationError) as caught:
        await Service(settings).run(asyncio.Event())
    (problem,) = caught.value.problems
    assert problem.startswith(f"DOCSLUICE_STORE_URL: {tmp_path}/file/x/steps.sqlite3 cannot be used: not a directory")
    assert "DOCSLUICE_STORE_OPTIONAL" in problem


@pytest.mark.parametrize(
    ("error", "named"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "DOCSLUICE_HTTP_HOST: "),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "DOCSLUICE_HTTP_HOST: "),
        (OSError(errno.EAFNOSUPPORT, "x"), "DOCSLUICE_HTTP_HOST: "),
        (OSError("could not bind on any address out of [('203.0.113.1', 1)]"), "DOCSLUICE_HTTP_HOST: "),
        (OSError(errno.EACCES, "x"), "DOCSLUICE_HTTP_PORT: "),
        (OSError(errno.EMFILE, "x"), "DOCSLUICE_HTTP_HOST, DOCSLUICE_HTTP_PORT: "),
    ],
)
def test_whatever_keeps_us_from_listening_blames_a_setting(error: OSError, named: str) -> None:
    """The one to change, or both where neither can be told to be at fault. Newer Pythons give no number."""
    assert why_not_listening(error, host="h", port=1).startswith(named)


def test_what_is_neither_is_told_with_its_cause() -> None:
    """In the system's words."""
    problem = why_not_listening(OSError(errno.EMFILE, "x"), host="h", port=1)
    assert problem.endswith(f"cannot listen on h:1 ({os.strerror(errno.EMFILE)})")


async def test_a_limit_on_dead_letters_makes_it_not_ready() -> None:
    """As the settings have it, and going on makes it ready again."""
    built = Service(load_settings({"openai_base_url": "http://unused", "dead_letter_max_consecutive": 2}))
    built._not_ready = None
    await built._dead_letter_hold.wait_to_publish("undecodable")
    assert built.why_not_ready() is None
    held = asyncio.create_task(built._dead_letter_hold.wait_to_publish("undecodable"))
    await settled()
    assert "2 dead letters in a row" in (built.why_not_ready() or "")
    built.resume()
    await held
    assert built.why_not_ready() is None


async def test_a_limit_on_their_share_is_as_the_settings_have_it() -> None:
    """A quarter, once a hundred documents have ended."""
    dead_letter_hold = Service(
        load_settings({"openai_base_url": "http://unused", "dead_letter_max_ratio": 0.25})
    )._dead_letter_hold
    for number in range(99):
        if number % 4 == 0:
            await dead_letter_hold.wait_to_publish("undecodable")
        else:
            dead_letter_hold.result()
    held = asyncio.create_task(dead_letter_hold.wait_to_publish("undecodable"))
    await settled()
    assert dead_letter_hold.pause_reason()
    dead_letter_hold.resume()
    await held


@pytest.mark.parametrize("loop", ["poll", "commit"])
async def test_a_loop_that_hangs_is_a_reason_to_restart(loop: str) -> None:
    """Alive is a service whose loops both move, or that has not come so far yet."""
    built = Service(load_settings({"openai_base_url": "http://unused"}))
    assert built.why_not_live() is None
    now, long_ago = time.monotonic(), time.monotonic() - LOOP_DEADLINE_SECONDS - 1
    built._source = Mock(polled_at=now, committed_at=now)
    assert built.why_not_live() is None
    setattr(built._source, "polled_at" if loop == "poll" else "committed_at", long_ago)
    assert built.why_not_live() == f"the {loop} loop has not moved for 120 seconds"


async def test_a_side_task_that_dies_ends_the_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With what it died of, which the program makes exit code 1, and everything is closed."""
    bug = TypeError("a bug")
    built = Service(
        load_settings({"openai_base_url": "http://unused", "budget_usd_per_hour": 1, "state_dir": tmp_path})
    )

    async def started(stop: asyncio.Event, cleanup: contextlib.AsyncExitStack) -> tuple[None, None]:
        await built._admission_of(stop, cleanup)
        return None, None

    async def dies(_: object) -> None:
        raise bug

    monkeypatch.setattr(built, "_start", started)
    monkeypatch.setattr(BudgetJournal, "_keep", dies)
    with pytest.raises(TypeError, match="a bug"):
        await built.run(asyncio.Event())


async def test_the_counters_that_exist_before_anything_happens() -> None:
    """Each dead letter of a step names one of the pipeline's, and each wait a limit that is set."""
    settings = load_settings({"openai_base_url": "http://unused", "requests_per_minute": 60})
    built = Service(settings)
    client = ProviderClients(built._providers, max_connections=1)
    async with contextlib.AsyncExitStack() as cleanup:
        admission, _ = await built._admission_of(asyncio.Event(), cleanup)
        built._pipeline_of(client, FakeSink(), admission)
    await client.close()
    lines = built._metrics.exposition().decode().splitlines()
    labels = {line.rpartition(" ")[0] for line in lines}
    prefix = "docsluice_dead_letters_total"
    assert {label for label in labels if label.startswith(prefix + "{") and 'step=""' in label} == {
        f'{prefix}{{reason="{reason}",step=""}}' for reason in REASONS_OF_RECORDS
    }
    assert {label for label in labels if label.startswith(prefix + "{") and 'step=""' not in label} == {
        f'{prefix}{{reason="{reason}",step="{step}"}}'
        for reason in REASONS_OF_STEPS
        for step in ("summary", "category", "keywords")
    }
    prefix = "docsluice_admission_wait_seconds_total"
    assert {label for label in labels if label.startswith(prefix + "{")} == {
        f'{prefix}{{constraint="{constraint}"}}' for constraint in (CONCURRENCY, *QUOTAS, GATE, CIRCUIT)
    }

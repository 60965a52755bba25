"""`follow` looks at the metrics of consumers, and of whatever else answers there."""

from __future__ import annotations

import asyncio
import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiokafka import AIOKafkaProducer

from docsluice_producer.command_line.exits import Exit
from docsluice_producer.metrics import metrics_poller as poller_module
from docsluice_producer.metrics.finding import Finding
from docsluice_producer.metrics.metrics_poller import MetricsPoller
from tests.fakes.outcomes import result
from tests.fakes.screen import screen
from tests.integration.producer_process import producer, run, said
from tests.integration.small_broker import Replica
from tests.integration.wire import WATCHDOG_SECONDS, Wire

NOBODY = "http://localhost:1/metrics"


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    one = Replica()
    await one.start()
    yield one
    await one.close()


@pytest.fixture
def wire(embedded: str) -> Wire:
    """One broker will do: it is the metrics that matter here."""
    return Wire(bootstrap_servers=embedded)


@pytest.fixture
async def stranger() -> AsyncIterator[str]:
    """The base URL of a server that is no consumer, and answers in a way of its own, by the path."""
    over = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        kind = request.match_info["kind"]
        if kind == "page":
            return web.Response(text="<html>", content_type="text/html")
        if kind == "bytes":
            return web.Response(body=b"docsluice_backlog_documents \xff\n")
        if kind == "silent":
            await over.wait()
        response = web.StreamResponse()
        await response.prepare(request)
        while kind == "endless":
            await response.write(b"#" * 65_536)
        raise ConnectionResetError

    app = web.Application()
    app.add_routes([web.get("/{kind}", answer)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    over.set()
    await runner.cleanup()


PAUSE_SECONDS = 0.05
"""Long enough for the looking to end between two looks, and not with a connection half made."""


async def looks(count: int, *urls: str) -> list[Finding]:
    """What so many looks find."""
    found: list[Finding] = []
    enough = asyncio.Event()

    def tell(finding: Finding) -> None:
        found.append(finding)
        if len(found) >= count:
            enough.set()

    async with (
        asyncio.timeout(WATCHDOG_SECONDS),
        MetricsPoller(urls=urls, tell=tell, pause_seconds=PAUSE_SECONDS).looking(),
    ):
        await enough.wait()
    return found[:count]


async def test_two_looks_find_what_limits(replica: Replica) -> None:
    """The growth between two looks at a consumer's own metrics is what is told. A URL given twice counts once."""
    replica.metrics.backlog_documents.set(7)
    first, second = await looks(2, replica.url, replica.url)
    assert "limited by" not in first.sentence
    assert second.sentence.startswith("limited by tokens (75% of the waiting): ")
    assert "7 documents left to do" in second.sentence


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("/page", "answers, and not as a consumer"),
        ("/bytes", "answers, and not as a consumer"),
        ("/endless", "answers, and not as a consumer"),
        ("/no/such", "answers 404"),
        ("/broken", "does not answer ("),
        ("/silent", "does not answer (no answer in time)"),
    ],
)
async def test_what_is_no_consumer_is_told(
    stranger: str, path: str, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever an endpoint does, the line says that it is no consumer, and the looking goes on."""
    if path == "/silent":
        monkeypatch.setattr(poller_module, "_TIMEOUT_SECONDS", 0.2)
    for finding in await looks(2, stranger + path):
        assert finding.sentence.startswith(f"{stranger.removeprefix('http://')}{path} {problem}")


async def test_nobody_there_is_told_beside_the_others(replica: Replica) -> None:
    """A replica that is away is named without the password to it, and the others are told as ever."""
    away = NOBODY.replace("localhost", "user:secret@localhost")
    _, second = await looks(2, away, replica.url)
    assert second.sentence.startswith("limited by tokens")
    assert second.sentence.endswith(" · localhost:1 does not answer (connection refused): not counted")


async def test_a_name_that_is_not_known_is_told() -> None:
    """A host that nobody knows, and one that nobody can, end nothing."""
    (first,) = await looks(1, "http://nowhere.invalid/metrics", "http://a..b/metrics")
    assert "nowhere.invalid does not answer (its name is not known)" in first.sentence
    assert "a..b does not answer (" in first.sentence


async def test_without_urls_nothing_is_looked_at() -> None:
    """No URL, no look."""
    found: list[Finding] = []
    async with MetricsPoller(urls=(), tell=found.append, pause_seconds=0).looking():
        await asyncio.sleep(0)
    assert found == []


async def test_a_replica_that_is_back_is_compared_anew() -> None:
    """Once a replica that was away answers twice, what limits it is told again."""
    replica = Replica()
    port = await replica.start()
    told: asyncio.Queue[str] = asyncio.Queue()
    poller = MetricsPoller(
        urls=[replica.url], tell=lambda finding: told.put_nowait(finding.sentence), pause_seconds=PAUSE_SECONDS
    )

    async def until(words: str) -> None:
        while words not in await told.get():
            pass

    async with asyncio.timeout(WATCHDOG_SECONDS), poller.looking():
        await until("limited by tokens (75% of the waiting)")
        await replica.close()
        await until("does not answer (connection refused)")
        replica = Replica()
        await replica.start(port)
        await until("what limits is known at the next look")
        await until("limited by tokens (75% of the waiting)")
    await replica.close()


async def test_follow_says_what_limits(wire: Wire, replica: Replica) -> None:
    """`follow` says on standard error what limits and which replica is away, and ends as ever."""
    await wire.create_topics()
    topics = ["--result-topic", wire.topics["result"], "--dead-letter-topic", wire.topics["dead_letter"]]
    urls = ["--metrics-url", replica.url, "--metrics-url", NOBODY]
    async with producer("follow", *topics, "--bootstrap-servers", wire.bootstrap_servers, *urls) as process:
        line = await said(process, "limited by tokens (75% of the waiting)")
        assert line.endswith("localhost:1 does not answer (connection refused): not counted\n")
        process.terminate()
        out, _ = await process.communicate()
    assert process.returncode == Exit.TERMINATED
    assert out.startswith(b"0 results, 0 dead letters\n")


class Terminal:
    """A program on a terminal, and what was written there."""

    def __init__(self) -> None:
        self.written = ""
        self._read = 0
        self._ours, self.theirs = pty.openpty()

    async def until(self, words: str | None) -> None:
        """Wait for these words behind the last that were waited for. None waits for the end."""
        while words is None or (found := self.written.find(words, self._read)) < 0:
            try:
                came = await asyncio.to_thread(os.read, self._ours, 65_536)
            except OSError:  # what Linux calls the end of a terminal
                came = b""
            if not came:
                assert words is None, self.written
                return
            self.written += came.decode(errors="replace")
        self._read = found + len(words)

    def release(self) -> None:
        """Only the program holds the other end now."""
        os.close(self.theirs)

    def close(self) -> None:
        os.close(self._ours)


async def test_the_line_stays_below_the_outcomes(wire: Wire, replica: Replica) -> None:
    """On a terminal the line stands under each outcome as it comes, and nothing is left of it in the end."""
    await wire.create_topics()
    arguments = ["--result-topic", wire.topics["result"], "--dead-letter-topic", wire.topics["dead_letter"]]
    arguments += ["--bootstrap-servers", wire.bootstrap_servers, "--metrics-url", replica.url, "--until", "2"]
    first, second = result(1), result(2)
    terminal = Terminal()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "docsluice_producer", "follow", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=terminal.theirs,
        stderr=terminal.theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "60"},
    )
    terminal.release()
    client = AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers)
    await client.start()
    try:
        async with asyncio.timeout(WATCHDOG_SECONDS):
            await terminal.until("nothing left to do")
            await client.send_and_wait(wire.topics["result"], first.model_dump_json().encode())
            await terminal.until(first.document_id)
            await terminal.until("nothing left to do")
            meanwhile = screen(terminal.written)
            await client.send_and_wait(wire.topics["result"], second.model_dump_json().encode())
            await terminal.until(None)
            assert await process.wait() == Exit.DONE
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        await client.stop()
        terminal.close()
    assert len([line for line in meanwhile if line.startswith(f"{first.document_id}  ")]) == 1
    assert meanwhile[-1].endswith("nothing left to do")
    ended = screen(terminal.written)
    assert ended[-2] == "2 results, 0 dead letters"
    assert not any("left to do" in line or "next look" in line or "limited by" in line for line in ended)


async def test_follow_says_nothing_of_limits_unasked(wire: Wire) -> None:
    """Without --metrics-url there is no line about limits."""
    await wire.create_topics()
    topics = ["--result-topic", wire.topics["result"], "--dead-letter-topic", wire.topics["dead_letter"]]
    _, _, err = await run("follow", *topics, "--bootstrap-servers", wire.bootstrap_servers, "--timeout-seconds", "1")
    assert len(err.splitlines()) == 2

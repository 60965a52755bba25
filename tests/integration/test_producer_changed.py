"""`docsluice send --if-changed`: only what has no result yet."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Self

import pytest
from aiokafka import AIOKafkaProducer

from docsluice.messages import result_headers, result_id
from docsluice_local.rehearsal.provider import RehearsalProvider
from docsluice_producer.command_line.exits import Exit
from tests.fakes.outcomes import result
from tests.integration.producer_process import producer, run, said
from tests.integration.small_broker import Replica
from tests.integration.wire import Wire, serving

VERSION, OTHER_VERSION = "0123456789ab", "ba9876543210"
NOBODY = "http://localhost:1/metrics"


def rows(*documents: str | tuple[str, str]) -> bytes:
    pairs = [(one, "text") if isinstance(one, str) else one for one in documents]
    return b"".join(json.dumps({"document_id": name, "text": text}).encode() + b"\n" for name, text in pairs)


def sending(wire: Wire, *flags: str, version: str | None = VERSION) -> list[str]:
    which = ["--pipeline-version", version] if version else []
    topics = ["--topic", wire.topics["input"], "--result-topic", wire.topics["result"]]
    return ["send", "-", "--if-changed", *which, *topics, "--bootstrap-servers", wire.bootstrap_servers, *flags]


class Results:
    """Writes results as the consumer does."""

    def __init__(self, wire: Wire, *, transactional_id: str | None = None) -> None:
        self._topic = wire.topics["result"]
        self.client = AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers, transactional_id=transactional_id)

    async def __aenter__(self) -> Self:
        await self.client.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.client.stop()

    async def add(self, document_id: str, text: str = "text", version: str = VERSION) -> None:
        identity = result_id(document_id=document_id, text=text, pipeline_version=version)
        one = result(document_id=document_id, result_id=identity, pipeline_version=version)
        value = one.model_dump_json().encode()
        await self.client.send_and_wait(self._topic, value, headers=result_headers(one, group_id="g"))

    async def junk(self) -> None:
        """What is no result, and what only looks like one."""
        id_of_d = result_id(document_id="d", text="text", pipeline_version=VERSION).encode()
        for headers in ([], [("ce_id", b"\xff")], [("ce_id", id_of_d)], [("ce_type", b"x"), ("ce_id", id_of_d)]):
            await self.client.send_and_wait(self._topic, VERSION.encode(), headers=headers)
        await self.client.send_and_wait(
            self._topic, None, key=b"d", headers=result_headers(result(result_id=id_of_d.decode()), group_id="g")
        )


async def sent_ids(wire: Wire) -> list[str]:
    count = await wire.count("input")
    return [record.key.decode() async for record in wire.read(wire.topics["input"], count=count)]


def passed_over(out: str) -> Sequence[str]:
    return [line for line in out.splitlines() if line.startswith("passed over")]


async def test_what_has_a_result_is_not_sent(wire: Wire) -> None:
    """A document whose text has changed, or whose result is of another version, is. What else is there counts not."""
    await wire.create_topics(partitions=3)
    async with Results(wire) as results:
        await results.add("a")
        await results.add("b", "old text")
        await results.add("c", version=OTHER_VERSION)
        await results.junk()
        await results.add("e")
    code, out, err = await run(*sending(wire), stdin=rows("a", "b", "c", "d", "e"))
    assert (code, len(err.splitlines())) == (Exit.DONE, 1)
    assert out.startswith(f"sent 3 documents to {wire.topics['input']} in ")
    assert passed_over(out) == [f"passed over 2 documents that have a result under pipeline version {VERSION}"]
    assert sorted(await sent_ids(wire)) == ["b", "c", "d"]


async def test_a_dry_run_counts_and_sends_nothing(wire: Wire) -> None:
    """It looks at the results as the sending would."""
    await wire.create_topics()
    async with Results(wire) as results:
        await results.add("a")
    code, out, _ = await run(*sending(wire, "--dry-run"), stdin=rows("a", "b", "c", "b"))
    assert code == Exit.DONE
    assert out.startswith(f"dry run: 2 documents would be sent to {wire.topics['input']}, ")
    assert passed_over(out) == [
        f"passed over 1 document that has a result under pipeline version {VERSION}",
        "passed over 1 document that has id and text of an earlier one",
    ]
    assert await wire.count("input") == 0


async def test_a_limit_is_of_what_is_sent(wire: Wire) -> None:
    """What is skipped takes nothing of it, nor does the same document a second time."""
    await wire.create_topics()
    async with Results(wire) as results:
        await results.add("a")
    code, out, _ = await run(*sending(wire, "--limit", "2"), stdin=rows("a", "b", "b", "c", "d"))
    assert code == Exit.DONE
    assert len(passed_over(out)) == 2
    assert await sent_ids(wire) == ["b", "c"]


async def test_without_results_all_are_sent(wire: Wire) -> None:
    """Where there is no result topic yet, nothing is done. None is made by looking for it."""
    missing = ["--result-topic", f"{wire.name}.none"]
    await wire.create_topics()
    for _ in range(2):
        code, out, err = await run(*sending(wire, *missing), stdin=rows("a", "b"))
        assert (code, err) == (Exit.DONE, f"there is no topic {wire.name}.none: nothing is done yet\n")
        assert out.startswith("sent 2 documents")
    code, _, err = await run(*sending(wire), stdin=rows("a"))
    assert (code, err) == (Exit.DONE, "")


async def test_a_version_that_no_result_has_is_told(wire: Wire) -> None:
    """It may not be the one that was meant, and all are sent."""
    await wire.create_topics()
    async with Results(wire) as results:
        await results.add("a", version=OTHER_VERSION)
    _, out, err = await run(*sending(wire), stdin=rows("a"))
    assert err.splitlines()[-1] == f"no result of pipeline version {VERSION} among 1 result"
    assert out.startswith("sent 1 document ")


async def test_only_committed_results_count(wire: Wire) -> None:
    """A result of an aborted transaction, or of one that is still open, is none, and neither is waited for."""
    await wire.create_topics()
    async with (
        Results(wire, transactional_id=f"{wire.name}.1") as results,
        Results(wire, transactional_id=f"{wire.name}.2") as others,
    ):
        await results.client.begin_transaction()
        await results.add("a")
        await results.client.commit_transaction()
        await results.client.begin_transaction()
        await results.add("b")
        await results.client.abort_transaction()
        code, _, _ = await run(*sending(wire), stdin=rows("a", "b", "c"))
        assert (code, await sent_ids(wire)) == (Exit.DONE, ["b", "c"])
        await others.client.begin_transaction()
        await others.add("d")
        code, _, _ = await run(*sending(wire), stdin=rows("a", "d"))
        assert (code, await sent_ids(wire)) == (Exit.DONE, ["b", "c", "d"])
        await others.client.abort_transaction()


async def test_what_a_consumer_has_done_is_done(wire: Wire, provider: RehearsalProvider) -> None:
    """From end to end: all, then nothing, then what changed, and under another pipeline all again."""
    await wire.create_topics()
    settings = wire.settings(provider.base_url)
    async with serving(settings) as service:
        asked = sending(wire, "--metrics-url", f"http://127.0.0.1:{service.http_port}/metrics", version=None)
        _, out, _ = await run(*asked, stdin=rows("a", "b", "c"))
        assert out.startswith("sent 3 documents")
        await wire.outcomes(3)
        _, out, _ = await run(*asked, stdin=rows("a", "b", "c"))
        assert out.startswith("sent 0 documents")
        _, out, _ = await run(*asked, stdin=rows("a", ("b", "new text"), "c"))
        assert out.startswith("sent 1 document ")
        await wire.outcomes(4)
        _, out, _ = await run(*asked, stdin=rows("a", "b", "c", ("b", "new text")))
        assert out.startswith("sent 0 documents")
    async with serving(wire.settings(provider.base_url, mode="fused")) as service:
        asked = sending(wire, "--metrics-url", f"http://127.0.0.1:{service.http_port}/metrics", version=None)
        _, out, _ = await run(*asked, stdin=rows("a", ("b", "new text"), "c"))
        assert out.startswith("sent 3 documents")
        await wire.outcomes(7)
        _, out, _ = await run(*asked, stdin=rows("a", ("b", "new text"), "c"))
        assert out.startswith("sent 0 documents")
    assert await sent_ids(wire) == ["a", "b", "c", "b", "a", "b", "c"]


@pytest.fixture
async def replicas() -> AsyncIterator[list[Replica]]:
    """Three consumers, of which the last runs another pipeline."""
    found = [Replica() for _ in range(3)]
    for one, version in zip(found, (VERSION, VERSION, OTHER_VERSION), strict=True):
        one.metrics.build_info.labels(version="1", pipeline_version=version).set(1)
        await one.start()
    yield found
    for one in found:
        await one.close()


@pytest.fixture
async def done(embedded: str) -> Wire:
    """A broker with a result of document a. One will do, for it is the consumers that matter here."""
    wire = Wire(bootstrap_servers=embedded)
    await wire.create_topics()
    async with Results(wire) as results:
        await results.add("a")
    return wire


def asking(*urls: str) -> list[str]:
    return [word for url in urls for word in ("--metrics-url", url)]


async def test_the_version_is_that_of_the_consumers(done: Wire, replicas: list[Replica]) -> None:
    """Those that answer must agree. One that does not is told."""
    first, second, _ = replicas
    flags = asking(first.url, NOBODY, second.url)
    code, out, err = await run(*sending(done, *flags, version=None), stdin=rows("a", "b"))
    assert (code, passed_over(out)) == (
        Exit.DONE,
        [f"passed over 1 document that has a result under pipeline version {VERSION}"],
    )
    place = first.url.removeprefix("http://").removesuffix("/metrics")
    assert err.splitlines()[:2] == [
        "localhost:1 does not answer (connection refused): not counted",
        f"pipeline version {VERSION}, which {place} runs",
    ]


async def test_the_consumer_on_this_machine_is_asked_unasked(done: Wire, replicas: list[Replica]) -> None:
    """At the port that its settings give it."""
    port = replicas[0].url.removesuffix("/metrics").rpartition(":")[2]
    _, out, _ = await run(*sending(done, version=None), stdin=rows("a"), environment={"DOCSLUICE_HTTP_PORT": port})
    assert out.startswith("sent 0 documents")


async def test_consumers_that_disagree_end_it(done: Wire, replicas: list[Replica]) -> None:
    """Both are named with what they run, and nothing is sent."""
    first, _, other = replicas
    code, out, err = await run(*sending(done, *asking(first.url, other.url), version=None), stdin=rows("a", "b"))
    assert (code, out, len(err.splitlines())) == (Exit.FAULT, "", 1)
    for replica, version in ((first, VERSION), (other, OTHER_VERSION)):
        assert f"{replica.url.removeprefix('http://').removesuffix('/metrics')} runs {version}" in err
    assert await done.count("input") == 0


async def test_no_consumer_is_told_with_the_ways_out(done: Wire, replicas: list[Replica]) -> None:
    """One line: what was tried, and each of the three ways to say the version. A consumer of old names none."""
    nameless = Replica()
    await nameless.start()
    for url, problem in (
        (NOBODY, "localhost:1 does not answer (connection refused)"),
        (nameless.url, "names no pipeline version"),
    ):
        code, out, err = await run(*sending(done, "--metrics-url", url, version=None), stdin=rows("a"))
        assert (code, out, len(err.splitlines())) == (Exit.FAULT, "", 1)
        ways = ("--pipeline-version V", "docsluice check", "--metrics-url", "DOCSLUICE_HTTP_PORT")
        for words in (problem, *ways):
            assert words in err
    await nameless.close()
    assert await done.count("input") == 0


async def test_a_signal_before_anything_is_sent() -> None:
    """While results are still being looked for, SIGTERM ends it in order, and says that nothing was sent."""
    wire = Wire(bootstrap_servers="localhost:1")
    async with producer(*sending(wire, "--dry-run", "--wait-seconds", "80")) as process:
        await said(process, "no broker at localhost:1")
        process.terminate()
        out, err = await process.communicate()
    assert (process.returncode, out) == (Exit.TERMINATED, b"")
    assert err == b"docsluice-producer: stopped before anything was sent\n"

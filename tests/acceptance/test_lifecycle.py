"""The consumer as a process: signals, crashes, exit codes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from docsluice_local.process import Child
from docsluice_local.rehearsal.provider import rehearsal_provider
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.acceptance import programs
from tests.integration.wire import Wire, document, until

DOCUMENTS = 60


async def _finished(wire: Wire, count: int) -> set[str]:
    """The ids of the first `count` outcomes, each of which must be a result."""
    found = await wire.outcomes(count)
    assert not any(outcome.is_dead_letter for outcome in found)
    return {outcome.document_id for outcome in found}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_stopped_in_the_middle_and_started_again(wire: Wire, log_path: Path, number: signal.Signals) -> None:
    """Told to stop, or killed, in the middle of the work and started again: no document is missing."""
    await wire.create_topics(partitions=2)
    await wire.produce(document(f"d{n}", f"Text {n}.") for n in range(DOCUMENTS))
    async with rehearsal_provider(RehearsalSettings(median_seconds=0.2, sigma=0.5)) as provider:
        # A static member takes its own place back at once, where a new one waits for the dead one's session to end.
        member = {"DOCSLUICE_GROUP_INSTANCE_ID": "one", "DOCSLUICE_MAX_CONCURRENCY": "8"}
        settings = programs.environment(wire, provider.base_url, **member)
        # How a real one starts and ends by SIGTERM is the promise. kill -9 ends a fork just as well.
        program = programs.consumer if number is signal.SIGTERM else programs.forked_consumer
        child = program(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)

            async def halfway() -> bool:
                return await wire.count("result") > DOCUMENTS // 3

            await until(halfway, what="a third of the documents are done")
            child.send_signal(number)
            code = await asyncio.to_thread(child.wait, timeout_seconds=60)
            done = await wire.count("result")
            assert done < DOCUMENTS, "stopped too late to prove anything"
            asked_before = len(provider.calls)
            await asyncio.to_thread(programs.start, child, settings)
            ids: set[str] = set()

            async def all_there() -> bool:
                ids.update(await _finished(wire, await wire.count("result")))
                return len(ids) == DOCUMENTS

            await until(all_there, what="every document has its result")
        finally:
            await asyncio.to_thread(child.stop)
        assert ids == {f"d{n}" for n in range(DOCUMENTS)}
        if number is signal.SIGTERM:
            assert code == 0
            # Drained: what had been begun was finished, so the second process asks only for the rest.
            assert asked_before == 3 * done
            assert len(provider.calls) == 3 * DOCUMENTS
            assert await wire.count("result") == DOCUMENTS


async def test_a_second_signal_ends_it_at_once(wire: Wire, log_path: Path) -> None:
    """A person who insists need not wait for a drain."""
    await wire.create_topics()
    await wire.produce([document("slow")])
    async with rehearsal_provider(RehearsalSettings(median_seconds=300)) as provider:
        settings = programs.environment(wire, provider.base_url, DOCSLUICE_DRAIN_SECONDS="600")
        child = programs.consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)

            async def asked() -> bool:
                return len(provider.calls) > 0

            async def draining() -> bool:
                return "service.draining" in child.log_tail()

            await until(asked, what="the slow call is under way")
            child.send_signal(signal.SIGTERM)
            await until(draining, what="the drain has begun")
            child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(child.wait, timeout_seconds=30) == -signal.SIGTERM
        finally:
            await asyncio.to_thread(child.kill)


async def test_a_bad_key_stops_with_exit_code_one(wire: Wire, log_path: Path) -> None:
    """A key that is not accepted ends the process with 1 and a sentence, without a traceback and without the key."""
    await wire.create_topics()
    await wire.produce([document("d")])
    async with rehearsal_provider(RehearsalSettings(api_key="sk-right")) as provider:
        settings = programs.environment(wire, provider.base_url, OPENAI_API_KEY="sk-very-wrong")
        child = programs.consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(child.start)
            assert await asyncio.to_thread(child.wait, timeout_seconds=60) == 1
        finally:
            await asyncio.to_thread(child.kill)
    log = child.log_tail()
    assert "OPENAI_API_KEY" in log
    assert "Traceback" not in log
    assert "sk-very-wrong" not in log
    assert await wire.count("dead_letter") == 0


BAD_SETTINGS = {
    "no provider": ({}, "OPENAI_API_KEY"),
    "not a number": ({"OPENAI_API_KEY": "x", "DOCSLUICE_MAX_CONCURRENCY": "many"}, "DOCSLUICE_MAX_CONCURRENCY"),
    "a limit of zero": ({"OPENAI_API_KEY": "x", "DOCSLUICE_REQUESTS_PER_MINUTE": "0"}, "DOCSLUICE_REQUESTS_PER_MINUTE"),
    "an unknown mode": ({"OPENAI_API_KEY": "x", "DOCSLUICE_MODE": "both"}, "DOCSLUICE_MODE"),
    "one topic for all": ({"OPENAI_API_KEY": "x", "DOCSLUICE_RESULT_TOPIC": "documents"}, "DOCSLUICE_RESULT_TOPIC"),
    "a missing file": ({"OPENAI_API_KEY": "x", "DOCSLUICE_PIPELINE": "nowhere.yaml"}, "DOCSLUICE_PIPELINE"),
    "SASL without a user": (
        {"OPENAI_API_KEY": "x", "DOCSLUICE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL"},
        "DOCSLUICE_KAFKA_SASL_USERNAME",
    ),
}


@pytest.mark.parametrize("case", list(BAD_SETTINGS))
def test_bad_settings_exit_with_two(case: str) -> None:
    """One line for each problem, naming the variable, and exit code 2."""
    settings, named = BAD_SETTINGS[case]
    ended = programs.run("consumer", "run", settings=settings)
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


BAD_PIPELINES = {
    "not YAML": ("tasks: [", "not YAML"),
    "no tasks": ("name: p\ntasks: []", "tasks"),
    "unknown output": ("name: p\ntasks: [{name: t, prompt: x, output: {type: poem}}]", "tasks.t.output"),
    "one label": ("name: p\ntasks: [{name: t, prompt: x, output: {type: choice, labels: [a]}}]", "labels"),
    "twice the same name": (
        "name: p\ntasks: [{name: t, prompt: x, output: {type: text}}, {name: t, prompt: y, output: {type: text}}]",
        "once",
    ),
    "a misspelt field": ("name: p\ntasks: [{name: t, promt: x, output: {type: text}}]", "promt"),
}


@pytest.mark.parametrize("case", list(BAD_PIPELINES))
def test_bad_pipeline_files_exit_with_two(case: str, tmp_path: Path) -> None:
    """A pipeline file that cannot work is named, with the field, and no traceback."""
    text, named = BAD_PIPELINES[case]
    (tmp_path / "p.yaml").write_text(text)
    ended = programs.run("consumer", "run", settings={"OPENAI_API_KEY": "x", "DOCSLUICE_PIPELINE": "p.yaml"})
    assert ended.returncode == 2
    assert "p.yaml" in ended.stderr
    assert named in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_check_says_what_is_missing(wire: Wire) -> None:
    """`check` tries broker and provider: 0 and a line each when they answer, 1 when one does not."""
    async with rehearsal_provider(RehearsalSettings(models=("gpt-4o-mini",))) as provider:
        good = programs.environment(wire, provider.base_url)
        ended = await asyncio.to_thread(programs.run, "consumer", "check", settings=good)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert ended.stdout.count("ok  ") == 6
        bad = good | {"OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
        ended = await asyncio.to_thread(programs.run, "consumer", "check", settings=bad)
    assert ended.returncode == 1
    assert "FAILED   provider" in ended.stdout


async def test_programs_together(wire: Wire, log_path: Path, tmp_path: Path) -> None:
    """Documents in a folder, `send`, the consumer, `follow`: the three programs do the whole job."""
    folder = tmp_path / "texts"
    folder.mkdir()
    for n in range(5):
        (folder / f"doc{n}.txt").write_text(f"Text number {n}.")
    async with rehearsal_provider() as provider:
        settings = programs.environment(wire, provider.base_url)
        child: Child = programs.forked_consumer(settings, log_path=log_path)
        try:
            await asyncio.to_thread(programs.start, child, settings)
            sent = await asyncio.to_thread(programs.run, "producer", "send", str(folder), settings=settings)
            assert sent.returncode == 0, sent.stderr
            table = tmp_path / "results.jsonl"
            seen = await asyncio.to_thread(
                programs.run,
                "producer",
                *("follow", "--from-beginning", "--until", "5", "--timeout-seconds", "60", "--to", str(table)),
                settings=settings,
            )
            assert seen.returncode == 0, seen.stderr
        finally:
            await asyncio.to_thread(child.stop)
    assert len(table.read_text().splitlines()) == 5


@pytest.mark.kafka
async def test_a_static_member_that_reads_another_topic_than_before(kafka_wire: Wire, log_path: Path) -> None:
    """Its group still has it with the old topic. It waits until that is over, and ends neither at once nor for ever."""
    other = Wire(bootstrap_servers=kafka_wire.bootstrap_servers)
    member = {"DOCSLUICE_GROUP_INSTANCE_ID": "one", "DOCSLUICE_GROUP_ID": f"{other.name}.group"}
    async with rehearsal_provider(RehearsalSettings()) as provider:
        for wire in (kafka_wire, other):
            await wire.create_topics()
            await wire.produce([document("d", "Text.")])
            settings = programs.environment(wire, provider.base_url) | member
            child = programs.forked_consumer(settings, log_path=log_path)
            try:
                await asyncio.to_thread(programs.start, child, settings)
                assert await _finished(wire, 1) == {"d"}
                child.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(child.wait, timeout_seconds=60) == 0
            finally:
                await asyncio.to_thread(child.stop)

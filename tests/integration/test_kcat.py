"""The commands of docs/how-to/kcat.md do what the page says: each is run as it stands there."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.wire import WATCHDOG_SECONDS, Wire, serving

PAGE = (Path(__file__).parents[2] / "docs/how-to/kcat.md").read_text(encoding="utf-8")
BROKER = "127.0.0.1:9092"
TOPICS = {"result": "documents.results", "dead_letter": "documents.dlq", "input": "documents"}


@pytest.fixture(autouse=True)
def _kcat() -> None:
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not on the PATH (Debian: apt-get install kcat)")


def _commands(text: str) -> list[tuple[str, list[str]]]:
    """Each command of the blocks of a text, with the lines that it prints."""
    blocks = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    shown = [block.splitlines() for block in blocks.split("$ ")[1:]]
    return [(command, lines) for command, *lines in shown]


async def _printed(command: str, wire: Wire, folder: Path) -> list[str]:
    """What the command prints on the wire's broker and topics, with the page's names in it."""
    for role, name in TOPICS.items():
        command = re.sub(rf"-t {re.escape(name)}(?=[ :])", f"-t {wire.topics[role]}", command)
    command = command.replace(BROKER, wire.bootstrap_servers)
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", f"set -o pipefail; {command}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=folder,
    )
    async with asyncio.timeout(WATCHDOG_SECONDS):
        output = (await shell.communicate())[0].decode()
    assert shell.returncode == 0, output
    for role, name in TOPICS.items():
        output = output.replace(wire.topics[role], name)
    return output.splitlines()


def _is_as_shown(line: str, shown: str) -> bool:
    """Whether a line is that of the page, where an ellipsis stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, shown.rstrip().split("…"))), line.rstrip()) is not None


async def test_the_commands_of_the_page_print_what_it_shows(
    kafka_wire: Wire, provider: RehearsalProvider, tmp_path: Path
) -> None:
    """What is written becomes five results, two dead letters and a skipped record. Results come in any order."""
    writing, _, reading = PAGE.partition("\n## See where records are")
    assert (len(_commands(writing)), len(_commands(reading))) == (9, 12)
    await kafka_wire.create_topics()
    for command, lines in _commands(writing):
        assert await _printed(command, kafka_wire, tmp_path) == lines
    async with serving(kafka_wire.settings(provider.base_url, delivery="exactly_once")):
        await kafka_wire.outcomes(7)
    for command, lines in _commands(reading):
        printed = await _printed(command, kafka_wire, tmp_path)
        assert len(printed) == len(lines), (command, printed)
        for shown in lines:
            found = next((line for line in printed if _is_as_shown(line, shown)), None)
            assert found is not None, (command, shown, printed)
            printed.remove(found)


async def test_a_key_goes_where_our_own_producers_put_it(kafka_wire: Wire, tmp_path: Path) -> None:
    """With the option that the page names."""
    (option,) = re.findall(r"`(-X topic\.partitioner=\w+)`", PAGE)
    await kafka_wire.create_topics(partitions=7)
    keys = [f"key-{number}" for number in range(40)]
    async with AIOKafkaProducer(bootstrap_servers=kafka_wire.bootstrap_servers) as producer:
        sent = [await producer.send_and_wait(kafka_wire.topics["input"], b"x", key=key.encode()) for key in keys]
    lines = "".join(f"{key}|x\\n" for key in keys)
    await _printed(f"printf '{lines}' | kcat -b {BROKER} -P -t documents.results -K '|' {option}", kafka_wire, tmp_path)
    printed = await _printed(f"kcat -b {BROKER} -C -t documents.results -e -q -f '%k %p\\n'", kafka_wire, tmp_path)
    assert sorted(printed) == sorted(f"{key} {one.partition}" for key, one in zip(keys, sent, strict=True))

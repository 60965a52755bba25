"""Commands that meet something hostile, each run while the service works: exit code, last line, and no secret told."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiokafka import AIOKafkaProducer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from docsluice.messages import ERROR_HEADER_PREFIX
from tests.acceptance.hostile.case import KEY, Stage
from tests.fakes.batches import RawRecord, batch
from tests.fakes.leaks import tells
from tests.fakes.outcomes import result
from tests.fakes.raw_server import RawAnswer, RawServer
from tests.integration.raw_producer import produce_batches
from tests.integration.wire import Wire

_HANGS_SECONDS = 20.0
_NOBODY = "http://127.0.0.1:9/v1"
_IN_QUERY = "tok-Wd5nB8yQm2Lr6VxHj4Tz9KcPf3"
_GONE = ("sh", "-c", 'mkdir gone && cd gone && rmdir ../gone && exec "$@"', "sh")
FEW_FILES = ("sh", "-c", 'ulimit -n 100 && exec "$@"', "sh")
_NO_FILES = ("sh", "-c", 'ulimit -n 6 && exec "$@"', "sh")
_NEXT_TO_NONE = ("sh", "-c", 'ulimit -n 9 && exec "$@"', "sh")
_CONTROLS = "\u202eevil\u2066 \x9b31m \x1b[2J"
_FORMULA = '=HYPERLINK("http://evil.example")'


@dataclass(frozen=True, kw_only=True)
class Command:
    """One run of a program of ours, in a folder of its own.

    Attributes:
        arguments: The program's name and what comes behind it.
        settings: Laid over those of the service; an empty value unsets one.
        dot_env: What stands in the `.env`.
        prepare: Lays out the folder.
        code: The exit code.
        says: What stands somewhere in its output.
        look: Gives what is wrong with what it has said, or has left in the folder.
        before: What it is started through.
    """

    name: str
    arguments: Sequence[str]
    settings: Mapping[str, str] = field(default_factory=dict)
    dot_env: str = ""
    prepare: Callable[[Path], None] = lambda _: None
    code: int
    says: str = ""
    look: Callable[[str, Path], Sequence[str]] = lambda *_: ()
    before: Sequence[str] = ()


def quoting(status: int) -> RawAnswer:
    """An error that quotes the key, whole and in part, wherever it can."""
    said = f"The key {KEY} (or {KEY[:20]}..., ...{KEY[-20:]}) is not for this"
    error = {"message": said, "code": f"bad_{KEY}", "type": KEY, "param": KEY[:16]}
    return RawAnswer(status=status, body=json.dumps({"error": error}).encode(), headers={"x-request-id": KEY})


def _models_or_quoting(body: Mapping[str, object]) -> RawAnswer:
    return quoting(400) if body else RawAnswer(status=200, body=b'{"data": []}')


async def commands(stage: Stage) -> Sequence[str]:
    """Run them one after the other, and print a table of them."""
    table, problems = Table("command", "exit code", "last line"), []
    forged = Wire(bootstrap_servers=stage.wire.bootstrap_servers)
    await forged.create_topics()
    await _forge(forged)
    async with RawServer(answer=_models_or_quoting).running() as server:
        for command in _commands(forged, server.base_url):
            code, output, wrong = await _run(command, stage)
            table.add_row(command.name, str(code), Text((output.strip().splitlines() or ["-"])[-1]))
            problems += [f"{command.name}: {one}" for one in wrong]
    Console(width=150).print(table)
    return problems


async def _run(command: Command, stage: Stage) -> tuple[int | None, str, Sequence[str]]:
    folder = stage.folder / "commands" / command.name.replace(" ", "-").replace("/", "-")
    folder.mkdir(parents=True)
    if command.dot_env:
        (folder / ".env").write_text(command.dot_env)
    command.prepare(folder)
    settings = {**os.environ, **stage.settings, "DOCSLUICE_HTTP_PORT": "0", **command.settings}
    program, *arguments = command.arguments
    running = await asyncio.create_subprocess_exec(
        *(*command.before, sys.executable, "-m", program, *arguments),
        cwd=folder,
        env={name: value for name, value in settings.items() if value},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(_HANGS_SECONDS):
            output = (await running.communicate())[0].decode(errors="backslashreplace")
    except TimeoutError:
        running.kill()
        await running.wait()
        return None, "", [f"hangs for {_HANGS_SECONDS:.0f} s"]
    wrong = [f"exit code {running.returncode}, not {command.code}"] if running.returncode != command.code else []
    wrong += [] if command.says in output else [f"does not say {command.says!r}: {output[-500:]}"]
    wrong += ["tells a secret" for secret in (KEY, _IN_QUERY) if tells(output, secret)]
    return running.returncode, output, [*wrong, *command.look(output, folder)]


def _commands(forged: Wire, quoting_url: str) -> Sequence[Command]:
    elsewhere = {"OPENAI_BASE_URL": ""}
    topics = ("--result-topic", forged.topics["result"], "--dead-letter-topic", forged.topics["dead_letter"])
    return (
        Command(
            name=".env sends the key elsewhere",
            arguments=("consumer", "run"),
            settings=elsewhere,
            dot_env=f"OPENAI_BASE_URL={_NOBODY}",
            code=2,
            says="OPENAI_BASE_URL: set by .env in the working folder, and OPENAI_API_KEY would be sent there",
        ),
        Command(
            name="the same with --env-file",
            arguments=("consumer", "check", "--env-file", ".env"),
            settings=elsewhere,
            dot_env=f"OPENAI_BASE_URL={_NOBODY}",
            code=1,
            says=f"FAILED   provider {_NOBODY} (OPENAI_BASE_URL)",
        ),
        Command(
            name=".env refers to the key",
            arguments=("consumer", "run"),
            dot_env="DOCSLUICE_MODEL=${OPENAI_API_KEY}",
            code=2,
            says="DOCSLUICE_MODEL: .env files are taken as they are written",
        ),
        Command(
            name=".env cannot be read",
            arguments=("consumer", "run"),
            prepare=lambda folder: (folder / ".env").symlink_to("/proc/self/mem"),
            code=2,
            says=".env: cannot be read",
        ),
        Command(
            name=".env is a named pipe",
            arguments=("consumer", "run"),
            prepare=lambda folder: os.mkfifo(folder / ".env"),
            code=2,
            says=".env: a named pipe",
        ),
        Command(
            name="check of an address with a key in it",
            arguments=("consumer", "check"),
            settings={"OPENAI_BASE_URL": f"{_NOBODY}?token={_IN_QUERY}"},
            code=2,
            says="OPENAI_BASE_URL: must hold no key behind the ?",
        ),
        Command(
            name="check of an address with an odd query",
            arguments=("consumer", "check"),
            settings={"OPENAI_BASE_URL": f"{_NOBODY}?project={_IN_QUERY}"},
            code=1,
            says=f"FAILED   provider {_NOBODY} (OPENAI_BASE_URL)",
        ),
        Command(
            name="check of a provider that quotes the key",
            arguments=("consumer", "check", "--live"),
            settings={"OPENAI_BASE_URL": quoting_url},
            code=1,
            says="FAILED   a call of ",
        ),
        Command(
            name="check with few files",
            arguments=("consumer", "check"),
            settings={"OPENAI_BASE_URL": quoting_url},
            before=FEW_FILES,
            code=0,
            says="DOUBTFUL open files: ulimit -n is 100, and 16 calls at once need 144 open files",
        ),
        Command(
            name="check without a file left",
            arguments=("consumer", "check"),
            before=_NO_FILES,
            code=1,
            says="too many open files (ulimit -n is 6): raise the limit",
        ),
        Command(
            name="run with next to none",
            arguments=("consumer", "run"),
            before=_NEXT_TO_NONE,
            code=2,
            says="too many open files",
        ),
        Command(
            name="a pipeline file that unfolds",
            arguments=("consumer", "run"),
            settings={"DOCSLUICE_PIPELINE": "bomb.yaml"},
            prepare=_yaml_bomb,
            code=2,
            says="unfolds to more than 10,000,000 characters",
        ),
        Command(
            name="a ledger that is a link",
            arguments=("consumer", "run"),
            settings={
                "DOCSLUICE_STATE_DIR": "state",
                "DOCSLUICE_BUDGET_USD_PER_DAY": "1",
                "DOCSLUICE_MODEL": "gpt-4o-mini",
            },
            prepare=_linked_ledger,
            code=2,
            says="spending.sqlite3 is a symbolic link",
            look=lambda _, folder: ["writes through a link"] if (folder / "victim").exists() else [],
        ),
        Command(
            name="state in the home of nobody",
            arguments=("consumer", "run"),
            settings={"DOCSLUICE_STATE_DIR": "~nouser/state"},
            code=2,
            says="DOCSLUICE_STATE_DIR: begins with ~",
        ),
        Command(
            name="consumer in a folder that is gone",
            arguments=("consumer", "check"),
            before=_GONE,
            code=2,
            says="the working folder cannot be used",
        ),
        Command(
            name="producer in a folder that is gone",
            arguments=("producer", "send", "a.txt"),
            before=_GONE,
            code=2,
            says="the working folder cannot be used",
        ),
        Command(
            name="send a folder with ways out of it",
            arguments=("producer", "send", "--topic", forged.topics["input"], "documents"),
            prepare=_traps,
            code=0,
            says="link out of the folder",
            look=lambda output, _: [] if "a named pipe" in output else ["does not name the pipe"],
        ),
        Command(
            name="list what is forged",
            arguments=("producer", "dead-letters", "list", "--dead-letter-topic", forged.topics["dead_letter"]),
            code=0,
            says="no dead letter: the name of header 1 is not UTF-8",
            look=lambda output, _: _controls_in(output),
        ),
        Command(
            name="follow what is forged",
            arguments=(
                "producer",
                "follow",
                *topics,
                "--from-beginning",
                "--until",
                "5",
                "--to",
                "out.csv",
                "--timeout-seconds",
                "10",
            ),
            prepare=lambda folder: (folder / ".out.csv.part").symlink_to(folder / "victim"),
            code=0,
            says="the name of header 1 is not UTF-8",
            look=_look_at_the_follower,
        ),
    )


def _traps(folder: Path) -> None:
    documents = folder / "documents"
    documents.mkdir()
    (documents / "sound.txt").write_text("A sound text.")
    (documents / "passwords.txt").symlink_to("/etc/passwd")
    (documents / "zeros.txt").symlink_to("/dev/zero")
    os.mkfifo(documents / "pipe.txt")


def _yaml_bomb(folder: Path) -> None:
    """Half a kilobyte that stands for 10^11 words."""
    lines = [f"a0: &a0 [{', '.join(['boom'] * 10)}]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)]
    (folder / "bomb.yaml").write_text("\n".join(lines))


def _linked_ledger(folder: Path) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "spending.sqlite3").symlink_to(folder / "victim")


def _controls_in(output: str) -> list[str]:
    return [f"prints {control!r}" for control in _CONTROLS if control in output and control not in "evil 31m[2J"]


def _look_at_the_follower(output: str, folder: Path) -> Sequence[str]:
    found = _controls_in(output)
    if (folder / "victim").exists():
        found.append("writes through a link")
    with (folder / "out.csv").open(newline="") as file:
        found += [f"the cell {cell!r}" for row in csv.reader(file) for cell in row if cell.startswith(("=", "+", "@"))]
    if "999" in output or "NaN" in output or "inf" in output.lower().replace("info", ""):
        found.append(f"counts a cost that can be none: {output[-500:]}")
    return found


async def _forge(wire: Wire) -> None:
    """Outcomes as anybody may write them: with a cost that can be none, a formula, and words for a terminal.

    Before them comes one with a header name that is no text.
    """
    for role in ("result", "dead_letter"):
        await produce_batches(wire, [batch([RawRecord(headers=[(b"caf\xe9", b"1")])])], role=role)
    producer = AIOKafkaProducer(bootstrap_servers=wire.bootstrap_servers)
    await producer.start()
    try:
        for number, cost in enumerate(("NaN", "1e999999", "-Infinity", "99999999999999999999")):
            said = {"topic": "in", "partition": "0", "offset": str(number), "reason": "refused", "cost_usd": cost}
            said["exception.message"] = f"{_FORMULA} {_CONTROLS}"
            headers = [(ERROR_HEADER_PREFIX + name, text.encode()) for name, text in said.items()]
            value = json.dumps({"document_id": f"{_FORMULA}{number}", "text": _CONTROLS}).encode()
            await producer.send_and_wait(wire.topics["dead_letter"], value, key=b"k", headers=headers)
            sound = result(number, document_id=f"{_CONTROLS}{number}", outputs={"category": _FORMULA})
            forged = {**sound.model_dump(mode="json"), "cost_usd": cost}
            await producer.send_and_wait(wire.topics["result"], json.dumps(forged).encode())
        await producer.send_and_wait(wire.topics["result"], sound.model_dump_json().encode())
    finally:
        await producer.stop()

"""What one odd answer costs: the longest pause of the event loop, the time until it is read, and memory at its peak.

Each answer comes from a server of another process, to the real client in a process of its own.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import StaticKey
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.llm.worker_thread import in_worker_thread
from docsluice_consumer.tasks.pipeline_file import PipelineFile
from docsluice_consumer.tasks.step_building import steps_of
from docsluice_consumer.tasks.steps import Step
from tests.fakes.raw_server import RawAnswer, RawServer

_MEBIBYTE = 2**20
_TIMEOUT_SECONDS = 60.0
_BEAT_SECONDS = 0.005
_TEXT: dict[str, Any] = {"type": "text"}


@dataclass(frozen=True, kw_only=True)
class Odd:
    """An answer, made when it is asked for, and what its task wants."""

    body: Callable[[], bytes]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    output: dict[str, Any] = field(default_factory=lambda: _TEXT)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one answer. `pause_seconds` is None where it never ended."""

    pause_seconds: float | None
    seconds: float = 0.0
    peak_mib: float = 0.0
    outcome: str = ""


def _said(text: Callable[[], str]) -> Callable[[], bytes]:
    def body() -> bytes:
        choice = {"message": {"role": "assistant", "content": text()}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}).encode()

    return body


def _repeated(unit: str) -> Odd:
    return Odd(body=_said(lambda: unit * (_MEBIBYTE // len(unit))))


def _value(value: Callable[[], Any], schema: dict[str, Any]) -> Odd:
    return Odd(body=_said(lambda: json.dumps({"task": value()})), output={"type": "json", "schema": schema})


def _written(text: str, schema: dict[str, Any]) -> Odd:
    return Odd(body=_said(lambda: f'{{"task": {text}}}'), output={"type": "json", "schema": schema})


_STRING = {"type": "string"}
ANSWERS: dict[str, Odd] = {
    "an ordinary answer": Odd(body=_said(lambda: '{"task": "Fine."}')),
    "15 MiB of []": Odd(body=lambda: b"[" + b"[]," * (5 * _MEBIBYTE) + b"[]]"),
    "15 MiB of [] beside the choices": Odd(
        body=lambda: _said(lambda: '{"task": "Fine."}')()[:-1] + b', "x": [' + b"[]," * (5 * _MEBIBYTE) + b"[]]}"
    ),
    "15 MiB of {} with names": Odd(
        body=lambda: b"{" + b",".join(b'"%d":{}' % number for number in range(_MEBIBYTE)) + b"}"
    ),
    "15 MiB of [] as an error": Odd(body=lambda: b'{"error": [' + b"[]," * (5 * _MEBIBYTE) + b"[]]}", status=400),
    "2 MiB of []": Odd(body=lambda: b"[" + b"[]," * (2 * _MEBIBYTE // 3 - 2) + b"[]]"),
    "1 MiB of [[[[]]]]": Odd(body=lambda: b"[" + b"[[[[]]]]," * (_MEBIBYTE // 9) + b"[]]"),
    "1 MiB of [ in one another": Odd(body=lambda: b"[" * (_MEBIBYTE // 2) + b"]" * (_MEBIBYTE // 2)),
    "256 KiB of gzip, 256 MiB unpacked": Odd(
        body=lambda: gzip.compress(bytes(256 * _MEBIBYTE), mtime=0), headers={"content-encoding": "gzip"}
    ),
    "the same as an error": Odd(
        body=lambda: gzip.compress(bytes(256 * _MEBIBYTE), mtime=0), headers={"content-encoding": "gzip"}, status=500
    ),
    "an error in punycode": Odd(
        body=lambda: b"a" * 200_000 + b"-" + b"9a" * 20_000,
        headers={"content-type": "application/json; charset=punycode"},
        status=400,
    ),
    "an error of <": Odd(body=lambda: b"<" * 250_000, status=502),
    "an error of <title>": Odd(body=lambda: b"<title>" * 35_000, status=502),
    '1 MiB of {"': _repeated('{"'),
    '1 MiB of {"task":': _repeated('{"task":'),
    "1 MiB of {": _repeated("{"),
    "1 MiB of <think>": _repeated("<think>"),
    "1 MiB of </think>": _repeated("</think>"),
    "1 MiB of spaces": _repeated(" "),
    "1 MiB of &amp;": _repeated("&amp;"),
    "&, and 1 MiB of amp;": Odd(body=_said(lambda: "&" + "amp;" * (_MEBIBYTE // 4))),
    "two rows of 500,000 backticks": Odd(body=_said(lambda: "`" * 500_000 + " " + "`" * 499_999)),
    "a pattern of words": _value(lambda: "a" * 40 + "!", _STRING | {"pattern": r"^(\w+\s?)*$"}),
    "a pattern of an e-mail": _value(
        lambda: "a" * 60 + "!", _STRING | {"pattern": r"^([a-zA-Z0-9]+([._-]?[a-zA-Z0-9]+)*)@example\.org$"}
    ),
    "6,000 objects, uniqueItems": _value(
        lambda: [{"a": number} for number in range(6_000)], {"type": "array", "uniqueItems": True}
    ),
    "90,000 objects": _value(
        lambda: [{"a": None}] * 90_000,
        {"type": "array", "items": {"type": "object", "properties": {"a": _STRING}}},
    ),
    "10^400, multipleOf": _written("1" + "0" * 400, {"type": "number", "multipleOf": 0.01}),
    "5,000 digits": _written("9" * 5_000, {"type": "integer"}),
    "300 levels": _written("[" * 300 + "]" * 300, {"type": "array"}),
}


def measure(name: str) -> Cost:
    """The cost of one of the answers."""
    command = [sys.executable, "-m", "tests.bench.odd_answers"]
    with subprocess.Popen([*command, "serve", name], stdout=subprocess.PIPE, text=True) as server:
        try:
            address = (server.stdout.readline() if server.stdout else "").strip()
            asked = subprocess.run(
                [*command, "ask", name, address], capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=True
            )
            return Cost(**json.loads(asked.stdout.splitlines()[-1]))
        except subprocess.TimeoutExpired:
            return Cost(pause_seconds=None, outcome=f"not within {_TIMEOUT_SECONDS:.0f} seconds")
        finally:
            server.kill()


async def _serve(odd: Odd) -> None:
    answer = RawAnswer(status=odd.status, body=odd.body(), headers=odd.headers)
    async with RawServer(answer=lambda _: answer).running() as server:
        print(server.base_url, flush=True)  # noqa: T201 - for the process that has started us
        await asyncio.Event().wait()


async def _ask(odd: Odd, base_url: str) -> Cost:
    step = _step(odd)
    provider = Provider(base_url=base_url, credentials=StaticKey("sk-a-key-of-nobody"), request_timeout_seconds=60.0)
    client = OpenAIChatClient(provider=provider, max_connections=1)
    memory, pauses = _Memory(), [0.0]
    beating = asyncio.create_task(_beat(pauses), name="beat")
    await asyncio.sleep(0.1)
    pauses[:] = [0.0]
    began = time.perf_counter()
    outcome = await _outcome(client, step)
    seconds = time.perf_counter() - began
    await asyncio.sleep(2 * _BEAT_SECONDS)
    beating.cancel()
    await client.close()
    return Cost(pause_seconds=max(pauses), seconds=seconds, peak_mib=memory.peak_mib(), outcome=outcome[:80])


async def _outcome(client: OpenAIChatClient, step: Step) -> str:
    try:
        answer = await client.ask(step.request("A document about a harbour."))
        return str(await in_worker_thread(len(answer.text), lambda: step.read(answer)))
    except DocsluiceError as fault:
        return f"{type(fault).__name__}: {fault}"
    except Exception as bug:  # noqa: BLE001 - the bench tells of it
        return f"BUG {type(bug).__name__}: {bug}"


def _step(odd: Odd) -> Step:
    tasks = [{"name": "task", "prompt": "Do it.", "output": odd.output}]
    (step,) = steps_of(PipelineFile.model_validate({"name": "p", "tasks": tasks}), mode="fanout", default_model="m")
    return step


async def _beat(pauses: list[float]) -> None:
    while True:
        asleep = time.perf_counter()
        await asyncio.sleep(_BEAT_SECONDS)
        pauses.append(time.perf_counter() - asleep - _BEAT_SECONDS)


class _Memory:
    """Looks at the resident memory from a thread. Linux only."""

    def __init__(self) -> None:
        self._first = self._most = _resident_mib()
        threading.Thread(target=self._watch, daemon=True).start()

    def peak_mib(self) -> float:
        """How much more there was at the worst than at the beginning."""
        return self._most - self._first

    def _watch(self) -> None:
        while True:
            self._most = max(self._most, _resident_mib())
            time.sleep(0.002)


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / _MEBIBYTE


def _main() -> None:
    what, name, *address = sys.argv[1:]
    if what == "serve":
        asyncio.run(_serve(ANSWERS[name]))
    cost = asyncio.run(_ask(ANSWERS[name], *address))
    print(json.dumps(vars(cost)))  # noqa: T201 - for the process that has started us


if __name__ == "__main__":
    _main()

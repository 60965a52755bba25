"""The programs in the pages about the library run, as they stand there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from docsluice.messages import ERROR_HEADER_PREFIX
from tests.fakes.outcomes import result
from tests.integration.wire import WATCHDOG_SECONDS, Record, Wire, until
from tests.pages import data_frame, fastapi_app, produce, subscribe

Said = Callable[[str], Awaitable[None]]


@pytest.fixture
async def named(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> Wire:
    """Topics of this test, by the settings of the environment, which the programs read."""
    await wire.create_topics(max_message_bytes={"input": 20_000})
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", wire.bootstrap_servers)
    for role, topic in wire.topics.items():
        monkeypatch.setenv(f"DOCSLUICE_{role.upper()}_TOPIC", topic)
    return wire


async def _sent(wire: Wire, count: int) -> list[str]:
    return [json.loads(one.value)["document_id"] async for one in wire.read(wire.topics["input"], count=count)]


def _result(number: int, **changed: Any) -> Record:
    return Record(value=result(number, **changed).model_dump_json().encode())


@asynccontextmanager
async def running(program: Callable[[], Awaitable[None]], capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Said]:
    """A program that never ends. Yields what waits until it has printed something."""
    task = asyncio.ensure_future(program())
    printed = ""

    async def said(words: str) -> None:
        async def is_said() -> bool:
            nonlocal printed
            printed += capsys.readouterr().out
            if task.done():
                task.result()
            return words in printed

        await until(is_said, what=f"it prints {words}")

    try:
        yield said
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=WATCHDOG_SECONDS)


async def test_documents_are_produced(named: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    """One, many, all or none, and from a script."""
    await produce.send_one()
    assert capsys.readouterr().out == f"written to {named.topics['input']}/0@0\n"
    await produce.send_many()
    assert capsys.readouterr().out == "3 documents are written\n"
    await produce.send_all_or_none()
    await asyncio.to_thread(produce.send_from_a_script)
    await produce.tell_what_is_wrong()
    assert capsys.readouterr().out == "document 'd1': text: must not be blank\n"
    pages = ["page-1", "page-2", "page-3"]
    assert await _sent(named, 8) == ["invoice-17", *pages, *pages, "memo-1"]


async def _post(body: object) -> tuple[int, Any]:
    """Ask the FastAPI app, within its life, as a server would."""
    sent: list[dict[str, Any]] = []
    content = json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/documents",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    await fastapi_app.app(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent))


async def test_a_web_service_takes_documents(named: Wire) -> None:
    """It says where they are, and what it does not take."""
    async with fastapi_app.lifespan(fastapi_app.app):
        status, said = await _post({"document_id": "d1", "text": "T"})
        assert (status, said) == (202, {"topic": named.topics["input"], "partition": 0, "offset": 0})
        assert (await _post({"document_id": "d1"}))[0] == 422
        status, said = await _post({"document_id": "large", "text": "x" * 40_000})
        assert (status, "document large" in said["detail"]) == (413, True)
    assert await _sent(named, 1) == ["d1"]


async def test_results_are_subscribed_to(named: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    """By a group that goes on where it was, and again for an hour."""
    async with running(subscribe.index, capsys) as said:
        await _produce_until(named, "result", _result(1), said("d1 Short. 0.0003"))
    await named.produce([_result(2)], role="result")
    async with running(subscribe.index, capsys) as said:
        await said("d2 Short. 0.0003")
    await subscribe.replay_an_hour()
    printed = capsys.readouterr().out
    assert f"d1 {named.topics['result']}/0@0\n" in printed
    assert printed.endswith(" repeats, 0 unreadable records\n")


async def test_ten_are_handled_at_a_time(named: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    """The eleventh is the first of the next ten."""
    await named.produce([_result(n) for n in range(20)], role="result")
    await subscribe.handle_ten()
    assert capsys.readouterr().out.split() == [f"d{n}" for n in range(10)]
    await subscribe.handle_ten()
    assert capsys.readouterr().out.split() == [f"d{n}" for n in range(10, 20)]


async def test_failures_are_watched(named: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    """By their reason."""
    said_of_it = {"reason": "too_large", "exception.message": "too long"}
    headers = [(ERROR_HEADER_PREFIX + name, text.encode()) for name, text in said_of_it.items()]
    letter = Record(value=b'{"document_id": "d7", "text": "T"}', headers=headers)
    async with running(subscribe.watch_failures, capsys) as said:
        await _produce_until(named, "dead_letter", letter, said("d7: too long"))


async def _produce_until(named: Wire, role: str, record: Record, end: Awaitable[None]) -> None:
    """Write a record again and again until a program that begins with the latest has met it."""
    met = asyncio.ensure_future(end)
    while not met.done():
        await named.produce([record], role=role)
        await asyncio.wait([met], timeout=0.2)
    await met


async def test_results_become_a_data_frame(named: Wire, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line, of either library."""
    billing = {"outputs": {"category": "billing"}, "metadata": {"customer": "acme"}}
    await named.produce([_result(1, **billing), _result(2, **billing), _result(2, **billing)], role="result")
    data_frame.spending()
    assert "billing    0.0006" in capsys.readouterr().out
    data_frame.last_day()
    printed = capsys.readouterr().out
    assert ("d2" in printed, "acme" in printed) == (True, True)

"""A provider that answers with what the request's schema asks for, at once or after the text's own latency.

`GET …/requests` tells the last request for each schema. `GET …/calls` tells when each call began, by Unix time, and its
latency. `GET …/count` tells how many there were. It is as cheap as it can be, for it shares the machine with what is
measured.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from tests.bench.latency import Latency
from tests.fakes.chat import example_of

_END = b"\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
_USAGE = {"prompt_tokens": 400, "completion_tokens": 60, "total_tokens": 460}
_MOST_ANSWERS = 100


class Answers:
    """What is said to each request, and a log of the calls."""

    def __init__(self, latency: Latency | None) -> None:
        self._latency = latency
        self._answers: dict[bytes, bytes] = {}  # by the schema that is asked for
        self._bodies: dict[bytes, bytes] = {}
        self._calls: list[tuple[float, float]] = []
        self._count = 0

    def answer(self, body: bytes) -> tuple[bytes, float]:
        """The answer, and the seconds after which it is due."""
        asked = body[body.find(b'"response_format"') :]
        if asked not in self._answers:
            if len(self._answers) > _MOST_ANSWERS:
                self._answers.clear()
                self._bodies.clear()
            self._answers[asked] = _answer(json.loads(body))
        self._bodies[asked] = body
        self._count += 1
        if self._latency is None:
            return self._answers[asked], 0.0
        seconds = self._latency.of(json.loads(body)["messages"][-1]["content"])
        self._calls.append((time.time(), seconds))
        return self._answers[asked], seconds

    def tell(self, head: bytes) -> bytes:
        """What the back door says."""
        if b"/requests" in head:
            return b"[" + b",".join(self._bodies.values()) + b"]"
        return json.dumps(self._calls if b"/calls" in head else self._count).encode()


class _Connection(asyncio.Protocol):
    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._received = transport, b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(_END)) >= 0:
            head = self._received[:end].lower()
            length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0] or 0)
            begin = end + len(_END)
            if len(self._received) < begin + length:
                return
            body, self._received = self._received[begin : begin + length], self._received[begin + length :]
            if head.startswith(b"get"):
                self._say(self._answers.tell(head))
                continue
            said, seconds = self._answers.answer(body)
            if seconds:
                self._loop.call_later(seconds, self._say, said)
            else:
                self._say(said)

    def _say(self, said: bytes) -> None:
        self._transport.write(_ANSWER % (len(said), said))


def _answer(request: dict[str, Any]) -> bytes:
    form = request.get("response_format")
    content = json.dumps(example_of(form["json_schema"]["schema"])) if form else "ok"
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "usage": _USAGE}
    return json.dumps({**answer, "choices": [choice]}).encode()


async def main(port: int, latency: Latency | None) -> None:
    """Serve until it is killed."""
    answers = Answers(latency)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(answers), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    _port, *_drawn = sys.argv[1:]
    _latency = Latency(median_seconds=float(_drawn[0]), sigma=float(_drawn[1])) if _drawn else None
    asyncio.run(main(int(_port), _latency))

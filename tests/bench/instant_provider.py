"""A provider that answers at once, with what the request's schema asks for. `GET` tells the last request's body.

It is as cheap as it can be, for it shares the machine with what is measured.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.fakes.chat import example_of

_END = b"\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
_USAGE = {"prompt_tokens": 400, "completion_tokens": 60, "total_tokens": 460}


class _Connection(asyncio.Protocol):
    last = b"{}"
    answers: dict[bytes, bytes] = {}  # noqa: RUF012 - of all connections, by the schema that is asked for

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
            said = _Connection.last if head.startswith(b"get") else self._answer(body)
            self._transport.write(_ANSWER % (len(said), said))

    def _answer(self, body: bytes) -> bytes:
        _Connection.last = body
        asked = body[body.find(b'"response_format"') :]
        if asked not in self.answers:
            schema = json.loads(body)["response_format"]["json_schema"]["schema"]
            choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}
            choice["message"] |= {"content": json.dumps(example_of(schema))}  # type: ignore[operator]
            answer = {"id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o-mini", "usage": _USAGE}
            if len(self.answers) > 100:
                self.answers.clear()
            self.answers[asked] = json.dumps({**answer, "choices": [choice]}).encode()
        return self.answers[asked]


async def main(port: int) -> None:
    """Serve until it is killed."""
    server = await asyncio.get_running_loop().create_server(_Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

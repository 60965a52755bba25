"""How many connections are open, over all providers together."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace

from docsluice_consumer.llm.credentials import StaticKey
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.llm.provider_clients import ProviderClients
from docsluice_consumer.model_ref import ModelRef
from tests.fakes.samples import chat_request

ANSWER = json.dumps(
    {"choices": [{"message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"}], "usage": None}
).encode()


class Town:
    """Servers that keep their connections open, and a count of those that are."""

    def __init__(self) -> None:
        self.open = 0
        self.opened = 0
        self.may_answer = asyncio.Event()
        self.waiting = 0

    @contextlib.asynccontextmanager
    async def client(self, *names: str, max_connections: int) -> AsyncIterator[ProviderClients]:
        """A client of so many providers. At its end none of its connections is open."""
        async with contextlib.AsyncExitStack() as stack:
            found: dict[str, Provider] = {}
            for name in names:
                server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
                stack.push_async_callback(server.wait_closed)
                stack.callback(server.close)
                url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
                found[name] = Provider(name=name, base_url=url, credentials=StaticKey("sk-x"))
            client = ProviderClients(found, max_connections=max_connections)
            try:
                yield client
            finally:
                await client.close()
                await self.settle(open_=0)
        assert self.open == 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.opened += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                await reader.readexactly(int(head.partition("content-length:")[2].partition("\r\n")[0]))
                self.waiting += 1
                await self.may_answer.wait()
                self.waiting -= 1
                length = f"content-length: {len(ANSWER)}"
                writer.write(f"HTTP/1.1 200 OK\r\n{length}\r\ncontent-type: application/json\r\n\r\n".encode() + ANSWER)
        self.open -= 1
        writer.close()

    async def burst(self, client: ProviderClients, calls: dict[str, int]) -> None:
        """So many calls to each provider, all at once."""
        self.may_answer.clear()
        request = chat_request()
        asked = [
            asyncio.create_task(client.ask(replace(request, model=ModelRef(name, "m"))))
            for name, count in calls.items()
            for _ in range(count)
        ]
        while self.waiting < len(asked):
            await asyncio.sleep(0.001)
        self.may_answer.set()
        await asyncio.gather(*asked)

    async def settle(self, *, open_: int) -> None:
        """A server hears a little later that a connection was closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while self.open > open_:
                    await asyncio.sleep(0.001)


async def test_idle_connections_count_as_well() -> None:
    """However many providers there are, and whichever was called last: no more than there may be calls."""
    town = Town()
    async with town.client("a", "b", "c", max_connections=4) as client:
        for calls in ({"a": 4}, {"b": 4}, {"c": 3, "a": 1}, {"b": 2, "c": 2}):
            await town.burst(client, calls)
            await town.settle(open_=4)
            assert town.open <= 4


async def test_a_connection_is_used_again() -> None:
    """Where there is room, none is closed: a new one costs two ways to the provider and back."""
    town = Town()
    async with town.client("a", "b", max_connections=4) as client:
        for _ in range(3):
            await town.burst(client, {"a": 2, "b": 2})
        assert town.opened == 4


async def test_the_one_idle_longest_is_closed() -> None:
    """The others are more likely to be wanted."""
    town = Town()
    async with town.client("a", "b", "c", max_connections=2) as client:
        for name in ("a", "b", "c"):  # a makes room for c
            await town.burst(client, {name: 1})
        await town.burst(client, {"b": 1})
        assert town.opened == 3

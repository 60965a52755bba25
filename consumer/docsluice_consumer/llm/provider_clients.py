"""The clients of all providers behind one: each call goes to the provider of its model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from docsluice_consumer.llm.chat import Answer, ChatClient, ChatRequest
from docsluice_consumer.llm.client import OnBody, OpenAIChatClient, unwatched
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.llm.transport import Connections


class ClientFactory(Protocol):
    """Makes the client of all providers."""

    def __call__(self, providers: Mapping[str, Provider], *, max_connections: int) -> ChatClient:
        """See `ProviderClients`."""
        ...


class ProviderClients:
    """A `ChatClient` for all providers. Together they have up to `max_connections`, idle ones included.

    `on_body` is told the body of every request.
    """

    def __init__(self, providers: Mapping[str, Provider], *, max_connections: int, on_body: OnBody = unwatched) -> None:
        self._connections = Connections(most=max_connections)
        self._clients = {
            name: OpenAIChatClient(
                provider=provider, max_connections=max_connections, connections=self._connections, on_body=on_body
            )
            for name, provider in providers.items()
        }

    async def ask(self, request: ChatRequest) -> Answer:
        """Make one call. See `ChatClient.ask` for the errors."""
        return await self._clients[request.model.provider].ask(request)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        await self._connections.close()

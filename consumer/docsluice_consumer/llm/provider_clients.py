"""The clients of all providers behind one: each call goes to the provider of its model."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from docsluice_consumer.llm.chat import Answer, ChatRequest
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.llm.transport import Connections


class ProviderClients:
    """A `ChatClient` for all providers. Together they have up to `max_connections`, idle ones included."""

    def __init__(self, providers: Mapping[str, Provider], *, max_connections: int) -> None:
        self._connections = Connections(most=max_connections)
        self._clients = {
            name: OpenAIChatClient(provider=provider, max_connections=max_connections, connections=self._connections)
            for name, provider in providers.items()
        }

    async def ask(self, request: ChatRequest) -> Answer:
        """Make one call. See `ChatClient.ask` for the errors."""
        return await self._clients[request.model.provider].ask(request)

    async def close(self) -> None:
        """Close the connections."""
        await asyncio.gather(*(client.close() for client in self._clients.values()))
        await self._connections.close()

"""The connections under the model client."""

from __future__ import annotations

import ssl

from docsluice_consumer.llm.transport import Connections

UVICORN_SECONDS = NODE_SECONDS = 5.0


async def test_an_idle_connection_is_closed_before_its_server_closes_it() -> None:
    """A call on a connection that its server is just closing would fail for nobody's fault."""
    connections = Connections(most=1)
    async with connections.session(trusted=ssl.create_default_context()) as session:
        assert session.connector is not None
        kept_seconds = session.connector._keepalive_timeout
    await connections.close()
    assert kept_seconds is not None
    assert kept_seconds < min(UVICORN_SECONDS, NODE_SECONDS)

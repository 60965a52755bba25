"""Whether a server speaks TLS, found by a handshake. Its certificate is not checked, and nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl


def unverified() -> ssl.SSLContext:
    """A context that accepts any certificate. Use it only to probe a server, which may be anybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def speaks_tls(host: str | None, port: int, *, seconds: float) -> bool:
    """Whether the server takes part in a handshake. It may still want a client certificate."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port, ssl=unverified())
        writer.transport.abort()
        return True
    return False

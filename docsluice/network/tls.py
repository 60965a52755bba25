"""Whether a server speaks TLS, found out by a handshake: its certificate is not looked at, and nothing is sent."""

from __future__ import annotations

import asyncio
import contextlib
import ssl


def unverified() -> ssl.SSLContext:
    """A context that takes any certificate. Only for looks at a server, for it may be anybody."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def speaks_tls(host: str | None, port: int, *, seconds: float) -> bool:
    """Whether it takes part in a handshake. It may still want a certificate of ours before it says more."""
    with contextlib.suppress(OSError):
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(host, port, ssl=unverified())
        writer.transport.abort()
        return True
    return False

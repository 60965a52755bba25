"""The security protocol of a server that closes our connections. A closed connection alone says nothing."""

from __future__ import annotations

import asyncio
import contextlib

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError

from docsluice.network.tls import speaks_tls, unverified


async def protocol_to_set(address: str, *, security_protocol: str, seconds: float) -> str | None:
    """A sentence if the server speaks another protocol than we do. None if that cannot be told.

    Asks only for the server's list of requests: no credentials are sent, and no certificate is looked at.
    """
    host, _, port = address.rpartition(":")
    in_tls, with_sasl = security_protocol.endswith("SSL"), security_protocol.startswith("SASL")
    if not in_tls and await speaks_tls(host, int(port), seconds=seconds):
        return _sentence("it speaks TLS", "SASL_SSL" if with_sasl else "SSL or SASL_SSL")
    if in_tls and await _speaks_kafka(host, int(port), tls=False, seconds=seconds):
        return _sentence("it speaks no TLS", "SASL_PLAINTEXT" if with_sasl else "PLAINTEXT or SASL_PLAINTEXT")
    if not with_sasl and await _speaks_kafka(host, int(port), tls=in_tls, seconds=seconds):
        return _sentence("it wants a user and a password", "SASL_SSL" if in_tls else "SASL_PLAINTEXT")
    return None


def _sentence(what: str, protocol: str) -> str:
    return f"{what}; set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to {protocol}"


async def _speaks_kafka(host: str, port: int, *, tls: bool, seconds: float) -> bool:
    with contextlib.suppress(KafkaError, OSError):
        async with asyncio.timeout(seconds):
            connection = await create_conn(
                host,
                port,
                request_timeout_ms=int(seconds * 1000),
                security_protocol="SSL" if tls else "PLAINTEXT",
                ssl_context=unverified() if tls else None,
            )
        connection.close()
        return True
    return False

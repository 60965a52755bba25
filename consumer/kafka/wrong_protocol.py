"""Which security protocol a server speaks that closes our connections. A closed connection alone says nothing."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError


async def protocol_to_set(address: str, *, security_protocol: str, seconds: float) -> str | None:
    """A sentence when the server speaks Kafka in another way than ours; None when that cannot be told.

    Asks only for the server's list of requests: no credentials are sent, and no certificate is looked at.
    """
    in_tls, with_sasl = security_protocol.endswith("SSL"), security_protocol.startswith("SASL")
    sasl = "SASL_" if with_sasl else ""
    if await _speaks_kafka(address, tls=not in_tls, seconds=seconds):
        speaks, right = ("no TLS", f"{sasl}PLAINTEXT") if in_tls else ("TLS", f"{sasl}SSL")
        return f"{address} speaks {speaks}; set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to {right}"
    if not with_sasl and await _speaks_kafka(address, tls=in_tls, seconds=seconds):
        right = "SASL_SSL" if in_tls else "SASL_PLAINTEXT"
        return f"{address} wants a user and a password; set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to {right}"
    return None


async def _speaks_kafka(address: str, *, tls: bool, seconds: float) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(KafkaError, OSError):
        async with asyncio.timeout(seconds):
            connection = await create_conn(
                host,
                int(port),
                request_timeout_ms=int(seconds * 1000),
                security_protocol="SSL" if tls else "PLAINTEXT",
                ssl_context=_unverified() if tls else None,
            )
        connection.close()
        return True
    return False


def _unverified() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context

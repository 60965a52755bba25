"""`docsluice check` on the wire: what keeps us out is told with the setting that may be wrong."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import structlog

from docsluice_consumer.check.check import check
from docsluice_consumer.settings import load_settings
from docsluice_local.rehearsal.provider import RehearsalProvider
from tests.integration.certificates import self_signed
from tests.integration.guarded_broker import PASSWORD, Guarded
from tests.integration.wire import Wire

Behaviour: TypeAlias = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _said(**overrides: Any) -> tuple[str, str]:
    """The lines of the broker and of the provider, without what they have in common."""
    lines: list[str] = []
    defaults = {"kafka_bootstrap_servers": "localhost:1", "openai_base_url": "http://localhost:1/v1"}
    with structlog.testing.capture_logs() as logged:
        await check(load_settings(defaults | overrides), say=lines.append)
    assert logged == []
    broker, provider = (
        next(line.partition(setting)[2] for line in lines if setting in line)
        for setting in (" (KAFKA_BOOTSTRAP_SERVERS): ", " (OPENAI_BASE_URL): ")
    )
    return broker, provider


@contextlib.asynccontextmanager
async def _listener(behaviour: Behaviour, *, tls: Path | None = None) -> AsyncIterator[str]:
    """Somebody on localhost who is no broker and no provider."""
    context = None
    if tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(tls)
    server = await asyncio.start_server(behaviour, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"localhost:{server.sockets[0].getsockname()[1]}"


async def _closing(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def _web_server(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
    writer.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody vouches for, with its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    _, store = self_signed(tmp_path_factory.mktemp("certificate"))
    return store


async def test_all_well(wire: Wire, provider: RehearsalProvider) -> None:
    """Topics that are missing are no fault. Those that are there are told too."""
    settings = {
        "kafka_bootstrap_servers": wire.bootstrap_servers,
        "openai_base_url": provider.base_url,
        **{f"{name}_topic": topic for name, topic in wire.topics.items()},
    }
    missing = ", ".join(sorted(wire.topics.values()))
    assert (await _said(**settings))[0].startswith(f"reached; {missing} missing, run will create them; cluster ")
    await wire.create_topics()
    assert (await _said(**settings))[0].startswith("reached; all topics are there; cluster ")


async def test_tls_where_none_was_expected(certificate: Path) -> None:
    """It is tried out, so that the line can say what to set."""
    async with _listener(_web_server, tls=certificate) as address:
        broker, provider = await _said(kafka_bootstrap_servers=address, openai_base_url=f"http://{address}/v1")
    assert broker == "it speaks TLS; set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"
    assert provider == "it speaks TLS; begin OPENAI_BASE_URL with https://"


async def test_no_tls_where_it_was_expected() -> None:
    """The other way round."""
    async with _listener(_web_server) as address:
        broker, provider = await _said(
            kafka_bootstrap_servers=address,
            kafka_security_protocol="SSL",
            openai_base_url=f"https://{address}/v1",
        )
    assert broker == "it does not speak TLS; is DOCSLUICE_KAFKA_SECURITY_PROTOCOL=SSL right?"
    assert provider == "no connection to the provider: it does not speak TLS"


async def test_a_certificate_that_nobody_vouches_for(certificate: Path) -> None:
    """With the setting that names the authorities."""
    async with _listener(_web_server, tls=certificate) as address:
        broker, provider = await _said(
            kafka_bootstrap_servers=address,
            kafka_security_protocol="SSL",
            openai_base_url=f"https://{address}/v1",
        )
    assert broker == "its certificate is not trusted, self-signed certificate (DOCSLUICE_KAFKA_SSL_CAFILE)"
    assert (
        provider
        == "no connection to the provider: its certificate is not trusted, self-signed certificate (SSL_CERT_FILE)"
    )


async def test_somebody_else_is_there() -> None:
    """What answers is neither a broker nor a provider."""
    async with _listener(_closing) as hangs_up, _listener(_web_server) as web_server:
        broker, _ = await _said(kafka_bootstrap_servers=hangs_up)
        other, provider = await _said(kafka_bootstrap_servers=web_server, openai_base_url=f"http://{web_server}/")
    assert broker == "it closed the connection; is DOCSLUICE_KAFKA_SECURITY_PROTOCOL=PLAINTEXT right?"
    assert other == broker
    assert provider.startswith(
        "reached, but there is no list of models at this path; did you leave out /v1 (OPENAI_BASE_URL)?"
    )


async def test_somebody_who_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is waited for, and not for ever."""
    for place in ("check.TIMEOUT_SECONDS", "providers.TIMEOUT_SECONDS"):
        monkeypatch.setattr(f"docsluice_consumer.check.{place}", 2.0)
    for place in ("check.HANDSHAKE_SECONDS", "providers.HANDSHAKE_SECONDS"):
        monkeypatch.setattr(f"docsluice_consumer.check.{place}", 0.2)
    ended = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with _listener(silent) as address:
        assert await _said(kafka_bootstrap_servers=address, openai_base_url=f"http://{address}/v1") == (
            "no answer within 2 seconds",
            "no answer within 2 seconds",
        )
        broker, _ = await _said(kafka_bootstrap_servers=f"{address},127.0.0.1:1")
        assert broker == f"127.0.0.1:1: connection refused; {address}: no answer within 1 seconds"
        ended.set()


def _settings_of(guarded: Guarded, **changed: str) -> dict[str, str]:
    """The settings of a consumer that would be let in, with some of them changed."""
    prefix = "DOCSLUICE_"
    named = {name.removeprefix(prefix).lower(): value for name, value in guarded.settings().items()}
    return {"kafka_bootstrap_servers": guarded.secure, **named, **changed}


@pytest.mark.kafka
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "reached; "),
        ({"kafka_sasl_password": "wrong"}, "the broker does not accept the SASL user name or password"),
        ({"kafka_sasl_mechanism": "SCRAM-SHA-256"}, "the broker does not know DOCSLUICE_KAFKA_SASL_MECHANISM"),
        ({"kafka_ssl_cafile": ""}, "its certificate is not trusted, self-signed certificate"),
        (
            {"kafka_security_protocol": "SASL_PLAINTEXT", "kafka_ssl_cafile": ""},
            "set DOCSLUICE_KAFKA_SECURITY_PROTOCOL to SASL_SSL",
        ),
    ],
)
async def test_what_keeps_us_out_is_named(guarded: Guarded, changed: dict[str, str], words: str) -> None:
    """Each wrong setting has a line that tells it from the others, without the password."""
    broker, _ = await _said(**_settings_of(guarded, **changed))
    assert words in broker
    assert PASSWORD not in broker


@pytest.mark.kafka
async def test_an_advertised_address_that_leads_nowhere(guarded: Guarded) -> None:
    """A broker that answers and sends its clients to another name is not said to be away. The name is told."""
    broker, _ = await _said(kafka_bootstrap_servers=guarded.elsewhere)
    port = guarded.elsewhere.rpartition(":")[2]
    assert broker == (
        f"it answers, and sends its clients to nobody.invalid:{port} (advertised.listeners): its name is not known"
    )


@pytest.mark.kafka
async def test_a_dead_letter_topic_that_takes_less_than_the_input_is_told(kafka_wire: Wire) -> None:
    """With the figure to raise it to. It is no failure."""
    await kafka_wire.create_topics()
    lines: list[str] = []
    settings = {
        "kafka_bootstrap_servers": kafka_wire.bootstrap_servers,
        "openai_base_url": "http://localhost:1/v1",
        **{f"{name}_topic": topic for name, topic in kafka_wire.topics.items()},
    }
    await check(load_settings(settings), say=lines.append)
    (said,) = [line for line in lines if "max.message.bytes" in line]
    topic = kafka_wire.topics["dead_letter"]
    assert said.startswith(f"DOUBTFUL sizes (max.message.bytes): raise max.message.bytes of {topic} from 1,048,588 to ")

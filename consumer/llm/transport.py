"""The HTTP client under the SDK: aiohttp, which costs a third less CPU a call than its default one.

Proxies and certificates come from the environment, as with every OpenAI client: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY,
NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, and REQUESTS_CA_BUNDLE where these are not set.
"""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import openai

from consumer.errors import ProviderMisconfigured
from consumer.llm.answer_size import BoundedTransport

_LARGEST_HEADER_BYTES = 128 * 1024
"""Gateways echo headers, cookies and policies; aiohttp's own bound is 8 KiB."""
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def http_client(*, max_connections: int) -> httpx2.AsyncClient:
    """A client that follows no redirect, for the documents would go wherever a server points to.

    Raises:
        ProviderMisconfigured: the certificates that the environment names cannot be read.
    """
    return _Client(
        verify=_trusted(),
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
        limits=httpx2.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
    )


class _Client(openai.DefaultAioHttpClient):
    """Gives each of its transports a session that reads large headers, and bounds what comes back."""

    def _init_transport(self, *args: Any, **settings: Any) -> httpx2.AsyncBaseTransport:
        transport: Any = super()._init_transport(*args, **settings)
        transport.client = _session(transport, settings["limits"])
        return BoundedTransport(transport)

    def _init_proxy_transport(self, proxy: httpx2.Proxy, *args: Any, **settings: Any) -> httpx2.AsyncBaseTransport:
        if proxy.url.scheme not in {"http", "https"}:
            return _NoSuchProxy()
        transport: Any = super()._init_proxy_transport(proxy, *args, **settings)
        transport.client = _session(transport, settings["limits"])
        return BoundedTransport(transport)


class _NoSuchProxy(httpx2.AsyncBaseTransport):
    """Stands where the environment names a SOCKS proxy, which aiohttp does not speak; NO_PROXY may pass it by."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise httpx2.UnsupportedProtocol("only HTTP proxies work (HTTPS_PROXY, ALL_PROXY; NO_PROXY)", request=request)


def _session(transport: Any, limits: httpx2.Limits) -> Callable[[], aiohttp.ClientSession]:
    def opened() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                ssl=transport.ssl_context,
                limit=limits.max_connections or 0,
                keepalive_timeout=limits.keepalive_expiry,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LARGEST_HEADER_BYTES,
            max_field_size=_LARGEST_HEADER_BYTES,
        )

    return opened


def _trusted() -> ssl.SSLContext:
    """The first of the certificates that the environment names; else the usual ones."""
    for name in _CERTIFICATES:
        place = os.environ.get(name)
        if not place:
            continue
        try:
            return _certificates_in(Path(place), changed_at=Path(place).stat().st_mtime_ns)
        except (OSError, ssl.SSLError) as error:
            what = error.strerror if isinstance(error, OSError) and error.strerror else "no certificate is in it"
            raise ProviderMisconfigured(f"the certificates cannot be read ({name}, {place}): {what}") from None
    return _usual_certificates()


# Certificates are read once for all providers: it takes 20 ms, in which nothing else runs.
@functools.lru_cache(maxsize=4)
def _certificates_in(place: Path, *, changed_at: int) -> ssl.SSLContext:  # noqa: ARG001 - a part of the cache's key
    is_folder = place.is_dir()
    return ssl.create_default_context(cafile=None if is_folder else place, capath=place if is_folder else None)


@functools.cache
def _usual_certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)

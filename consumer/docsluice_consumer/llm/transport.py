"""The HTTP client under the SDK: aiohttp, which costs a third less CPU a call than its default one.

Proxies and certificates come from the environment, as with every OpenAI client: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY,
NO_PROXY, SSL_CERT_FILE, SSL_CERT_DIR, and REQUESTS_CA_BUNDLE where these are not set.
"""

from __future__ import annotations

import functools
import os
import ssl
from operator import itemgetter
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import openai

from docsluice_consumer.errors import ConfigurationError
from docsluice_consumer.llm.response_limit import BoundedTransport

_LARGEST_HEADER_BYTES = 128 * 1024
"""Gateways echo headers, cookies and policies. aiohttp's own bound is 8 KiB."""
_KEPT_SECONDS = 3.0
"""How long an idle connection stays open. Uvicorn (vLLM, SGLang) and Node close theirs after 5 seconds.

Without a margin, a call may go out on a connection that its server is just closing.
"""
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Connections:
    """Connections that clients share, through proxies or not: at most `most`, idle ones included."""

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._connector: _Connector | None = None

    def session(self, *, trusted: ssl.SSLContext) -> aiohttp.ClientSession:
        """A session over these connections that reads large headers."""
        if self._connector is None or self._connector.closed:
            self._connector = _Connector(ssl=trusted, limit=self._most, keepalive_timeout=_KEPT_SECONDS)
        return aiohttp.ClientSession(
            connector=self._connector,
            connector_owner=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=_LARGEST_HEADER_BYTES,
            max_field_size=_LARGEST_HEADER_BYTES,
        )

    async def close(self) -> None:
        """Close them."""
        if self._connector is not None:
            await self._connector.close()


def http_client(connections: Connections) -> RepeatingClient:
    """A client that follows no redirect. Otherwise documents would go wherever a server points to.

    Raises:
        ConfigurationError: the certificates that the environment names cannot be read.
    """
    return RepeatingClient(
        connections,
        verify=_trusted(),
        follow_redirects=False,
        headers={"Accept-Encoding": "identity"},
    )


class RepeatingClient(openai.DefaultAioHttpClient):
    """Gives each of its transports a session over the shared connections, and bounds what comes back.

    It can send a request again that the SDK has built, with another body. The SDK builds each request from the start,
    which takes more than half of a call's CPU time: 0.4 of 0.7 ms.
    """

    def __init__(self, connections: Connections, **settings: Any) -> None:
        self._connections = connections
        super().__init__(**settings)

    async def repeat(self, built: httpx2.Request, content: bytes) -> httpx2.Response:
        """Send a request with this body instead of its own. The response may have any status.

        Raises:
            openai.APIConnectionError: there was no answer; see its cause. `APITimeoutError` is one.
        """
        headers = httpx2.Headers(built.headers)
        headers["Content-Length"] = str(len(content))
        request = httpx2.Request(
            built.method, built.url, headers=headers, stream=httpx2.ByteStream(content), extensions=built.extensions
        )
        request.read()
        try:
            return await self._transport_for_url(request.url).handle_async_request(request)
        except httpx2.TimeoutException as error:
            raise openai.APITimeoutError(request=request) from error
        except httpx2.RequestError as error:
            raise openai.APIConnectionError(request=request) from error

    def _init_transport(self, *args: Any, **settings: Any) -> httpx2.AsyncBaseTransport:
        return self._bounded(super()._init_transport(*args, **settings))

    def _init_proxy_transport(self, proxy: httpx2.Proxy, *args: Any, **settings: Any) -> httpx2.AsyncBaseTransport:
        if proxy.url.scheme not in {"http", "https"}:
            return _NoSuchProxy()
        return self._bounded(super()._init_proxy_transport(proxy, *args, **settings))

    def _bounded(self, transport: Any) -> httpx2.AsyncBaseTransport:
        transport.client = functools.partial(self._connections.session, trusted=transport.ssl_context)
        return BoundedTransport(transport)


class _Connector(aiohttp.TCPConnector):
    """Makes room among the idle connections before it opens one more: aiohttp's own limit does not count them.

    It looks into aiohttp's pool, which is not part of its interface.
    """

    async def _create_connection(self, *args: Any, **more: Any) -> Any:
        self._make_room()
        return await super()._create_connection(*args, **more)

    def _make_room(self) -> None:
        """Close the connections that are idle longest. The one to be opened is counted already."""
        idle = sorted(((since, key) for key, kept in self._conns.items() for _, since in kept), key=itemgetter(0))
        for _, key in idle[: max(0, len(idle) + len(self._acquired) - self.limit)]:
            connection, _ = self._conns[key].popleft()  # the oldest of its kind
            if not self._conns[key]:
                del self._conns[key]
            connection.abort()  # closing a TLS connection waits for the other side


class _NoSuchProxy(httpx2.AsyncBaseTransport):
    """Takes the place of a SOCKS proxy, which aiohttp does not speak. NO_PROXY may bypass it."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        raise httpx2.UnsupportedProtocol("only HTTP proxies work (HTTPS_PROXY, ALL_PROXY; NO_PROXY)", request=request)


def _trusted() -> ssl.SSLContext:
    """The first certificates that the environment names, else the usual ones."""
    for name in _CERTIFICATES:
        place = os.environ.get(name)
        if not place:
            continue
        try:
            return _certificates_in(Path(place), changed_at=Path(place).stat().st_mtime_ns)
        except (OSError, ssl.SSLError) as error:
            what = error.strerror if isinstance(error, OSError) and error.strerror else "no certificate is in it"
            raise ConfigurationError([f"{name}: the certificates in {place} cannot be read: {what}"]) from None
    return _usual_certificates()


# Certificates are read once for all providers: it takes 20 ms, in which nothing else runs.
@functools.lru_cache(maxsize=4)
def _certificates_in(place: Path, *, changed_at: int) -> ssl.SSLContext:  # noqa: ARG001 - a part of the cache's key
    is_folder = place.is_dir()
    return ssl.create_default_context(cafile=None if is_folder else place, capath=place if is_folder else None)


@functools.cache
def _usual_certificates() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)

"""The model client between an environment and a server as they are: keys, addresses, proxies, certificates, headers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from docsluice_consumer.errors import (
    CallRefused,
    ConfigurationError,
    DocsluiceError,
    ProviderUnavailable,
    RateLimited,
)
from docsluice_consumer.llm.chat import Answer
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import CommandKey, FileKey, StaticKey
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.model_ref import ModelRef
from tests.examples import examples
from tests.fakes.contracts import TEXT
from tests.fakes.samples import SECRET_TEXT, chat_request
from tests.integration.certificates import self_signed
from tests.integration.model_server import Answering, Server, completion_of, error, ok

KEY = "sk-verysecret"
NO_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NO_PROXIES, *CERTIFICATES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@contextlib.asynccontextmanager
async def _client(base_url: str, **more: Any) -> AsyncIterator[OpenAIChatClient]:
    fields = {"credentials": StaticKey(KEY), "request_timeout_seconds": 20.0, **more}
    client = OpenAIChatClient(provider=Provider(base_url=base_url, **fields), max_connections=10)
    try:
        yield client
    finally:
        await client.close()


def _for(key: str) -> tuple[Answering, Callable[[], Server]]:
    """A server that takes this key only."""
    server: Server

    def answer(_body: dict[str, Any]) -> web.Response:
        given = server.headers[-1].get("Authorization")
        return web.json_response(completion_of()) if given == f"Bearer {key}" else error(401, code="invalid_api_key")

    server = Server(answer)
    return answer, lambda: server


async def test_an_expired_key_is_had_anew(tmp_path: Path) -> None:
    """Once a 401 comes the file is read again, and the call is made once more. The next calls have the new key."""
    server = _for("second")[1]()
    path = tmp_path / "key"
    path.write_text("first")
    async with server.running(), _client(server.base_url, credentials=FileKey(path)) as client:
        with pytest.raises(CallRefused):
            await client.ask(chat_request())
        assert len(server.bodies) == 1, "the same key is not sent twice"
        path.write_text("second")
        answers = await asyncio.gather(*(client.ask(chat_request()) for _ in range(5)))
    assert [answer.text for answer in answers] == [TEXT] * 5


async def test_a_commands_key_is_had_anew_by_many_calls_at_once(tmp_path: Path) -> None:
    """The command is run once for all of them, and each call is retried."""
    count = tmp_path / "count"
    code = f"open({str(count)!r}, 'a').write('x'); print('key-' + str(len(open({str(count)!r}).read())))"
    server = _for("key-2")[1]()
    now = 0.0
    command = CommandKey([sys.executable, "-c", code], now=lambda: now)
    async with server.running(), _client(server.base_url, credentials=command) as client:
        assert await command.key() == "key-1"
        now = 100.0
        answers = await asyncio.gather(*(client.ask(chat_request()) for _ in range(5)))
    assert [answer.text for answer in answers] == [TEXT] * 5
    assert count.read_text() == "xx"


async def test_a_key_that_no_provider_takes_is_told_as_such() -> None:
    """Also where the list of models is asked for, and whatever the status."""
    bad = web.json_response(
        [{"error": {"code": 400, "message": f"API key not valid: {KEY}", "status": "X"}}], status=400
    )
    server = Server(lambda _: error(401), models=lambda: bad)
    async with server.running(), _client(server.base_url) as client:
        with pytest.raises(CallRefused) as caught:
            await client.probe()
    assert (caught.value.kind, caught.value.is_certain) == ("credentials", True)
    assert "OPENAI_API_KEY" in caught.value.remedy
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_a_server_without_a_list_of_models(status: int) -> None:
    """It may well answer questions."""
    server = Server(ok(), models=lambda: web.json_response({"detail": "Not Found"}, status=status))
    async with server.running(), _client(server.base_url) as client:
        assert await client.probe() == []


async def test_azures_classic_address() -> None:
    """The deployment is in the path, the version in the query, and the key in a header of its own."""
    server = Server(ok())
    async with server.running():
        root = server.base_url.removesuffix("/v1")
        async with _client(f"{root}/openai/deployments/d?api-version=2024-10-21") as client:
            await client.ask(chat_request())
        async with _client(root, azure_api_version="2025-01-01") as client:
            await client.ask(chat_request(model="my model", max_output_tokens=5))
        async with _client(root, azure_api_version="1", credentials=StaticKey("eyJtoken")) as client:
            await client.ask(chat_request(model="m"))
    assert [url.removeprefix(root) for url in server.urls] == [
        "/openai/deployments/d/chat/completions?api-version=2024-10-21",
        "/openai/deployments/my%20model/chat/completions?api-version=2025-01-01",
        "/openai/deployments/m/chat/completions?api-version=1",
    ]
    assert [(headers.get("api-key"), headers.get("Authorization")) for headers in server.headers] == [
        (KEY, None),
        (KEY, None),
        (None, "Bearer eyJtoken"),
    ]
    assert server.bodies[1]["max_completion_tokens"] == 5


async def test_a_query_is_kept_on_every_call() -> None:
    """Some gateways tell their tenants by it."""
    server = Server(ok())
    async with server.running(), _client(f"{server.base_url}?tenant=a%20b") as client:
        await client.ask(chat_request())
        await client.probe()
    assert server.urls == [f"{server.base_url}/chat/completions?tenant=a+b"]


async def test_headers_of_the_settings_are_sent() -> None:
    """Also in place of the key."""
    server = Server(ok())
    headers = {"X-Title": "docs", "authorization": "Basic abcdefgh"}
    async with server.running(), _client(server.base_url, headers=headers) as client:
        await client.ask(chat_request())
    sent = {name.lower(): value for name, value in server.headers[0].items()}
    assert (sent["x-title"], sent["authorization"]) == ("docs", "Basic abcdefgh")


async def test_large_response_headers_are_read() -> None:
    """Gateways echo what they were told."""
    server = Server(lambda _: web.json_response(completion_of(), headers={"x-trace": "t" * 60_000}))
    async with server.running(), _client(server.base_url) as client:
        assert (await client.ask(chat_request())).text == TEXT


async def test_a_proxy_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked for an address that nobody else could find. NO_PROXY passes it by."""
    server = Server(ok())
    async with server.running():
        monkeypatch.setenv("HTTP_PROXY", server.base_url.removesuffix("/v1"))
        async with _client("http://model.invalid/v1") as client:
            assert (await client.ask(chat_request())).text == TEXT
        assert server.urls == ["http://model.invalid/v1/chat/completions"]
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        async with _client(server.base_url) as client:
            with pytest.raises(ProviderUnavailable, match="proxy"):
                await client.ask(chat_request())
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with _client(server.base_url) as client:
            assert (await client.ask(chat_request())).text == TEXT


async def test_a_proxy_that_wants_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """No document can cause that."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        async with _client("https://model.invalid/v1") as client:
            with pytest.raises(CallRefused) as caught:
                await client.ask(chat_request())
    assert (caught.value.kind, caught.value.is_certain) == ("proxy", True)


async def test_a_socks_proxy_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    """The transport speaks to HTTP proxies only."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    async with _client("http://model.invalid/v1") as client:
        with pytest.raises(ProviderUnavailable, match="only HTTP proxies work"):
            await client.ask(chat_request())


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
async def test_the_companys_certificates(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that the environment names are trusted. Without them it is told what is not trusted."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    authority, store = self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(store)
    server = Server(ok(), tls=context)
    async with server.running():
        base_url = server.base_url.replace("127.0.0.1", "localhost")
        async with _client(base_url) as client:
            with pytest.raises(ProviderUnavailable, match=r"certificate is not trusted.*\(SSL_CERT_FILE\)"):
                await client.ask(chat_request())
        monkeypatch.setenv(name, str(authority))
        async with _client(base_url) as client:
            assert (await client.ask(chat_request())).text == TEXT


def test_certificates_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, with the name of the variable."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match=r"^SSL_CERT_FILE: "):
        OpenAIChatClient(provider=Provider(), max_connections=1)


async def test_what_is_learned_is_logged_once() -> None:
    """With the model, the parameter, and what it means, and nothing of the document."""

    def answer(body: dict[str, Any]) -> web.Response:
        if "response_format" not in body:
            return web.json_response(completion_of())
        return error(422, f"response_format is not supported, for {SECRET_TEXT}")

    server = Server(answer)
    with structlog.testing.capture_logs() as logs:
        async with server.running(), _client(server.base_url, name="own") as client:
            request = replace(chat_request(SECRET_TEXT), model=ModelRef("own", "small"))
            await asyncio.gather(*(client.ask(request) for _ in range(5)))
    learned = [entry for entry in logs if entry["event"] == "provider.capability_learned"]
    assert [entry["parameter"] for entry in learned] == ["response_format json_schema", "response_format json_object"]
    assert {(entry["model"], entry["log_level"]) for entry in learned} == {("own/small", "warning")}
    assert "Quillon" not in str(logs)


async def test_a_lesson_is_tried_again_after_an_hour_by_one_call() -> None:
    """And forgotten where the server has learned meanwhile. The log says that, too."""
    now, is_old = 0.0, True

    def answer(body: dict[str, Any]) -> web.Response:
        if is_old and "max_tokens" in body:
            return error(400, "'max_tokens' is not supported", param="max_tokens")
        return web.json_response(completion_of())

    server = Server(answer)
    with structlog.testing.capture_logs() as logs:
        async with server.running():
            provider = Provider(base_url=server.base_url, credentials=StaticKey(KEY))
            client = OpenAIChatClient(provider=provider, max_connections=10, now=lambda: now)

            async def asked() -> list[bool]:
                server.bodies.clear()
                await client.ask(chat_request(max_output_tokens=5))
                return ["max_tokens" in body for body in server.bodies]

            assert await asked() == [True, False]
            assert await asked() == [False]
            now = 3601.0
            assert await asked() == [True, False], "it still does not know it"
            assert await asked() == [False]
            now, is_old = 7203.0, False
            assert await asked() == [True]
            assert await asked() == [True]
            await client.close()
    learned = [entry["meaning"] for entry in logs if entry["event"] == "provider.capability_learned"]
    assert learned == [
        "the bound on the answer goes by its other name, or is left out",
        "is sent again, for the model takes it now",
    ]


async def test_a_server_that_complains_of_everything_is_not_asked_for_ever() -> None:
    """Each call makes a bounded number of tries."""

    def answer(body: dict[str, Any]) -> web.Response:
        named = next((name for name in body if name not in {"model", "messages"}), "messages")
        return error(400, f"'{named}' is not supported", param=named)

    server = Server(answer)
    async with server.running(), _client(server.base_url) as client:
        with pytest.raises(CallRefused):
            await client.ask(chat_request(max_output_tokens=5))
    assert len(server.bodies) == 5


async def test_a_limit_of_one_model_is_not_that_of_another() -> None:
    """Each has its own headers."""

    def answer(body: dict[str, Any]) -> web.Response:
        limit = {"a": 600, "b": 60}[body["model"]]
        told = {"limit": str(limit), "remaining": str(limit // 2), "reset": "30s"}
        return error(429, headers={f"x-ratelimit-{name}-requests": value for name, value in told.items()})

    server = Server(answer)
    limits = []
    async with server.running(), _client(server.base_url) as client:
        for model in ("a", "b"):
            with pytest.raises(RateLimited) as caught:
                await client.ask(chat_request(model=model))
            limits.append(caught.value.limits)
    assert limits == [{"requests": 600}, {"requests": 60}]


NAMES = st.sampled_from(
    ["error", "message", "code", "choices", "type", "detail", "usage", "content", "param", "finish_reason"]
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.sampled_from([KEY, SECRET_TEXT, "429", "stop", TEXT]))
JSON = st.recursive(SCALARS, lambda j: st.lists(j, max_size=3) | st.dictionaries(NAMES, j, max_size=5), max_leaves=15)


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(200, 599), JSON), min_size=1, max_size=10))
def test_whatever_a_server_answers_is_an_answer_or_a_fault_of_ours(told: list[tuple[int, Any]]) -> None:
    """With any status and any JSON. The key is nowhere, and neither is the document in what is logged."""

    async def ask_all() -> None:
        left = iter(told)

        def answer(_body: dict[str, Any]) -> web.Response:
            status, body = next(left, (500, None))
            return web.Response(status=status, text=json.dumps(body), content_type="application/json")

        server = Server(answer)
        async with server.running(), _client(server.base_url) as client:
            for _ in told:
                (end,) = await asyncio.gather(client.ask(chat_request(SECRET_TEXT)), return_exceptions=True)
                assert isinstance(end, Answer | DocsluiceError)
                if isinstance(end, DocsluiceError):
                    assert KEY not in f"{end} {vars(end)}"
                    assert "Quillon" not in str(getattr(end, "cause", ""))

    asyncio.run(ask_all())

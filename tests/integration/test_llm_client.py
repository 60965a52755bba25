"""The model client on the wire, against a server of a few lines that does what each test tells it to."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import structlog
from aiohttp import web

from docsluice.messages import DeadLetterReason, Usage
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.model_caller import ModelCaller
from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    DocsluiceError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)
from docsluice_consumer.llm.chat import ChatClient, ChatRequest, Message, Sampling
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.credentials import NoKey, StaticKey
from docsluice_consumer.llm.provider import Provider
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.pipeline import Pipeline
from docsluice_consumer.store.memory_store import NoStore
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.contracts import TEXT, USED, Behaviour, ChatClientContract
from tests.fakes.pipelines import pipeline_of
from tests.fakes.prices import FakePrices
from tests.fakes.samples import SECRET_TEXT, chat_request, document, steps
from tests.fakes.sink import FakeSink
from tests.fakes.timer import FakeSleep, QuickTimer
from tests.integration.model_server import Answering, Server, completion_of, error, ok

KEY = "sk-verysecret"


@contextlib.asynccontextmanager
async def _client(
    base_url: str, *, timeout_seconds: float = 20.0, key: str | None = KEY
) -> AsyncIterator[OpenAIChatClient]:
    provider = Provider(
        base_url=base_url,
        credentials=StaticKey(key) if key else NoKey(),
        request_timeout_seconds=timeout_seconds,
    )
    client = OpenAIChatClient(provider=provider, max_connections=10)
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def _serving(answer: Answering, **more: Any) -> AsyncIterator[tuple[Server, OpenAIChatClient]]:
    async with Server(answer).running() as server, _client(server.base_url, **more) as client:
        yield server, client


async def _fault(answer: Answering, **more: Any) -> DocsluiceError:
    """What the client raises when the server does this."""
    async with _serving(answer, **more) as (_, client):
        with pytest.raises(DocsluiceError) as caught:
            await client.ask(chat_request(SECRET_TEXT))
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None, "its cause may hold the key, and a dead letter carries the stack trace"
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return caught.value


class TestOpenAIChatClient(ChatClientContract):
    """The real client keeps the contract that the fake one keeps."""

    _server: Server

    @contextlib.asynccontextmanager
    async def client(self, behaviour: Behaviour) -> AsyncIterator[ChatClient]:
        answers: dict[Behaviour, Answering] = {
            Behaviour.ANSWER: ok(),
            Behaviour.REFUSE: ok(completion_of(None, message={"refusal": "I cannot."})),
            Behaviour.CUT: ok(completion_of("{", finish_reason="length")),
            Behaviour.RATE_LIMIT: lambda _: error(429, headers={"retry-after": "7"}),
            Behaviour.NO_QUOTA: lambda _: error(429, code="insufficient_quota"),
            Behaviour.BREAK: lambda _: error(500),
            Behaviour.REJECT: lambda _: error(413),
            Behaviour.DENY: lambda _: error(401),
        }
        async with _serving(answers[behaviour]) as (self._server, client):
            yield client

    def calls(self) -> int:
        return len(self._server.bodies)


async def test_a_request_on_the_wire() -> None:
    """Model, turns, schema and parameters, and nothing that the pipeline did not ask for."""
    request = ChatRequest(
        step="summary",
        model=model_ref("gpt-4o-mini"),
        messages=(Message("system", "S"), Message("user", "Tiếng Việt")),
        schema={"type": "object"},
        sampling=Sampling(max_output_tokens=50, temperature=0.0, frequency_penalty=0.5),
    )
    async with _serving(ok()) as (server, client):
        await client.ask(request)
    assert server.bodies == [
        {
            "model": "gpt-4o-mini",
            "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "Tiếng Việt"}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "summary", "strict": True, "schema": {"type": "object"}},
            },
            "max_tokens": 50,
            "temperature": 0.0,
            "frequency_penalty": 0.5,
        }
    ]
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


async def test_a_server_that_wants_no_key_gets_none_of_ours() -> None:
    """The SDK insists on one. A stand-in is sent, and never an empty header."""
    async with _serving(ok(), key=None) as (server, client):
        await client.ask(chat_request())
    assert server.headers[0]["Authorization"] == "Bearer none"


async def test_the_models_of_a_server() -> None:
    """What `check` shows."""
    async with _serving(ok()) as (_, client):
        assert await client.probe() == ["a", "b"]


def _knowing(*formats: str | None, param: str | None = "response_format", message: str = "unsupported") -> Answering:
    """A server that takes these response formats and no other."""

    def answer(body: dict[str, Any]) -> web.Response:
        asked = body.get("response_format", {}).get("type")
        return web.json_response(completion_of()) if asked in formats else error(400, message, param=param)

    return answer


@pytest.mark.parametrize(
    ("formats", "asked"),
    [
        (("json_schema",), ["json_schema"]),
        (("json_object", None), ["json_schema", "json_object"]),
        ((None,), ["json_schema", "json_object", None]),
    ],
)
async def test_a_server_without_structured_outputs(formats: tuple[str | None, ...], asked: list[str | None]) -> None:
    """It is asked for less until it understands, once. Then that is remembered, for the same step."""
    async with _serving(_knowing(*formats)) as (server, client):
        for step in ("summary", "summary", "keywords"):
            assert (await client.ask(chat_request(step=step))).text == TEXT
    types = [body.get("response_format", {}).get("type") for body in server.bodies]
    assert types == [*asked, asked[-1], *asked]


async def test_a_server_that_does_not_enforce_the_schema_is_told_it() -> None:
    """In the system's turn, so that the model knows what to write."""
    async with _serving(_knowing(None)) as (server, client):
        request = chat_request()
        await client.ask(request)
    system, user = server.bodies[-1]["messages"]
    assert system["content"].startswith("Answer.\n")
    assert json.dumps(request.schema) in system["content"]
    assert user == {"role": "user", "content": "A document."}


async def test_a_server_that_names_no_parameter_is_understood_by_its_words() -> None:
    """Many put it into the message only."""
    answer = _knowing("json_object", param=None, message="response_format: 'json_schema' is not supported")
    async with _serving(answer) as (server, client):
        assert (await client.ask(chat_request())).text == TEXT
    assert len(server.bodies) == 2


async def test_a_400_about_the_document_teaches_nothing() -> None:
    """It is raised at once, and the next document is still asked with a schema."""
    async with _serving(lambda _: error(400, "response_format is in the text", param="messages")) as (server, client):
        for _ in range(2):
            with pytest.raises(CallRefused):
                await client.ask(chat_request())
    assert [body["response_format"]["type"] for body in server.bodies] == ["json_schema"] * 2


async def test_calls_under_way_together_learn_once() -> None:
    """Ten calls that all meet the same 400 go one step down the ladder, and not ten."""
    async with _serving(_knowing("json_object")) as (server, client):
        await asyncio.gather(*(client.ask(chat_request()) for _ in range(10)))
        server.bodies.clear()
        await client.ask(chat_request())
    assert [body["response_format"]["type"] for body in server.bodies] == ["json_object"]


@pytest.mark.parametrize("known", ["max_tokens", "max_completion_tokens"])
async def test_the_name_of_the_output_bound(known: str) -> None:
    """Newer models refuse the old name and older servers the new one. Which it is, is learned once."""

    def answer(body: dict[str, Any]) -> web.Response:
        (asked,) = {"max_tokens", "max_completion_tokens"} & set(body)
        return web.json_response(completion_of()) if asked == known else error(400, "unsupported", param=asked)

    async with _serving(answer) as (server, client):
        for _ in range(2):
            assert (await client.ask(chat_request(max_output_tokens=50))).text == TEXT
    assert server.bodies[-1][known] == 50
    assert len(server.bodies) == (2 if known == "max_tokens" else 3)


async def test_a_server_that_knows_no_bound_at_all() -> None:
    """It is asked without one."""

    def answer(body: dict[str, Any]) -> web.Response:
        asked = {"max_tokens", "max_completion_tokens"} & set(body)
        return error(422, f"Unrecognized field: {min(asked)}") if asked else web.json_response(completion_of())

    async with _serving(answer) as (server, client):
        assert (await client.ask(chat_request(max_output_tokens=50))).text == TEXT
    assert len(server.bodies) == 3


async def test_a_bound_that_is_too_large_teaches_nothing() -> None:
    """It is about the number: the name is right, and other calls are made as before."""

    def answer(body: dict[str, Any]) -> web.Response:
        (asked,) = {"max_tokens", "max_completion_tokens"} & set(body)
        message = f"{asked} is too large: 50. This model supports at most 10 completion tokens."
        return error(400, message, param=asked, code="invalid_value")

    async with _serving(answer) as (server, client):
        for calls in (1, 2):
            with pytest.raises(CallRefused, match="too large") as caught:
                await client.ask(chat_request(max_output_tokens=50))
            assert len(server.bodies) == calls
    assert (caught.value.parameter, caught.value.is_certain) == ("max_tokens", False)
    assert "max_output_tokens" in caught.value.remedy
    assert all("max_tokens" in body for body in server.bodies)


async def test_a_model_that_takes_neither_schema_nor_bound_is_asked_without() -> None:
    """Everything is learned in one row of calls."""

    def answer(body: dict[str, Any]) -> web.Response:
        for name in ("response_format", "max_tokens"):
            if name in body:
                return error(400, "unsupported", param=name)
        return web.json_response(completion_of())

    async with _serving(answer) as (server, client):
        assert (await client.ask(chat_request(max_output_tokens=50))).text == TEXT
    assert len(server.bodies) == 4


async def _hang(_body: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


async def test_a_server_that_hangs() -> None:
    """The call ends at its time-out. The tokens may have been counted all the same."""
    assert isinstance(await _fault(_hang, timeout_seconds=0.2), CallTimedOut)


async def test_a_server_that_trickles() -> None:
    """A byte now and then does not put off the end: the time-out is for the whole call."""

    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "application/json"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.05)
        return response

    async with _raw_route(drip) as base_url, _client(base_url, timeout_seconds=0.3) as client:
        with pytest.raises(CallTimedOut):
            await client.ask(chat_request())


@contextlib.asynccontextmanager
async def _raw_route(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    app = web.Application()
    app.add_routes([web.post("/v1/chat/completions", handler)])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        await runner.cleanup()


async def test_connection_refused() -> None:
    """Nobody listens: it may come back, and it is told in words."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    async with _client(f"http://127.0.0.1:{port}/v1") as client:
        with pytest.raises(ProviderUnavailable, match="refused"):
            await client.ask(chat_request())


async def test_a_name_that_does_not_resolve() -> None:
    """The network may be away as a whole."""
    async with _client("http://nowhere.invalid/v1") as client:
        with pytest.raises(ProviderUnavailable):
            await client.ask(chat_request())


@contextlib.asynccontextmanager
async def _bytes_server(answer: bytes) -> AsyncIterator[str]:
    """Reads a request, writes these bytes, and hangs up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        with contextlib.suppress(ConnectionError):  # not everybody hears us out
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        server.close()
        await server.wait_closed()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-",
        HEAD + b"Content-Length: 1000\r\n\r\n{",
        HEAD + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"cho\r\n',
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        HEAD + b'Content-Length: 12\r\n\r\n{"a": "\xff\xfe"}\n',
        HEAD + b"Content-Length: 0\r\n\r\n",
        HEAD + b"Content-Length: 1\r\n\r\n{",
    ],
    ids=["nothing", "half a head", "half a body", "half a chunk", "no gzip", "no HTTP", "no UTF-8", "empty", "no JSON"],
)
async def test_a_connection_that_breaks(answer: bytes) -> None:
    """At whatever point, it may be tried again. Where a success had begun, it may have been paid for."""
    begun = answer.startswith(HEAD)
    async with _bytes_server(answer) as base_url, _client(base_url) as client:
        with pytest.raises(AnswerUnreadable if begun else ProviderUnavailable):
            await client.ask(chat_request())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(HEAD + b"\r\n" + b" " * 17_000_000, id="plain"),
        pytest.param(
            HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(300_000_000), 1, mtime=0), id="packed"
        ),
        pytest.param(
            HEAD + b"Content-Encoding: gzip, gzip\r\n\r\n" + gzip.compress(gzip.compress(bytes(10_000_000), mtime=0)),
            id="packed twice",
        ),
    ],
)
async def test_an_answer_that_is_too_large_is_not_held(answer: bytes) -> None:
    """A server that never stops, or sends a bomb, costs a bounded number of bytes, and it is the provider's fault."""
    async with _bytes_server(answer) as base_url, _client(base_url) as client:
        with pytest.raises(AnswerUnreadable, match=r"larger than any completion|nobody asked for"):
            await client.ask(chat_request())


async def test_a_packed_answer_of_ordinary_size() -> None:
    """We ask for none, and read it all the same."""
    packed = gzip.compress(json.dumps(completion_of()).encode())
    async with (
        _bytes_server(HEAD + b"Content-Encoding: gzip\r\n\r\n" + packed) as base_url,
        _client(base_url) as client,
    ):
        assert (await client.ask(chat_request())).text == TEXT


async def test_a_redirect_says_where_to_look() -> None:
    """A base URL that has moved is no document's fault."""
    moved = web.Response(status=304)
    fault = await _fault(lambda _: moved)
    assert isinstance(fault, CallRefused)
    assert "OPENAI_BASE_URL" in fault.remedy


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """Whatever server points elsewhere, no document goes there."""
    async with Server(ok()).running() as elsewhere:
        moved = {"Location": f"{elsewhere.base_url}/chat/completions"}
        fault = await _fault(lambda _: web.Response(status=status, headers=moved))
        assert elsewhere.bodies == []
    assert isinstance(fault, CallRefused)
    assert (fault.kind, "OPENAI_BASE_URL" in fault.remedy) == ("path", True)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [(b"[" * 200_000, "application/json"), (b"{}", "text/plain; charset=idna"), (b"{}", "text/plain; charset=base64")],
)
async def test_what_nobody_has_foreseen_is_no_documents_fault(body: bytes, content_type: str) -> None:
    """Whatever breaks while a provider's answer is read: the document waits, and is tried again."""
    answer = web.Response(body=body, headers={"content-type": content_type})
    assert isinstance(await _fault(lambda _: answer), AnswerUnreadable)


async def test_a_usage_beyond_all_measure_is_bounded() -> None:
    """It would spoil the sums and hold up the limits for years."""
    usage = {"prompt_tokens": 10**15, "completion_tokens": 10**30, "total_tokens": 1}
    async with _serving(ok(completion_of(usage=usage))) as (_, client):
        answer = await client.ask(chat_request())
    assert answer.usage == Usage(input_tokens=10_000_000, output_tokens=10_000_000, cached_tokens=0)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "words",
        None,
        {"choices": []},
        {"choices": None},
        {"choices": "words"},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
    ],
    ids=str,
)
async def test_an_answer_without_a_message(body: Any) -> None:
    """A 200 that holds none may have been paid for, and what came instead is told."""
    fault = await _fault(lambda _: web.Response(text=json.dumps(body), content_type="application/json"))
    assert isinstance(fault, AnswerUnreadable)
    assert "application/json" in fault.cause


async def test_a_broken_off_answer_is_tried_again() -> None:
    """DeepSeek was out of machines in the middle of it. What it has used is known all the same."""
    fault = await _fault(ok(completion_of("{", finish_reason="insufficient_system_resource")))
    assert isinstance(fault, ProviderUnavailable)
    assert fault.usage == USED


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"code": 429, "message": "Too Many Requests"}, "user_id": "u"}, RateLimited),
        ({"error": {"code": 402, "message": "Insufficient credits"}}, QuotaExhausted),
        ({"error": {"code": 400, "message": "maximum context length is 500 tokens"}}, RecordRejected),
        ({"error": {"code": 403, "message": "your input was flagged"}}, RecordRejected),
        ({"error": {"message": "overloaded"}}, ProviderUnavailable),
        ({"choices": [{"error": {"code": 502, "message": "x"}, "finish_reason": "error"}]}, ProviderUnavailable),
        ({"choices": [], "promptFeedback": {"blockReason": "SAFETY"}}, RecordRejected),
    ],
    ids=str,
)
async def test_an_error_inside_a_200(body: Any, kind: type[DocsluiceError]) -> None:
    """It counts as the status that it tells, in the provider's words."""
    fault = await _fault(ok(body))
    assert isinstance(fault, kind)


async def test_a_web_page_instead_of_an_answer() -> None:
    """A proxy's login page comes with a 200, too."""
    page = "<html><head><title>Log in</title></head><body>Welcome</body></html>"
    fault = await _fault(lambda _: web.Response(text=page, content_type="text/html"))
    assert isinstance(fault, AnswerUnreadable)
    assert fault.cause.endswith("it is no JSON (text/html): a web page with the title “Log in”")


async def test_a_page_that_quotes_the_document_is_told_without_it() -> None:
    """The cause is logged."""
    page = f"Sorry, we could not read: {SECRET_TEXT} Please try again."
    fault = await _fault(lambda _: web.Response(text=page))
    assert isinstance(fault, AnswerUnreadable)
    assert "Sorry, we could not read: …. Please try again" in fault.cause
    assert "Quillon" not in str(fault)


@pytest.mark.parametrize("content", [None, "", 7, [None], [{"type": "thinking", "thinking": "hm"}]])
async def test_a_message_without_words(content: Any) -> None:
    """It is an empty answer, which the step will find invalid."""
    async with _serving(ok(completion_of(content))) as (_, client):
        assert (await client.ask(chat_request())).text == ""


async def test_half_an_emoji_can_be_sent_back() -> None:
    """What the model says goes into the request for a repair, and that must be valid Unicode."""
    text = json.dumps(completion_of("ab\ud83d"))
    async with _serving(lambda _: web.Response(text=text, content_type="application/json")) as (_, client):
        answer = await client.ask(chat_request())
    assert answer.text == "ab?"


async def test_a_server_that_leaves_out_everything_it_may() -> None:
    """One message with words is an answer."""
    async with _serving(ok({"choices": [{"message": {"content": TEXT}}]})) as (_, client):
        answer = await client.ask(chat_request())
    assert (answer.text, answer.finish_reason, answer.refusal, answer.usage) == (TEXT, "stop", None, None)


async def test_cached_tokens_are_a_part_of_the_input() -> None:
    """They cost less, and they are still read."""
    async with _serving(ok()) as (_, client):
        assert (await client.ask(chat_request())).usage == USED


async def test_a_content_filter_that_cuts_the_answer() -> None:
    """The finish reason is passed on as it is."""
    async with _serving(ok(completion_of("", finish_reason="content_filter"))) as (_, client):
        assert (await client.ask(chat_request())).finish_reason == "content_filter"


@pytest.mark.parametrize(
    ("status", "fields", "reason"),
    [
        (400, {"code": "context_length_exceeded"}, DeadLetterReason.TOO_LARGE),
        (400, {"code": "content_filter"}, DeadLetterReason.CONTENT_FILTERED),
        (413, {}, DeadLetterReason.TOO_LARGE),
    ],
)
async def test_what_is_the_documents_fault(status: int, fields: dict[str, Any], reason: DeadLetterReason) -> None:
    """As the provider says it over HTTP."""
    fault = await _fault(lambda _: error(status, **fields))
    assert isinstance(fault, RecordRejected)
    assert fault.reason is reason


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_no_document_can_help(status: int) -> None:
    """Bad key, no permission, unknown model: whether it is so for all, other calls tell."""
    assert isinstance(await _fault(lambda _: error(status, f"Incorrect key {KEY}")), CallRefused)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_what_passes(status: int) -> None:
    """Each may be tried again."""
    assert isinstance(await _fault(lambda _: error(status)), AttemptFailed)


async def test_more_calls_than_connections() -> None:
    """They wait for a connection inside their time-out and all get through."""
    async with _serving(ok()) as (server, client):
        await asyncio.gather(*(client.ask(chat_request()) for _ in range(50)))
    assert len(server.bodies) == 50


@pytest.mark.parametrize("status", [402, 413, 429, 500, 200])
async def test_the_key_is_nowhere(status: int) -> None:
    """A provider that echoes the request's header puts it neither into a dead letter, nor a log line, nor a fault."""
    sink = FakeSink()
    failures = 0

    def echo(body: dict[str, Any]) -> web.Response:
        nonlocal failures
        failures += 1
        if status == 200 or failures > (1 if status == 413 else 2):  # a text of our own is not too large
            return web.json_response({"choices": [{"message": {"content": f"Authorization: Bearer {KEY}"}}]})
        return error(status, f"Bad request: Authorization: Bearer {KEY}", code=KEY, type=KEY, param="messages")

    with structlog.testing.capture_logs() as logs:
        async with _serving(echo) as (_, client):
            await asyncio.create_task(_pipeline(client, sink).process(document()))
    assert len(sink.published) == 1
    for outgoing in sink.published:
        assert KEY.encode() not in b"".join(value or b"" for _, value in outgoing.headers)
    assert KEY not in str(logs)


async def test_a_word_in_place_of_a_key_is_no_secret() -> None:
    """Own servers are given such a word, and a document may be about it."""
    async with _serving(ok(completion_of("Use ollama.")), key="ollama") as (_, client):
        assert (await client.ask(chat_request())).text == "Use ollama."


def _pipeline(client: ChatClient, sink: FakeSink) -> Pipeline:
    """A pipeline of one step on the real client. A refused call is retried in the time of a turn."""
    metrics = Metrics()
    admission = Admission(limits=Limits(max_concurrency=1), timer=QuickTimer())
    model_caller = ModelCaller(
        client=client, admission=admission, prices=FakePrices(), metrics=metrics, max_attempts=3, sleep=FakeSleep()
    )
    analyzer = Analyzer(
        steps=steps(mode="fused"),
        answers=model_caller,
        answer_recovery=AnswerRecovery(answers=model_caller, metrics=metrics),
        answer_cache=AnswerCache(store=NoStore(), metrics=metrics),
    )
    return pipeline_of(analyzer=analyzer, sink=sink, metrics=metrics)

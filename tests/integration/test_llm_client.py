"""The model client on the wire: what is sent, what is read, and whose fault a failure is."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
from aiohttp import web

from docsluice.messages import DeadLetterReason
from docsluice_consumer.admission.admission import Admission
from docsluice_consumer.admission.limits import Limits
from docsluice_consumer.analysis.analyzer import Analyzer
from docsluice_consumer.analysis.answer_cache import AnswerCache
from docsluice_consumer.analysis.answer_recovery import AnswerRecovery
from docsluice_consumer.analysis.model_caller import ModelCaller
from docsluice_consumer.errors import AttemptFailed, CallRefused, RecordRejected
from docsluice_consumer.llm.chat import ChatClient, ChatRequest, Message, Sampling
from docsluice_consumer.model_ref import model_ref
from docsluice_consumer.pipeline import Pipeline
from docsluice_consumer.store.memory_store import NoStore
from docsluice_consumer.telemetry.metrics import Metrics
from tests.fakes.contracts import TEXT, USED, Behaviour, ChatClientContract
from tests.fakes.pipelines import pipeline_of
from tests.fakes.prices import FakePrices
from tests.fakes.samples import chat_request, document, steps
from tests.fakes.sink import FakeSink
from tests.fakes.timer import FakeSleep, QuickTimer
from tests.integration.llm_client import KEY, fault_at, served
from tests.integration.model_server import Answering, Server, completion_of, error, ok


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
        async with served(answers[behaviour]) as (self._server, client):
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
    async with served(ok()) as (server, client):
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
    async with served(ok(), key=None) as (server, client):
        await client.ask(chat_request())
    assert server.headers[0]["Authorization"] == "Bearer none"


async def test_the_models_of_a_server() -> None:
    """What `check` shows."""
    async with served(ok()) as (_, client):
        assert await client.probe() == ["a", "b"]


async def test_half_an_emoji_can_be_sent_back() -> None:
    """What the model says goes into the request for a repair, and that must be valid Unicode."""
    text = json.dumps(completion_of("ab\ud83d"))
    async with served(lambda _: web.Response(text=text, content_type="application/json")) as (_, client):
        answer = await client.ask(chat_request())
    assert answer.text == "ab?"


async def test_a_server_that_leaves_out_everything_it_may() -> None:
    """One message with words is an answer."""
    async with served(ok({"choices": [{"message": {"content": TEXT}}]})) as (_, client):
        answer = await client.ask(chat_request())
    assert (answer.text, answer.finish_reason, answer.refusal, answer.usage) == (TEXT, "stop", None, None)


async def test_cached_tokens_are_a_part_of_the_input() -> None:
    """They cost less, and they are still read."""
    async with served(ok()) as (_, client):
        assert (await client.ask(chat_request())).usage == USED


async def test_a_content_filter_that_cuts_the_answer() -> None:
    """The finish reason is passed on as it is."""
    async with served(ok(completion_of("", finish_reason="content_filter"))) as (_, client):
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
    fault = await fault_at(lambda _: error(status, **fields))
    assert isinstance(fault, RecordRejected)
    assert fault.reason is reason


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_what_no_document_can_help(status: int) -> None:
    """Bad key, no permission, unknown model: whether it is so for all, other calls tell."""
    assert isinstance(await fault_at(lambda _: error(status, f"Incorrect key {KEY}")), CallRefused)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504, 529])
async def test_what_passes(status: int) -> None:
    """Each may be tried again."""
    assert isinstance(await fault_at(lambda _: error(status)), AttemptFailed)


async def test_more_calls_than_connections() -> None:
    """They wait for a connection inside their time-out and all get through."""
    async with served(ok()) as (server, client):
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
        async with served(echo) as (_, client):
            await asyncio.create_task(_pipeline(client, sink).process(document()))
    assert len(sink.published) == 1
    for outgoing in sink.published:
        assert KEY.encode() not in b"".join(value or b"" for _, value in outgoing.headers)
    assert KEY not in str(logs)


async def test_a_word_in_place_of_a_key_is_no_secret() -> None:
    """Own servers are given such a word, and a document may be about it."""
    async with served(ok(completion_of("Use ollama.")), key="ollama") as (_, client):
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

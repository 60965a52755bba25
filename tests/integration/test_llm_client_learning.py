"""What a server turns out not to know is learned once, on the wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from docsluice_consumer.errors import CallRefused
from tests.fakes.contracts import TEXT
from tests.fakes.samples import chat_request
from tests.integration.llm_client import served
from tests.integration.model_server import Answering, completion_of, error


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
    async with served(_knowing(*formats)) as (server, client):
        for step in ("summary", "summary", "keywords"):
            assert (await client.ask(chat_request(step=step))).text == TEXT
    types = [body.get("response_format", {}).get("type") for body in server.bodies]
    assert types == [*asked, asked[-1], *asked]


async def test_a_server_that_does_not_enforce_the_schema_is_told_it() -> None:
    """In the system's turn, so that the model knows what to write."""
    async with served(_knowing(None)) as (server, client):
        request = chat_request()
        await client.ask(request)
    system, user = server.bodies[-1]["messages"]
    assert system["content"].startswith("Answer.\n")
    assert json.dumps(request.schema) in system["content"]
    assert user == {"role": "user", "content": "A document."}


async def test_a_server_that_names_no_parameter_is_understood_by_its_words() -> None:
    """Many put it into the message only."""
    answer = _knowing("json_object", param=None, message="response_format: 'json_schema' is not supported")
    async with served(answer) as (server, client):
        assert (await client.ask(chat_request())).text == TEXT
    assert len(server.bodies) == 2


async def test_a_400_about_the_document_teaches_nothing() -> None:
    """It is raised at once, and the next document is still asked with a schema."""
    async with served(lambda _: error(400, "response_format is in the text", param="messages")) as (server, client):
        for _ in range(2):
            with pytest.raises(CallRefused):
                await client.ask(chat_request())
    assert [body["response_format"]["type"] for body in server.bodies] == ["json_schema"] * 2


async def test_calls_under_way_together_learn_once() -> None:
    """Ten calls that all meet the same 400 go one step down the ladder, and not ten."""
    async with served(_knowing("json_object")) as (server, client):
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

    async with served(answer) as (server, client):
        for _ in range(2):
            assert (await client.ask(chat_request(max_output_tokens=50))).text == TEXT
    assert server.bodies[-1][known] == 50
    assert len(server.bodies) == (2 if known == "max_tokens" else 3)


async def test_a_server_that_knows_no_bound_at_all() -> None:
    """It is asked without one."""

    def answer(body: dict[str, Any]) -> web.Response:
        asked = {"max_tokens", "max_completion_tokens"} & set(body)
        return error(422, f"Unrecognized field: {min(asked)}") if asked else web.json_response(completion_of())

    async with served(answer) as (server, client):
        assert (await client.ask(chat_request(max_output_tokens=50))).text == TEXT
    assert len(server.bodies) == 3


async def test_a_bound_that_is_too_large_teaches_nothing() -> None:
    """It is about the number: the name is right, and other calls are made as before."""

    def answer(body: dict[str, Any]) -> web.Response:
        (asked,) = {"max_tokens", "max_completion_tokens"} & set(body)
        message = f"{asked} is too large: 50. This model supports at most 10 completion tokens."
        return error(400, message, param=asked, code="invalid_value")

    async with served(answer) as (server, client):
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

    async with served(answer) as (server, client):
        assert (await client.ask(chat_request(max_output_tokens=50))).text == TEXT
    assert len(server.bodies) == 4


async def test_a_model_that_only_streams_is_asked_to() -> None:
    """Once it has said so. Its answer is read out of the stream."""

    def answer(body: dict[str, Any]) -> web.Response:
        if not body.get("stream"):
            return error(400, "This model only support stream mode, please enable the stream parameter.")
        pieces = [{"delta": {"content": TEXT[:5]}}, {"delta": {"content": TEXT[5:]}, "finish_reason": "stop"}]
        events = [{"choices": [piece]} for piece in pieces] + [{"choices": [], "usage": {"prompt_tokens": 7}}]
        lines = [f"data: {json.dumps(event)}" for event in events] + ["data: [DONE]"]
        return web.Response(text="\n\n".join(lines), content_type="text/event-stream")

    async with served(answer) as (server, client):
        for _ in range(2):
            answered = await client.ask(chat_request())
            assert (answered.text, answered.finish_reason) == (TEXT, "stop")
            assert answered.usage is not None
    assert [body.get("stream") for body in server.bodies] == [None, True, True]

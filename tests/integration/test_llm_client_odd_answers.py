"""Answers that hold no answer, on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web

from docsluice.messages import Usage
from docsluice_consumer.errors import (
    AnswerUnreadable,
    DocsluiceError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)
from tests.fakes.contracts import USED
from tests.fakes.samples import SECRET_TEXT, chat_request
from tests.integration.llm_client import fault_at, served
from tests.integration.model_server import completion_of, ok


async def test_a_usage_beyond_all_measure_is_bounded() -> None:
    """It would spoil the sums and hold up the limits for years."""
    usage = {"prompt_tokens": 10**15, "completion_tokens": 10**30, "total_tokens": 1}
    async with served(ok(completion_of(usage=usage))) as (_, client):
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
    fault = await fault_at(lambda _: web.Response(text=json.dumps(body), content_type="application/json"))
    assert isinstance(fault, AnswerUnreadable)
    assert "application/json" in fault.cause


async def test_a_broken_off_answer_is_tried_again() -> None:
    """DeepSeek was out of machines in the middle of it. What it has used is known all the same."""
    fault = await fault_at(ok(completion_of("{", finish_reason="insufficient_system_resource")))
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
    fault = await fault_at(ok(body))
    assert isinstance(fault, kind)


async def test_a_web_page_instead_of_an_answer() -> None:
    """A proxy's login page comes with a 200, too."""
    page = "<html><head><title>Log in</title></head><body>Welcome</body></html>"
    fault = await fault_at(lambda _: web.Response(text=page, content_type="text/html"))
    assert isinstance(fault, AnswerUnreadable)
    assert fault.cause.endswith("it is no JSON (text/html): a web page with the title “Log in”")


async def test_a_page_that_quotes_the_document_is_told_without_it() -> None:
    """The cause is logged."""
    page = f"Sorry, we could not read: {SECRET_TEXT} Please try again."
    fault = await fault_at(lambda _: web.Response(text=page))
    assert isinstance(fault, AnswerUnreadable)
    assert "Sorry, we could not read: …. Please try again" in fault.cause
    assert "Quillon" not in str(fault)


@pytest.mark.parametrize("content", [None, "", 7, [None], [{"type": "thinking", "thinking": "hm"}]])
async def test_a_message_without_words(content: Any) -> None:
    """It is an empty answer, which the step will find invalid."""
    async with served(ok(completion_of(content))) as (_, client):
        assert (await client.ask(chat_request())).text == ""

"""Exceptions of the OpenAI SDK, as it makes them of responses."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx2
import openai

from docsluice_consumer.errors import DocsluiceError
from docsluice_consumer.llm import error_mapping
from docsluice_consumer.llm.error_mapping import Call
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.model_ref import model_ref

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY = "sk-verysecret"
REQUEST = httpx2.Request("POST", "http://provider/v1/chat/completions", headers={"authorization": f"Bearer {KEY}"})
SDK = openai.AsyncOpenAI(api_key=KEY)


def status_error(
    status: int, body: Any = None, *, headers: dict[str, str] | None = None, text: str | None = None
) -> openai.APIStatusError:
    """The exception that the SDK itself makes of such a response."""
    content = text if text is not None else json.dumps(body if body is not None else {})
    response = httpx2.Response(status, request=REQUEST, headers=headers, text=content)
    return SDK._make_status_error_from_response(response)


def said_by(message: str = "Something.", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


def translation_of(error: Exception, *texts: str, model: str = "gpt-4o-mini") -> DocsluiceError:
    call = Call(step="summary", model=model_ref(model) if model else None, quoted=Quoted(texts), secrets=(KEY,))
    return error_mapping.translate(error, call, now=NOW)

"""The one place where the OpenAI SDK's exceptions become ours.

The aiohttp transport reports a connection that broke as a connect timeout, so that case is told apart here. No message
of ours carries the request, its headers or the key; a provider's own message is cut, for some echo the prompt.
"""

from __future__ import annotations

import email.utils
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp
import httpx2
import openai

from consumer.contracts import DeadLetterReason
from consumer.errors import (
    CallTimedOut,
    DocsluiceError,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)

FOREIGN = (openai.OpenAIError, TimeoutError, httpx2.HTTPError, aiohttp.ClientError, json.JSONDecodeError)
"""All that a call may raise. The last three slip through the SDK: broken bodies, and errors its transport overlooks."""

_MESSAGE_CHARACTERS = 300
_TIMEOUT = 408
_CONFLICT = 409
_PAYLOAD_TOO_LARGE = 413
_TOO_MANY_REQUESTS = 429
_SERVER_ERRORS = 500
_EVERY_CALL = {
    401: "the provider does not accept the API key (OPENAI_API_KEY)",
    403: "the API key may not do this (OPENAI_API_KEY)",
    # No document can cause a 404: it is the model's name, or the path in the base URL.
    404: "the provider knows no model {model}, or no such path (DOCSLUICE_MODEL, OPENAI_BASE_URL)",
}
_TOO_LARGE_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"})
_TOO_LARGE_WORDS = ("maximum context length", "context length", "context size", "request too large")
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded"})


def translate(error: Exception, *, step: str, model: str, now: datetime, secret: str | None = None) -> DocsluiceError:
    """The fault that an SDK exception means, as a new exception of ours.

    `now` is for a Retry-After given as a date; `secret` is cut out of whatever the provider said.
    """
    match error:
        case TimeoutError():
            return CallTimedOut("no answer within the request timeout")
        case openai.APITimeoutError() if isinstance(error.__cause__, httpx2.ConnectTimeout):
            return ProviderUnavailable("the connection was refused, broken or not made in time")
        case openai.APITimeoutError():
            return CallTimedOut("no answer within the request timeout")
        case openai.APIStatusError():
            return _translate_status(error, said=_said(error, secret), step=step, model=model, now=now)
        case openai.APIResponseValidationError() | json.JSONDecodeError():
            return ProviderUnavailable("the provider's answer is no chat completion")
        case openai.APIConnectionError() | httpx2.HTTPError() | aiohttp.ClientError():
            return ProviderUnavailable(f"no connection to the provider: {_cut(_root_cause(error), secret)}")
        case _:
            return ProviderMisconfigured(f"the OpenAI client cannot work as configured: {_cut(str(error), secret)}")


def _translate_status(
    error: openai.APIStatusError, *, said: str, step: str, model: str, now: datetime
) -> DocsluiceError:
    status = error.status_code
    retry_after = retry_after_seconds(error.response.headers, now=now)
    if status == _TOO_MANY_REQUESTS:
        # Three different things share this status.
        if {error.code, error.type} & _QUOTA_CODES:
            return QuotaExhausted(said)
        if "request too large" in error.message.lower():
            return RecordRejected(DeadLetterReason.TOO_LARGE, said, step=step, model=model)
        return RateLimited(said, retry_after_seconds=retry_after)
    if status in {_TIMEOUT, _CONFLICT} or status >= _SERVER_ERRORS:
        return ProviderUnavailable(said, retry_after_seconds=retry_after)
    if status in _EVERY_CALL:
        return ProviderMisconfigured(f"{_EVERY_CALL[status].format(model=model)}: {said}")
    return RecordRejected(_rejection(error), said, step=step, model=model)


def _rejection(error: openai.APIStatusError) -> DeadLetterReason:
    words = error.message.lower()
    if error.status_code == _PAYLOAD_TOO_LARGE or {error.code, error.type} & _TOO_LARGE_CODES:
        return DeadLetterReason.TOO_LARGE
    if error.code in {"content_filter", "content_policy_violation"}:
        return DeadLetterReason.CONTENT_FILTERED
    if any(phrase in words for phrase in _TOO_LARGE_WORDS):
        return DeadLetterReason.TOO_LARGE
    return DeadLetterReason.REJECTED


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """When the provider wants to be asked again: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return max(0.0, float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    try:
        moment = email.utils.parsedate_to_datetime(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return max(0.0, (moment.astimezone(UTC) - now).total_seconds())


def complains_about(error: openai.BadRequestError, *names: str) -> bool:
    """Whether a 400 is about one of these request parameters rather than about the document."""
    if error.param is not None:
        return any(name in error.param for name in names)
    return any(name in error.message for name in names)


def _said(error: openai.APIStatusError, secret: str | None) -> str:
    body = error.body
    words = body.get("message") if isinstance(body, dict) else None
    return _cut(f"{error.status_code} {error.code or error.type or ''}: {words or error.message}", secret)


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__


def _cut(message: str, secret: str | None) -> str:
    line = " ".join((message.replace(secret, "[secret]") if secret else message).split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[:_MESSAGE_CHARACTERS] + "…"

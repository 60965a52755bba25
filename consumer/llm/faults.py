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
from consumer.open_files import why_no_file
from consumer.reach import in_words

_UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError)
FOREIGN = (openai.OpenAIError, TimeoutError, httpx2.HTTPError, aiohttp.ClientError, *_UNREADABLE)
"""All that a call may raise. All but the first slip through the SDK: errors its transport overlooks, broken bodies."""

_MESSAGE_CHARACTERS = 300
_CODE_CHARACTERS = 60
_PAYMENT_REQUIRED = 402
_PAYLOAD_TOO_LARGE = 413
_TOO_MANY_REQUESTS = 429
_PASSING = frozenset({408, 409, 425})  # timeout, conflict, too early
_OVERLOADED = frozenset({503, 529})
_CLIENT_ERRORS = 400
_SERVER_ERRORS = 500
_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_EVERY_CALL = {
    401: "the provider does not accept the API key (OPENAI_API_KEY)",
    403: "the API key may not do this (OPENAI_API_KEY)",
    # No document can cause a 404: it is the model's name, or the path in the base URL.
    404: "the provider knows no model {model}, or no such path (DOCSLUICE_MODEL; OPENAI_BASE_URL, mostly with /v1)",
    405: "this is no chat completions path (OPENAI_BASE_URL)",
    407: "a proxy wants credentials",
}
_NO_LIST = "there is no list of models at this path (OPENAI_BASE_URL, mostly with /v1)"
_REDIRECTED = "the provider is elsewhere (OPENAI_BASE_URL)"
_TOO_LARGE_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error", "string_above_max_length"})
_TOO_LARGE_WORDS = ("maximum context length", "context length", "context size", "request too large")
_FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "quota_exceeded"})


def translate(error: Exception, *, step: str, model: str, now: datetime, secret: str | None = None) -> DocsluiceError:
    """The fault that an SDK exception means, as a new exception of ours.

    `model` is empty where only the list of models was asked for; `now` is for a Retry-After given as a date; `secret`
    is cut out of whatever the provider said.
    """
    if fault := out_of_files(error):
        return fault
    match error:
        case TimeoutError():
            return CallTimedOut("no answer within the request timeout")
        case openai.APITimeoutError() if isinstance(error.__cause__, httpx2.ConnectTimeout):
            # In brackets: what is behind a colon is never logged, and this is worth it.
            return ProviderUnavailable(f"no connection to the provider ({_why_broken(error)})")
        case openai.APITimeoutError():
            return CallTimedOut("no answer within the request timeout")
        case openai.APIStatusError():
            return _translate_status(error, secret=secret, step=step, model=model, now=now)
        case openai.APIResponseValidationError() | json.JSONDecodeError() | UnicodeDecodeError():
            return ProviderUnavailable("the provider's answer is no chat completion")
        case openai.APIConnectionError() | httpx2.HTTPError() | aiohttp.ClientError():
            return ProviderUnavailable(f"no connection to the provider: {_cut(_root_cause(error), secret)}")
        case _:
            return ProviderMisconfigured(f"the OpenAI client cannot work as configured: {_cut(str(error), secret)}")


def out_of_files(error: Exception) -> ProviderUnavailable | None:
    """The fault where this process could open no file for the call: neither the provider's nor the document's."""
    if (why := why_no_file(error)) is None:
        return None
    fault = ProviderUnavailable(why)
    fault.blames_document = False
    return fault


def _translate_status(
    error: openai.APIStatusError, *, secret: str | None, step: str, model: str, now: datetime
) -> DocsluiceError:
    status, said = error.status_code, _said(error, secret)
    retry_after = retry_after_seconds(error.response.headers, now=now)
    if status == _PAYMENT_REQUIRED:
        return QuotaExhausted(said)
    if status == _TOO_MANY_REQUESTS:
        # Three different things share this status.
        if _codes(error) & _QUOTA_CODES:
            return QuotaExhausted(said)
        if "request too large" in _words(error).lower():
            return RecordRejected(DeadLetterReason.TOO_LARGE, said, step=step, model=model)
        return RateLimited(said, retry_after_seconds=retry_after)
    if status in _PASSING or status >= _SERVER_ERRORS:
        fault = ProviderUnavailable(said, retry_after_seconds=retry_after)
        fault.is_overload = status in _OVERLOADED
        return fault
    if status in _EVERY_CALL or status < _CLIENT_ERRORS:
        # Without the provider's words: this is logged, and some providers echo the prompt.
        known = _EVERY_CALL if model else {**_EVERY_CALL, 404: _NO_LIST}
        reason = known.get(status, _REDIRECTED).format(model=model)
        return ProviderMisconfigured(f"{reason}: {_named(error, secret)}")
    return RecordRejected(_rejection(error), said, step=step, model=model)


def _rejection(error: openai.APIStatusError) -> DeadLetterReason:
    words = _words(error).lower()
    if error.status_code == _PAYLOAD_TOO_LARGE or _codes(error) & _TOO_LARGE_CODES:
        return DeadLetterReason.TOO_LARGE
    if _codes(error) & _FILTER_CODES:
        return DeadLetterReason.CONTENT_FILTERED
    if any(phrase in words for phrase in _TOO_LARGE_WORDS):
        return DeadLetterReason.TOO_LARGE
    return DeadLetterReason.REJECTED


def retry_after_seconds(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """When the provider wants to be asked again: `retry-after-ms`, or `retry-after` in seconds or as an HTTP date.

    An hour at most: to ask once an hour costs nothing, and to believe a nonsensical header would cost the day.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            return _bounded(float(headers[name]) * unit)
        except (KeyError, ValueError):
            continue
    try:
        moment = email.utils.parsedate_to_datetime(headers["retry-after"])
        return _bounded((moment.replace(tzinfo=moment.tzinfo or UTC) - now).total_seconds())
    except (KeyError, ValueError, OverflowError, TypeError):
        return None


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), _LONGEST_RETRY_AFTER_SECONDS)


def complains_about(error: openai.BadRequestError, *names: str) -> bool:
    """Whether a 400 is about one of these request parameters rather than about the document."""
    about = str(error.param) if error.param else _words(error)
    return any(name in about for name in names)


def _codes(error: openai.APIStatusError) -> set[str]:
    """The error's code and type, which a server that is merely like OpenAI's may give in any form."""
    return {str(error.code), str(error.type)}


def _words(error: openai.APIStatusError) -> str:
    """What the provider said, in whichever of the usual places it said it."""
    body = error.body
    if isinstance(body, dict):
        body = body.get("message") or body
    return str(body or error.message)


def _named(error: openai.APIStatusError, secret: str | None) -> str:
    """Status and code, which are no place for anything said about a document."""
    return _cut(f"{error.status_code} {error.code or error.type or ''}".strip()[:_CODE_CHARACTERS], secret)


def _said(error: openai.APIStatusError, secret: str | None) -> str:
    return _cut(f"{_named(error, secret)}: {_words(error)}", secret)


def _why_broken(error: BaseException) -> str:
    root = _root(error)
    return "it closed the connection" if isinstance(root, aiohttp.ServerDisconnectedError) else in_words(root)


def _root_cause(error: BaseException) -> str:
    root = _root(error)
    return str(root) or type(root).__name__


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _cut(message: str, secret: str | None) -> str:
    line = " ".join((message.replace(secret, "[secret]") if secret else message).split())
    return line if len(line) <= _MESSAGE_CHARACTERS else line[:_MESSAGE_CHARACTERS] + "…"

"""Translates the exceptions of the OpenAI SDK and its transport into ours. Nothing else does.

The aiohttp transport reports a broken connection as a connect timeout, so that case is told apart here. No message of
ours carries the request, its headers or the key. What a provider quotes of the document is cut out of its words.
"""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TypeVar

import aiohttp
import httpx2
import openai

from docsluice.messages import DeadLetterReason
from docsluice.network.exception_chain import causes
from docsluice.network.network_errors import in_words
from docsluice.text.printable import shortened
from docsluice.text.redaction import redaction_of
from docsluice_consumer.errors import (
    AnswerUnreadable,
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    DocsluiceError,
    ProviderMisconfigured,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
    RefusalKind,
)
from docsluice_consumer.llm.error_body import ProviderError, read_error
from docsluice_consumer.llm.error_meaning import is_overload, long_quota_seconds, meaning_by_code, meaning_of
from docsluice_consumer.llm.error_table import Meaning
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.llm.response_limit import AnswerBroken
from docsluice_consumer.llm.retry_after import retry_after_seconds
from docsluice_consumer.model_ref import ModelRef
from docsluice_consumer.runtime.open_files import why_no_file

_UNREADABLE = (json.JSONDecodeError, UnicodeDecodeError)
FOREIGN = (openai.OpenAIError, TimeoutError, httpx2.HTTPError, aiohttp.ClientError, *_UNREADABLE)
"""Everything that a call may raise.

All but the first slip through the SDK: errors its transport overlooks, broken bodies.
"""

_E = TypeVar("_E", bound=BaseException)

_MESSAGE_CHARACTERS = 400
_PAYMENT_REQUIRED, _PAYLOAD_TOO_LARGE, _RANGE, _TOO_MANY_REQUESTS = 402, 413, 416, 429
_PASSING = frozenset({408, 409, 424, 425, 498, 499})
"""Timeout, conflict, a model behind it failed (TGI, Bedrock), too early, no room in a flex tier, cancelled."""
_OVERLOADED = frozenset({498, 503, 529})
_SMALL_BYTES = 16 * 1024
_OF_TOKENS = re.compile(r"token|context|length|prompt|model", re.IGNORECASE)
_TOO_LARGE_AT_5XX = frozenset({500})
_SERVER_ERRORS = 500
_CLIENT_ERRORS = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a fault must name, and what it must not quote. `model` is None for the list of models."""

    step: str
    model: ModelRef | None
    quoted: Quoted = field(default_factory=Quoted)
    secrets: tuple[str, ...] = ()
    key_setting: str = "OPENAI_API_KEY"
    address_setting: str = "OPENAI_BASE_URL"
    model_setting: str = "DOCSLUICE_MODEL"
    input_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class _Refusal:
    kind: RefusalKind
    remedy: str
    is_certain: bool = False


_BAD_KEY = _Refusal("credentials", "the provider does not accept the API key ({key})", is_certain=True)
_NO_MODEL = _Refusal("model", "the provider knows no model {model} ({model_setting})", is_certain=True)
_NO_PERMISSION = _Refusal("permission", "the API key may not do this ({key})")
_BOUND = _Refusal(
    "unknown", "the model gives no answer as long as max_output_tokens allows; lower it in the pipeline file"
)
_ELSEWHERE = _Refusal("path", "the provider is elsewhere ({address})")
_UNKNOWN = _Refusal("unknown", "the provider takes no request of this kind")
_NO_LIST = _Refusal("path", "there is no list of models at this path ({address}, mostly with /v1)")
_CLOSED = _Refusal("permission", "the account is closed or blocked; its owner has to mend that ({key})")
_PROXY = _Refusal("unknown", "a proxy takes no request of this size; raise its bound (nginx: client_max_body_size)")
_BY_MEANING = {
    Meaning.CLOSED_ACCOUNT: _CLOSED,
    Meaning.BAD_KEY: _BAD_KEY,
    Meaning.UNKNOWN_MODEL: _NO_MODEL,
    Meaning.NO_PERMISSION: _NO_PERMISSION,
    Meaning.OUTPUT_BOUND: _BOUND,
}
_BY_STATUS = {
    401: _Refusal("credentials", "the provider does not accept the API key ({key})"),
    403: _NO_PERMISSION,
    404: _Refusal(
        "path", "the provider knows no model {model}, or no such path ({model_setting}; {address}, mostly with /v1)"
    ),
    405: _Refusal("path", "this is no chat completions path ({address})", is_certain=True),
    407: _Refusal(
        "proxy", "the proxy wants credentials (HTTPS_PROXY, as http://user:password@host:port)", is_certain=True
    ),
}


def translate(error: Exception, call: Call, *, now: datetime) -> DocsluiceError:
    """The fault that an exception means, as a new exception of ours. `now` is for a Retry-After given as a date."""
    broken = _of_kind(error, AnswerBroken)
    if broken is not None:
        return AnswerUnreadable(f"the provider's answer broke off: {broken}")
    packed = _of_kind(error, httpx2.DecodingError)
    if packed is not None:
        return AnswerUnreadable(f"the provider's answer cannot be unpacked: {packed}")
    match error:
        case openai.APITimeoutError() if isinstance(error.__cause__, httpx2.ConnectTimeout):
            return _of_connection(error, call)
        case TimeoutError() | openai.APITimeoutError():
            return CallTimedOut("no answer within the request timeout")
        case openai.APIStatusError():
            said = read_error(error.status_code, error.response.content, quoted=call.quoted, secrets=call.secrets)
            return fault_of(said, call, headers=error.response.headers, now=now)
        case openai.APIResponseValidationError() | json.JSONDecodeError() | UnicodeDecodeError():
            return AnswerUnreadable("the provider's answer is no chat completion")
        case openai.APIConnectionError() | httpx2.HTTPError() | aiohttp.ClientError():
            return _of_connection(error, call)
        case _:
            told = _cut(redaction_of(call.secrets).line(str(error)))
            return ProviderMisconfigured(f"the OpenAI client cannot work as configured: {told}")


def out_of_files(error: Exception) -> ProviderUnavailable | None:
    """The fault if this process could open no file for the call. It is neither the provider's nor the document's."""
    if (why := why_no_file(error)) is None:
        return None
    fault = ProviderUnavailable(why)
    fault.blames_document = False
    return fault


def fault_of(
    said: ProviderError, call: Call, *, headers: Mapping[str, str], now: datetime, parameter: str | None = None
) -> DocsluiceError:
    """What a provider's error means for a call. `parameter` is the one that it is about, if known."""
    meaning = meaning_of(said)
    message, cause = _cut(f"{said}: {said.words}"), _cut(f"{said}: {said.loggable}")
    wait = retry_after_seconds(headers, now=now, error=said)
    if meaning is Meaning.EMPTY_ACCOUNT or said.status == _PAYMENT_REQUIRED:
        return QuotaExhausted(message, retry_after_seconds=wait, cause=cause)
    if meaning is Meaning.TOO_FAST:
        return _limit(said, message, cause=cause, wait=wait)
    if _is_too_large(said, meaning) and not _is_of_a_proxy(said, call):
        return RecordRejected(DeadLetterReason.TOO_LARGE, message, step=call.step, model=call.model, cause=cause)
    if meaning is Meaning.FILTERED and (said.status < _SERVER_ERRORS or meaning_by_code(said) is Meaning.FILTERED):
        reason = DeadLetterReason.CONTENT_FILTERED
        return RecordRejected(reason, message, step=call.step, model=call.model, cause=cause)
    if meaning is Meaning.INVALID_ANSWER:
        return AnswerUnreadable(message, cause=cause)  # Groq rejects what the model has written before we can read it
    if said.status == _TOO_MANY_REQUESTS and meaning is not Meaning.CLOSED_ACCOUNT:
        return _limit(said, message, cause=cause, wait=wait)
    refusal = _refusal(said, meaning, call)
    if refusal is None:
        fault = ProviderUnavailable(message, retry_after_seconds=wait, cause=cause)
        fault.is_overload = said.status in _OVERLOADED or is_overload(said)
        return fault
    remedy = refusal.remedy.format(
        model=call.model, key=call.key_setting, address=call.address_setting, model_setting=call.model_setting
    )
    return CallRefused(
        message,
        kind=refusal.kind,
        is_certain=refusal.is_certain,
        remedy=f"{remedy}: {said}",
        parameter=parameter or ("max_tokens" if meaning is Meaning.OUTPUT_BOUND else None),
        cause=cause,
    )


def _is_too_large(said: ProviderError, meaning: Meaning | None) -> bool:
    if said.status in {_PAYLOAD_TOO_LARGE, _RANGE}:
        return meaning in {None, Meaning.TOO_LARGE}
    if meaning is not Meaning.TOO_LARGE:
        return False
    if said.status == _TOO_MANY_REQUESTS:
        # "Too many tokens" is about the pace there. Only a request that is too large by itself can never pass.
        return "too large" in said.words.lower()
    return said.status < _SERVER_ERRORS or said.status in _TOO_LARGE_AT_5XX


def _is_of_a_proxy(said: ProviderError, call: Call) -> bool:
    """Whether a proxy found a small request too large. A proxy's page says nothing about tokens."""
    is_small = call.input_bytes is not None and call.input_bytes < _SMALL_BYTES
    if said.status != _PAYLOAD_TOO_LARGE or said.codes or not is_small:
        return False
    return not said.words or ("too large" in said.words.lower() and not _OF_TOKENS.search(said.words))


def _limit(said: ProviderError, message: str, *, cause: str, wait: float | None) -> AttemptFailed:
    """The fault for a limit. A used-up daily quota is an empty account until then, and says nothing about the pace."""
    period = long_quota_seconds(said)
    if period is None:
        return RateLimited(message, retry_after_seconds=wait, cause=cause)
    fault = QuotaExhausted(message, retry_after_seconds=wait, cause=cause)
    fault.period_seconds = period
    return fault


def _refusal(said: ProviderError, meaning: Meaning | None, call: Call) -> _Refusal | None:
    """The refusal of this call, and perhaps of every call. None for what passes by waiting."""
    if not call.model and said.status in {404, 405}:
        return _NO_LIST
    if meaning is Meaning.NOT_READY or said.status in _PASSING:
        return None
    if said.status >= _SERVER_ERRORS:
        # A gateway may say so about the server behind it, and that may pass. Other calls tell.
        own = meaning in {Meaning.BAD_KEY, Meaning.UNKNOWN_MODEL} and said.status == _SERVER_ERRORS
        return replace(_BY_MEANING[meaning], is_certain=False) if meaning and own else None
    if said.status < _CLIENT_ERRORS:
        return _ELSEWHERE
    if meaning is not None and meaning in _BY_MEANING:
        return _BY_MEANING[meaning]
    if _is_of_a_proxy(said, call):
        return _PROXY
    if said.status in _BY_STATUS:
        return _BY_STATUS[said.status]
    return None if is_overload(said) else _UNKNOWN  # OpenAI and gateways say so in a 400, too


def _of_connection(error: Exception, call: Call) -> DocsluiceError:
    proxy = _of_kind(error, aiohttp.ClientHttpProxyError)
    if proxy is not None:
        said = ProviderError(status=proxy.status, words="the proxy refuses the connection")
        if proxy.status == 407:  # noqa: PLR2004
            return fault_of(said, call, headers={}, now=datetime.now(UTC))
        return ProviderUnavailable(f"the proxy gives no connection to the provider ({proxy.status})")
    fault = ProviderUnavailable(f"no connection to the provider: {_why_broken(error)}")
    if _of_kind(error, aiohttp.ClientConnectorError) is not None:
        # The provider has not seen the document. But only this call is known to have lost its connection.
        fault.blames_document = fault.pauses_others = False
    return fault


def _why_broken(error: BaseException) -> str:
    """What broke, in a few words: ours or those of the HTTP client, not the transport's."""
    *_, root = causes(error)
    if isinstance(root, aiohttp.ServerDisconnectedError):
        return "it closed the connection"
    if isinstance(root, aiohttp.ClientPayloadError):
        return "the connection ended in the middle of the answer"
    words = str(root) if isinstance(root, httpx2.RemoteProtocolError | httpx2.UnsupportedProtocol) else in_words(root)
    if isinstance(root, ssl.SSLCertVerificationError):
        words += " (SSL_CERT_FILE)"
    return f"through a proxy (HTTPS_PROXY), {words}" if _of_kind(error, aiohttp.ClientProxyConnectionError) else words


def _of_kind(error: BaseException, kind: type[_E]) -> _E | None:
    """The first in the chain of causes that is of this kind."""
    return next((one for one in causes(error) if isinstance(one, kind)), None)


def _cut(message: str) -> str:
    return shortened(" ".join(message.split()).removesuffix(":"), _MESSAGE_CHARACTERS)

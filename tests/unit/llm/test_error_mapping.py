"""What each exception of the OpenAI SDK, and each status of a provider, means for the service."""

from __future__ import annotations

import importlib
import json
import pkgutil
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from docsluice.messages import DeadLetterReason
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
    ServiceFault,
)
from docsluice_consumer.llm import error_mapping
from docsluice_consumer.llm.error_mapping import Call
from docsluice_consumer.llm.quoted import Quoted
from docsluice_consumer.llm.retry_after import retry_after_seconds
from docsluice_consumer.model_ref import model_ref
from tests.fakes.samples import SECRET_TEXT

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
KEY = "sk-verysecret"
REQUEST = httpx2.Request("POST", "http://provider/v1/chat/completions", headers={"authorization": f"Bearer {KEY}"})
SDK = openai.AsyncOpenAI(api_key=KEY)


def _status_error(
    status: int, body: Any = None, *, headers: dict[str, str] | None = None, text: str | None = None
) -> openai.APIStatusError:
    """The exception that the SDK itself makes of such a response."""
    content = text if text is not None else json.dumps(body if body is not None else {})
    response = httpx2.Response(status, request=REQUEST, headers=headers, text=content)
    return SDK._make_status_error_from_response(response)


def _said(message: str = "Something.", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": None, **fields}}


def _translate(error: Exception, *texts: str, model: str = "gpt-4o-mini") -> DocsluiceError:
    call = Call(step="summary", model=model_ref(model) if model else None, quoted=Quoted(texts), secrets=(KEY,))
    return error_mapping.translate(error, call, now=NOW)


def _sdk_exceptions(root: type[Exception] = openai.OpenAIError) -> Iterator[type[Exception]]:
    for module in pkgutil.iter_modules(openai.__path__):
        if module.name.startswith("_exceptions"):
            importlib.import_module(f"openai.{module.name}")
    for kind in root.__subclasses__():
        yield kind
        yield from _sdk_exceptions(kind)


MEANINGS: dict[str, type[DocsluiceError]] = {
    "APIResponseValidationError": AnswerUnreadable,
    "APIConnectionError": ProviderUnavailable,
    "APITimeoutError": CallTimedOut,
    "BadRequestError": CallRefused,
    "UnprocessableEntityError": CallRefused,
    "AuthenticationError": CallRefused,
    "OAuthError": CallRefused,
    "PermissionDeniedError": CallRefused,
    "NotFoundError": CallRefused,
    "ConflictError": ProviderUnavailable,
    "RateLimitError": RateLimited,
    "InternalServerError": ProviderUnavailable,
    # By its status: see below.
    "APIStatusError": CallRefused,
    # None of these comes from a chat completion. One that did would be no document's fault.
    "APIError": ProviderMisconfigured,
    "SubjectTokenProviderError": ProviderMisconfigured,
    "LengthFinishReasonError": ProviderMisconfigured,
    "ContentFilterFinishReasonError": ProviderMisconfigured,
    "WebSocketConnectionClosedError": ProviderMisconfigured,
    "WebSocketQueueFullError": ProviderMisconfigured,
    "InvalidWebhookSignatureError": ProviderMisconfigured,
    "StreamAlreadyConsumed": ProviderMisconfigured,
    "MutuallyExclusiveAuthError": ProviderMisconfigured,
    "APIRemovedInV1": ProviderMisconfigured,
    "_AmbiguousModuleClientUsageError": ProviderMisconfigured,
}
STATUS_OF = {
    "BadRequestError": 400,
    "AuthenticationError": 401,
    "OAuthError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "ConflictError": 409,
    "UnprocessableEntityError": 422,
    "RateLimitError": 429,
    "InternalServerError": 500,
    "APIStatusError": 418,
}


def _instance(kind: type[Exception]) -> Exception:
    """One of the kind, without its constructor, whose arguments differ from one to the next."""
    error = kind.__new__(kind)
    Exception.__init__(error, "Something.")
    response = httpx2.Response(STATUS_OF.get(kind.__name__, 200), request=REQUEST)
    attributes = {"message": "Something.", "request": REQUEST, "body": None, "code": None, "param": None, "type": None}
    for name, value in {**attributes, "response": response, "status_code": response.status_code}.items():
        setattr(error, name, value)
    return error


EVERY = sorted(set(_sdk_exceptions()), key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", EVERY, ids=[kind.__name__ for kind in EVERY])
def test_every_exception_of_the_sdk_has_a_meaning(kind: type[Exception]) -> None:
    """A class that a later version of the SDK brings fails here until somebody has decided what it means."""
    assert kind.__name__ in MEANINGS
    assert type(_translate(_instance(kind))) is MEANINGS[kind.__name__]
    assert issubclass(kind, error_mapping.FOREIGN)


STATUSES: dict[int, type[DocsluiceError]] = {
    **dict.fromkeys((300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 406, 407, 410, 411, 412), CallRefused),
    **dict.fromkeys((414, 415, 417, 418, 421, 422, 423, 426, 428, 431, 451), CallRefused),
    **dict.fromkeys((413, 416), RecordRejected),
    **dict.fromkeys((408, 409, 424, 425, 498, 499), ProviderUnavailable),
    402: QuotaExhausted,
    429: RateLimited,
    **dict.fromkeys(range(500, 600), ProviderUnavailable),
}


@pytest.mark.parametrize(("status", "meaning"), STATUSES.items())
def test_every_status_has_a_meaning(status: int, meaning: type[DocsluiceError]) -> None:
    """Only size is surely the document's fault. Whose a refusal is, other calls tell."""
    assert type(_translate(_status_error(status, _said()))) is meaning


@given(st.integers(300, 599), st.sampled_from([None, "x", 7, ["a"], {"a": 1}, True]), st.text(max_size=50))
def test_any_body_is_understood_somehow(status: int, odd: Any, text: str) -> None:
    """Whatever a server puts into the usual fields, or instead of them, it is a fault of one of the known kinds."""
    bodies = [
        {"text": text},
        {"body": odd},
        {"body": {"error": odd}},
        {"body": {"error": text}},
        {"body": {"error": {"message": odd, "code": odd, "type": odd, "param": odd}}},
        {"body": [{"error": {"message": text}}]},
        {"body": {"detail": odd}},
    ]
    for body in bodies:
        error = _status_error(status, **body)
        fault = _translate(error)
        assert isinstance(fault, RecordRejected | AttemptFailed | ServiceFault)
        assert str(fault)


QUOTA = _said("You exceeded your current quota.", type="insufficient_quota", code="insufficient_quota")
TOO_LARGE = _said(
    "Request too large for gpt-4o-mini on tokens per min (TPM): Limit 200000, Requested 250000.",
    type="tokens",
    code="rate_limit_exceeded",
)
TOO_FAST = _said("Rate limit reached: Limit 500, Used 500.", type="requests", code="rate_limit_exceeded")


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        (TOO_FAST, RateLimited),
        (_said("Slow down."), RateLimited),
        ({}, RateLimited),
        (QUOTA, QuotaExhausted),
        (_said(code="billing_hard_limit_reached"), QuotaExhausted),
        (_said(type="insufficient_quota"), QuotaExhausted),
        (TOO_LARGE, RecordRejected),
        (_said("request too large for this model"), RecordRejected),
    ],
)
def test_three_things_share_429(body: dict[str, Any], meaning: type[DocsluiceError]) -> None:
    """Too fast passes by waiting, an empty account by paying, and a request above the limit never."""
    fault = _translate(_status_error(429, body))
    assert type(fault) is meaning
    if isinstance(fault, RecordRejected):
        assert fault.reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize("fault", [_status_error(429, TOO_FAST), _status_error(429, QUOTA), _status_error(402)])
def test_limits_and_empty_accounts_blame_no_document(fault: openai.APIStatusError) -> None:
    """They never use up a document's attempts."""
    translated = _translate(fault)
    assert isinstance(translated, AttemptFailed)
    assert not translated.blames_document


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, _said(code="context_length_exceeded"), "too_large"),
        (400, _said(type="exceed_context_size_error"), "too_large"),
        (400, _said(code="string_above_max_length"), "too_large"),
        (400, _said("This model's maximum context length is 8192 tokens."), "too_large"),
        (400, {"error": "prompt exceeds the context size"}, "too_large"),
        (400, {"detail": "input is longer than the context length"}, "too_large"),
        (413, _said(), "too_large"),
        (400, _said(code="content_filter"), "content_filtered"),
        (400, _said(code="content_policy_violation"), "content_filtered"),
    ],
)
def test_why_a_request_is_rejected(status: int, body: dict[str, Any], reason: str) -> None:
    """Too long for the model, filtered, or refused for another reason. Told by code first and by words else."""
    fault = _translate(_status_error(status, body))
    assert isinstance(fault, RecordRejected)
    assert (fault.reason, fault.stage, fault.step, str(fault.model)) == (reason, "analyze", "summary", "gpt-4o-mini")


NGINX = "<html><head><title>413 Request Entity Too Large</title></head><body><h1>413</h1>nginx</body></html>"


@pytest.mark.parametrize(
    ("text", "input_bytes", "meaning"),
    [
        (NGINX, 2_000, CallRefused),
        ("", 2_000, CallRefused),
        ("Payload too large", 2_000, CallRefused),
        (NGINX, 2_000_000, RecordRejected),
        (NGINX, None, RecordRejected),
        ('{"message": "the prompt has 9000 tokens, which is too large"}', 15_000, RecordRejected),
        ('{"error": {"message": "no", "code": "request_too_large"}}', 15_000, RecordRejected),
    ],
    ids=str,
)
def test_a_small_request_is_too_large_for_a_proxy_only(
    text: str, input_bytes: int | None, meaning: type[DocsluiceError]
) -> None:
    """Such a proxy refuses every document, so none of them is to blame."""
    call = Call(step="summary", model=model_ref("gpt-4o-mini"), input_bytes=input_bytes)
    fault = error_mapping.translate(_status_error(413, text=text), call, now=NOW)
    assert type(fault) is meaning
    if isinstance(fault, CallRefused):
        assert (fault.kind, fault.is_certain) == ("unknown", False)
        assert "client_max_body_size" in fault.remedy


@pytest.mark.parametrize(
    "words",
    [
        "cannot answer: 'your account is deactivated'",
        "bad text: 'the model is loading'",
        "the text says 'no API key provided' twice",
        "refused because of 'too many requests, slow down'",
        "refused because of 'this organization has been disabled'",
    ],
)
def test_what_stands_in_quotation_marks_and_in_the_document_means_nothing(words: str) -> None:
    """However few letters it has: these meanings hold for all calls."""
    quote = words.split("'")[1]
    own = _translate(_status_error(400, _said(words)), f"Somebody wrote: {quote}. Then the text went on.")
    assert isinstance(own, CallRefused)
    assert own.kind == "unknown"
    providers = _translate(_status_error(400, _said(words)), "A text about something else.")
    assert not isinstance(providers, CallRefused) or providers.kind in {"credentials", "permission"}


def _refusal(status: int, body: Any = None, **more: Any) -> CallRefused:
    fault = _translate(_status_error(status, body, **more))
    assert isinstance(fault, CallRefused)
    return fault


def test_an_unknown_model_is_named() -> None:
    """The line says which model, and which settings to look at."""
    fault = _refusal(404, _said("The model does not exist.", code="model_not_found"))
    assert (fault.kind, fault.is_certain) == ("model", True)
    assert fault.remedy == "the provider knows no model gpt-4o-mini (DOCSLUICE_MODEL): 404 model_not_found"


def test_a_bad_key_is_told_without_the_key() -> None:
    """The remedy says which setting, and not what is in it, nor anything else that the provider says."""
    fault = _refusal(401, _said(f"Incorrect API key provided: {KEY}.", code="invalid_api_key"))
    assert fault.remedy == "the provider does not accept the API key (OPENAI_API_KEY): 401 invalid_api_key"
    assert str(fault) == "401 invalid_api_key: Incorrect API key provided: [secret]."


def test_a_remedy_names_the_settings_of_its_provider() -> None:
    """Several providers have keys and addresses of their own."""
    call = Call(step="s", model=model_ref("m"), key_setting="VLLM_KEY", address_setting="providers.own.base_url")
    fault = error_mapping.translate(_status_error(401), call, now=NOW)
    assert isinstance(fault, CallRefused)
    assert fault.remedy == "the provider does not accept the API key (VLLM_KEY): 401"
    other = error_mapping.translate(_status_error(302), call, now=NOW)
    assert isinstance(other, CallRefused)
    assert "providers.own.base_url" in other.remedy


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
@pytest.mark.parametrize("place", ["message", "code", "text", "detail"])
def test_the_key_is_in_no_message(status: int, place: str) -> None:
    """Wherever the provider puts it, whatever the fault."""
    echoed = f"{SECRET_TEXT[:5]} {KEY}\n{KEY}"
    error = {
        "message": lambda: _status_error(status, _said(echoed)),
        "code": lambda: _status_error(status, _said(code=echoed)),
        "text": lambda: _status_error(status, text=f"<html>{echoed}</html>"),
        "detail": lambda: _status_error(status, {"detail": [echoed]}),
    }[place]()
    assert KEY not in str(_translate(error))


def test_connection_errors_do_not_tell_the_key_either() -> None:
    """Their causes may quote a header."""
    error = openai.APIConnectionError(request=REQUEST)
    error.__cause__ = httpx2.ConnectError(f"bad header: Bearer {KEY}")
    assert KEY not in str(_translate(error))
    assert KEY not in str(_translate(openai.OpenAIError(f"bad {KEY}")))


def test_a_long_message_is_cut() -> None:
    """Some providers echo the whole prompt: a line is enough, and it is one line."""
    said = str(_translate(_status_error(500, _said("Failed on:\n\n  " + "many words " * 1000))))
    assert len(said) < 450
    assert said.startswith("500: Failed on: many words many")
    assert said.endswith("…")
    assert "\n" not in said


def test_an_html_page_is_cut_too() -> None:
    """A gateway's error page comes as text: its title says it, or what is left without its tags."""
    said = str(_translate(_status_error(502, text="<html>\n<h1>Bad gateway</h1>" + "<p>x</p>" * 1000)))
    assert said.startswith("502: Bad gateway x x")
    assert len(said) < 450
    titled = _status_error(502, text="<html><title> 502\nBad </title><p>Much more.</p>")
    assert str(_translate(titled)) == "502: 502 Bad"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after": " 20 "}, 20),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": format_datetime(NOW + timedelta(seconds=90), usegmt=True)}, 90),
        ({"retry-after": (NOW + timedelta(seconds=90)).strftime("%a, %d %b %Y %H:%M:%S -0000")}, 90),
        ({"retry-after": format_datetime(NOW - timedelta(seconds=90), usegmt=True)}, 0),
        ({"retry-after": "in a while"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "86400"}, 3600),
        ({"retry-after": "1e400"}, 3600),
        ({"retry-after": "inf"}, 3600),
        ({"retry-after": "nan"}, 0),
        ({"retry-after": "1893456000"}, 3600),
        ({"retry-after": "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"}, None),
        ({"retry-after": "Mon, 01 Jan 2029 00:00:00 +99999999999999"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Milliseconds, seconds or a date. An hour at most, and nothing that would wait for ever."""
    assert retry_after_seconds(httpx2.Headers(headers), now=NOW) == seconds


@given(st.text(st.characters(codec="ascii")), st.text(st.characters(codec="ascii")))
def test_any_retry_after_is_a_time_or_nothing(after: str, after_ms: str) -> None:
    """A header that a server makes up cannot stop the service."""
    seconds = retry_after_seconds({"retry-after": after, "retry-after-ms": after_ms}, now=NOW)
    assert seconds is None or 0 <= seconds <= 3600


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ([{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED", "details": [RETRY_INFO]}}], 34),
        ([{"error": {"code": 429, "message": "x", "details": [{"retryDelay": "34.074824224s"}]}}], 34.074824224),
        (_said("Rate limit reached. Please try again in 7.66s. Visit the site."), 7.66),
        (_said("Please try again in 1m2s."), 62),
        (_said("Please try again in 12m3.5s. Need more tokens?"), 723.5),
        (_said("Please try again in 250ms."), 0.25),
        (_said("Please retry after 20 seconds."), 20),
        (_said("Please retry in 45.578569677s."), 45.578569677),
        (_said("Try again in 2 minutes, 5 seconds"), 125),
        (_said("Please wait 3 sec before retrying."), 3),
        (_said("Please try again in 24h0m0s."), 3600),
        (_said("Please try again in a while."), None),
        (_said("Limit 20, used 20 in 60s."), None),
        ({"error": {"message": "x", "metadata": {"retry_after_seconds": 12}}}, 12),
        (_said("x", retry_after="soon"), None),
    ],
    ids=str,
)
def test_retry_after_in_the_body(body: Any, seconds: float | None) -> None:
    """In a field, or in the provider's words. A header goes before both."""
    fault = _translate(_status_error(429, body))
    assert isinstance(fault, AttemptFailed)
    assert fault.retry_after_seconds == seconds
    told = _translate(_status_error(429, body, headers={"retry-after": "1"}))
    assert isinstance(told, AttemptFailed)
    assert told.retry_after_seconds == 1


@pytest.mark.parametrize("status", [429, 500, 503, 408])
def test_what_may_be_tried_again_says_when(status: int) -> None:
    """Retry-After is passed on, for a rate limit and for a server that is overloaded."""
    fault = _translate(_status_error(status, _said(), headers={"retry-after": "7"}))
    assert isinstance(fault, AttemptFailed)
    assert fault.retry_after_seconds == 7


@pytest.mark.parametrize(("status", "is_overload"), [(429, True), (503, True), (529, True), (500, False), (502, False)])
def test_a_server_with_too_much_to_do_is_told_from_one_that_fails(status: int, is_overload: bool) -> None:  # noqa: FBT001
    """Fewer calls at once would help the first, and not the second."""
    fault = _translate(_status_error(status, _said()))
    assert isinstance(fault, AttemptFailed)
    assert fault.is_overload is is_overload


@pytest.mark.parametrize(
    ("status", "message", "fields"),
    [
        (500, "unexpected server status: llm busy - no slots available", {}),  # Ollama
        (500, "Overloaded", {"type": "api_error"}),  # Anthropic
        (500, "The server is currently overloaded with other requests. Sorry about that!", {"type": "server_error"}),
        (500, "System is too busy now. Please try again later.", {"code": 50508}),  # SiliconFlow
        (502, "当前分组上游负载已饱和", {}),  # One API
        (400, "Our servers are currently overloaded.", {"type": "invalid_request_error"}),  # OpenAI, by a gateway
        (400, "Selected model is at capacity. Please try a different model.", {}),
        (400, "Try another one.", {"code": "server_overloaded"}),
    ],
)
def test_an_overload_is_told_by_its_words(status: int, message: str, fields: dict[str, Any]) -> None:
    """Where the status does not say so. It passes, so it is no word on the document."""
    fault = _translate(_status_error(status, _said(message, **fields)))
    assert isinstance(fault, ProviderUnavailable)
    assert fault.is_overload


@pytest.mark.parametrize(
    ("status", "message"),
    [(500, "Internal server error"), (500, "CUDA error: device-side assert triggered"), (502, "Bad Gateway")],
)
def test_other_words_tell_of_no_overload(status: int, message: str) -> None:
    """Fewer calls at once would not help."""
    fault = _translate(_status_error(status, _said(message)))
    assert isinstance(fault, ProviderUnavailable)
    assert not fault.is_overload


def test_a_document_about_an_overload_is_none() -> None:
    """A server that quotes it says nothing of itself."""
    text = "The engine is currently overloaded, and the mechanics have no slots available."
    quoting = _status_error(422, _said(f"Input should be valid: {text}"))
    fault = error_mapping.translate(quoting, Call(step="s", model=model_ref("m"), quoted=Quoted([text])), now=NOW)
    assert isinstance(fault, CallRefused)


@pytest.mark.parametrize(
    ("error", "meaning"),
    [
        (TimeoutError(), CallTimedOut),
        (openai.APITimeoutError(REQUEST), CallTimedOut),
        (aiohttp.ServerTimeoutError(), CallTimedOut),
        (openai.APIConnectionError(request=REQUEST), ProviderUnavailable),
        (httpx2.ReadError("broken"), ProviderUnavailable),
        (httpx2.RemoteProtocolError("broken"), ProviderUnavailable),
        (aiohttp.ClientPayloadError("broken"), ProviderUnavailable),
        (aiohttp.ServerDisconnectedError(), ProviderUnavailable),
        (json.JSONDecodeError("not JSON", "{", 1), AnswerUnreadable),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), AnswerUnreadable),
        (httpx2.DecodingError("no gzip"), AnswerUnreadable),
    ],
)
def test_what_is_no_status(error: Exception, meaning: type[DocsluiceError]) -> None:
    """Time-outs and connections, also those that slip through the SDK."""
    assert isinstance(error, error_mapping.FOREIGN)
    assert type(_translate(error)) is meaning


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (ConnectionRefusedError(111, "Connect call failed"), "connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "its name is not known"),
        (aiohttp.ServerDisconnectedError(), "it closed the connection"),
        (None, "ConnectTimeout"),
    ],
)
def test_a_connection_that_broke_is_no_timeout(cause: Exception | None, words: str) -> None:
    """The aiohttp transport reports a refused connection as a connect time-out. Waiting longer would not help it.

    What it was is told, in the log too.
    """
    error = openai.APITimeoutError(REQUEST)
    error.__cause__ = httpx2.ConnectTimeout("refused")
    error.__cause__.__cause__ = cause
    fault = _translate(error)
    assert isinstance(fault, ProviderUnavailable)
    assert fault.blames_document
    assert fault.cause == str(fault) == f"no connection to the provider: {words}"


def test_a_path_without_a_list_of_models_is_told_as_such() -> None:
    """`check` asks for no model, so none can be unknown."""
    fault = _translate(_status_error(404, _said()), model="")
    assert isinstance(fault, CallRefused)
    assert fault.remedy == "there is no list of models at this path (OPENAI_BASE_URL, mostly with /v1): 404"


def test_a_call_that_found_no_connection_blames_no_document() -> None:
    """The provider has not seen it. Whether others find one is not known, so this call alone backs off."""
    key: Any = None
    cause = aiohttp.ClientConnectorError(key, OSError(24, "x"))
    cause.__cause__ = OSError(24, "x")
    error = openai.APITimeoutError(REQUEST)
    error.__cause__ = httpx2.ConnectTimeout("x")
    error.__cause__.__cause__ = cause
    fault = _translate(error)
    assert isinstance(fault, ProviderUnavailable)
    assert (fault.blames_document, fault.pauses_others) == (False, False)
    assert str(fault) == "no connection to the provider: too many open files; raise the limit (ulimit -n)"

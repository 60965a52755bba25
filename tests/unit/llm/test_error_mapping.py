"""What each exception of the OpenAI SDK, and each status of a provider, means for the service."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

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
from docsluice_consumer.model_ref import model_ref
from tests.fakes.sdk_errors import NOW, REQUEST, said_by, status_error, translation_of


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
    assert type(translation_of(_instance(kind))) is MEANINGS[kind.__name__]
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
    assert type(translation_of(status_error(status, said_by()))) is meaning


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
        error = status_error(status, **body)
        fault = translation_of(error)
        assert isinstance(fault, RecordRejected | AttemptFailed | ServiceFault)
        assert str(fault)


QUOTA = said_by("You exceeded your current quota.", type="insufficient_quota", code="insufficient_quota")
TOO_LARGE = said_by(
    "Request too large for gpt-4o-mini on tokens per min (TPM): Limit 200000, Requested 250000.",
    type="tokens",
    code="rate_limit_exceeded",
)
TOO_FAST = said_by("Rate limit reached: Limit 500, Used 500.", type="requests", code="rate_limit_exceeded")


@pytest.mark.parametrize(
    ("body", "meaning"),
    [
        (TOO_FAST, RateLimited),
        (said_by("Slow down."), RateLimited),
        ({}, RateLimited),
        (QUOTA, QuotaExhausted),
        (said_by(code="billing_hard_limit_reached"), QuotaExhausted),
        (said_by(type="insufficient_quota"), QuotaExhausted),
        (TOO_LARGE, RecordRejected),
        (said_by("request too large for this model"), RecordRejected),
    ],
)
def test_three_things_share_429(body: dict[str, Any], meaning: type[DocsluiceError]) -> None:
    """Too fast passes by waiting, an empty account by paying, and a request above the limit never."""
    fault = translation_of(status_error(429, body))
    assert type(fault) is meaning
    if isinstance(fault, RecordRejected):
        assert fault.reason is DeadLetterReason.TOO_LARGE


@pytest.mark.parametrize("fault", [status_error(429, TOO_FAST), status_error(429, QUOTA), status_error(402)])
def test_limits_and_empty_accounts_blame_no_document(fault: openai.APIStatusError) -> None:
    """They never use up a document's attempts."""
    translated = translation_of(fault)
    assert isinstance(translated, AttemptFailed)
    assert not translated.blames_document


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (400, said_by(code="context_length_exceeded"), "too_large"),
        (400, said_by(type="exceed_context_size_error"), "too_large"),
        (400, said_by(code="string_above_max_length"), "too_large"),
        (400, said_by("This model's maximum context length is 8192 tokens."), "too_large"),
        (400, {"error": "prompt exceeds the context size"}, "too_large"),
        (400, {"detail": "input is longer than the context length"}, "too_large"),
        (413, said_by(), "too_large"),
        (400, said_by(code="content_filter"), "content_filtered"),
        (400, said_by(code="content_policy_violation"), "content_filtered"),
    ],
)
def test_why_a_request_is_rejected(status: int, body: dict[str, Any], reason: str) -> None:
    """Too long for the model, filtered, or refused for another reason. Told by code first and by words else."""
    fault = translation_of(status_error(status, body))
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
    fault = error_mapping.translate(status_error(413, text=text), call, now=NOW)
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
    own = translation_of(status_error(400, said_by(words)), f"Somebody wrote: {quote}. Then the text went on.")
    assert isinstance(own, CallRefused)
    assert own.kind == "unknown"
    providers = translation_of(status_error(400, said_by(words)), "A text about something else.")
    assert not isinstance(providers, CallRefused) or providers.kind in {"credentials", "permission"}

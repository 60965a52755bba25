"""What real providers answer, and what our client makes of it: one row for each answer of the table of characters."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import pytest

from docsluice.messages import DeadLetterReason
from docsluice_consumer.errors import (
    AttemptFailed,
    CallRefused,
    CallTimedOut,
    DocsluiceError,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RecordRejected,
)
from docsluice_consumer.llm.chat import Answer, ChatRequest, Message
from docsluice_consumer.llm.client import OpenAIChatClient
from docsluice_consumer.llm.provider import Provider
from docsluice_local.rehearsal.characters.character import Character, DocumentedError, ErrorKind, Refusal
from docsluice_local.rehearsal.characters.loading import all_characters
from docsluice_local.rehearsal.characters.templates import SAMPLE_FACTS
from docsluice_local.rehearsal.messages import AssistantMessage
from docsluice_local.rehearsal.player import completion_body
from docsluice_local.rehearsal.provider import RehearsalProvider, rehearsal_provider
from docsluice_local.rehearsal.replies import Completion
from docsluice_local.rehearsal.replies import Usage as Counted
from docsluice_local.rehearsal.settings import RehearsalSettings
from tests.fakes.one_answer import one_answer
from tests.fakes.samples import chat_request

CHARACTERS = all_characters()
WAIT_SECONDS = (4.77, 5.0)
"""How long `SAMPLE_FACTS` ask to wait, in the two ways of writing it."""


@dataclass(frozen=True)
class Expected:
    """What a kind of error must become: one of these classes, with these attributes."""

    classes: tuple[type[DocsluiceError], ...]
    attributes: dict[str, Any]


def _expected(*classes: type[DocsluiceError], **attributes: Any) -> Expected:
    return Expected(classes, attributes)


EXPECTED: dict[ErrorKind, Expected] = {
    ErrorKind.RATE_LIMITED: _expected(RateLimited, blames_document=False),
    ErrorKind.DAILY_QUOTA: _expected(QuotaExhausted, blames_document=False, period_seconds=86_400.0),
    ErrorKind.QUOTA_EXHAUSTED: _expected(QuotaExhausted, blames_document=False, period_seconds=None),
    ErrorKind.REQUEST_TOO_LARGE_FOR_LIMIT: _expected(RecordRejected, reason=DeadLetterReason.TOO_LARGE),
    ErrorKind.UNAVAILABLE: _expected(ProviderUnavailable),
    ErrorKind.OVERLOADED: _expected(ProviderUnavailable, RateLimited, is_overload=True),
    ErrorKind.TIMEOUT: _expected(ProviderUnavailable, CallTimedOut),
    ErrorKind.BAD_KEY: _expected(CallRefused, kind="credentials"),
    ErrorKind.FORBIDDEN: _expected(CallRefused, kind="permission"),
    ErrorKind.UNKNOWN_MODEL: _expected(CallRefused, kind="model"),
    ErrorKind.BAD_PATH: _expected(CallRefused, kind="path"),
    # The client leaves the parameter out and asks again. This is what is left where the server says so every time.
    ErrorKind.UNSUPPORTED_PARAMETER: _expected(CallRefused, kind="unknown"),
    ErrorKind.TOO_LARGE: _expected(RecordRejected, reason=DeadLetterReason.TOO_LARGE),
    ErrorKind.CONTENT_FILTERED: _expected(RecordRejected, reason=DeadLetterReason.CONTENT_FILTERED),
    ErrorKind.REJECTED: _expected(CallRefused, kind="unknown", reason=DeadLetterReason.REJECTED),
    ErrorKind.MODEL_LOADING: _expected(ProviderUnavailable),
}


def _errors() -> list[Any]:
    return [
        pytest.param(error, id=f"{character.name}-{error.kind}-{error.status}-{number}")
        for character in CHARACTERS
        for number, error in enumerate(character.errors)
    ]


def _refusals() -> list[Any]:
    return [
        pytest.param(character, refusal, id=f"{character.name}-{refusal.parameter}-{refusal.value or 'any'}-{number}")
        for character in CHARACTERS
        for number, refusal in enumerate(character.refuses)
    ]


def _spellings() -> list[Any]:
    return [
        pytest.param(character, spelling, meaning, id=f"{character.name}-{spelling}")
        for character in CHARACTERS
        for spelling, meaning in character.finish_reasons.spellings.items()
    ]


each_character = pytest.mark.parametrize("character", CHARACTERS, ids=lambda character: character.name)


@contextlib.asynccontextmanager
async def _client(base_url: str) -> AsyncIterator[OpenAIChatClient]:
    provider = Provider(base_url=base_url, request_timeout_seconds=20.0)
    client = OpenAIChatClient(provider=provider, max_connections=4)
    try:
        yield client
    finally:
        await client.close()


async def _fault(error: DocumentedError) -> DocsluiceError:
    headers, body = error.filled(SAMPLE_FACTS)
    async with one_answer(status=error.status, body=body, headers=headers) as base_url, _client(base_url) as client:
        with pytest.raises(DocsluiceError) as caught:
            await client.ask(chat_request(max_output_tokens=100))
    return caught.value


@contextlib.asynccontextmanager
async def _playing(character: Character, **settings: Any) -> AsyncIterator[tuple[RehearsalProvider, OpenAIChatClient]]:
    played = RehearsalSettings(character=character, **settings)
    async with rehearsal_provider(played) as provider, _client(provider.base_url) as client:
        yield provider, client


def _model_of(patterns: tuple[str, ...], default: str) -> str:
    """A model that the patterns mean."""
    return patterns[0].replace("*", "") if patterns else default


def _long_request(text: str, *, model: str) -> ChatRequest:
    """A request whose beginning is long enough to be cached."""
    request = chat_request(text, model=model, max_output_tokens=400)
    return replace(request, messages=(Message("system", "Answer. " * 1_000), *request.messages[1:]))


def test_every_kind_has_its_row() -> None:
    """A new kind of error needs a decision of what it is to become."""
    assert set(EXPECTED) == set(ErrorKind)


@pytest.mark.parametrize("error", _errors())
async def test_an_error_means_what_it_means(error: DocumentedError) -> None:
    """Whatever the status and the words, one kind of error becomes one kind of fault."""
    fault = await _fault(error)
    expected = EXPECTED[error.kind]
    assert isinstance(fault, expected.classes), f"{type(fault).__name__}: {fault}"
    assert {name: getattr(fault, name) for name in expected.attributes} == expected.attributes, str(fault)


@pytest.mark.parametrize(
    "error",
    [each for each in _errors() if "${wait" in f"{each.values[0].headers}{each.values[0].body}"],
)
async def test_a_wait_that_is_told_is_read(error: DocumentedError) -> None:
    """In a header, in a field of the body, or in the words."""
    fault = await _fault(error)
    assert isinstance(fault, AttemptFailed)
    assert fault.retry_after_seconds in WAIT_SECONDS


@each_character
async def test_usage_is_read_in_every_shape(character: Character) -> None:
    """Reasoning is output however it is told, and cached tokens are known where they are told."""
    patterns = character.answer.thinking.models if character.answer.thinking else ()
    model = _model_of(patterns, character.recipe.model)
    async with _playing(character) as (provider, client):
        await client.ask(_long_request("One document.", model=model))
        answer = await client.ask(_long_request("Another document.", model=model))
        call = list(provider.calls)[-1]
    usage, told = answer.usage, str(character.usage.shape.values())
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (call.prompt_tokens, call.completion_tokens)
    assert call.cached_tokens
    assert usage.cached_tokens == (call.cached_tokens if "cached" in told else 0)
    assert bool(call.reasoning_tokens) == bool(character.answer.thinking)
    assert usage.reasoning_tokens == (call.reasoning_tokens if "reasoning" in told or "answer" in told else 0)
    assert answer.stated_cost_usd == (Decimal(str(cost)) if (cost := character.usage.shape.get("cost")) else None)


@each_character
async def test_the_answer_is_read_past_the_thinking(character: Character) -> None:
    """In a field of its own, in `<think>`, in parts or hidden: the answer is what follows."""
    thinking = character.answer.thinking
    model = _model_of(thinking.models, "") if thinking else character.recipe.model
    async with _playing(character) as (_, client):
        answer = await client.ask(chat_request(model=model, max_output_tokens=400))
    behind = answer.text.rpartition("</think>")[2].strip()
    assert behind.startswith("{"), answer.text
    assert answer.finish_reason == "stop"


@pytest.mark.parametrize(("character", "spelling", "meaning"), _spellings())
async def test_a_finish_reason_means_what_it_means(character: Character, spelling: str, meaning: str) -> None:
    """Each spelling is one of stop, length and content filter, or an answer that was broken off."""
    said = Completion(
        request_id="1",
        model="m",
        message=AssistantMessage(content=None if meaning == "content_filter" else '{"summary": "S"}'),
        usage=Counted(prompt_tokens=9, completion_tokens=5, cached_tokens=0),
    )
    body = completion_body(character, said)
    body["choices"][0]["finish_reason"] = spelling
    async with one_answer(status=200, body=body) as base_url, _client(base_url) as client:
        if meaning == "other":
            with pytest.raises(AttemptFailed):
                await client.ask(chat_request())
        else:
            assert (await client.ask(chat_request())).finish_reason == meaning


@each_character
async def test_limits_are_learned_from_the_headers_that_tell_them(character: Character) -> None:
    """Those of a minute, under their own names. Never those of a day."""
    limits = {"requests": 600, "tokens": 60_000}
    settings = {f"{name}_per_minute": limit for name, limit in limits.items()}
    async with _playing(character, **settings) as (_, client):
        answer: Answer = await client.ask(_long_request("A document.", model=character.recipe.model))
    teaches = character.limits.teaches if character.limits else ()
    assert answer.limits == {name: limits[name] for name in teaches}


@pytest.mark.parametrize(("character", "refusal"), _refusals())
async def test_a_refused_parameter_is_done_without(character: Character, refusal: Refusal) -> None:
    """The first call is refused in the provider's own words, and the document is answered all the same."""
    request = chat_request(model=_model_of(refusal.models, "m"), max_output_tokens=400)
    values: dict[str, Any] = {"temperature": 0.2, "frequency_penalty": 0.5, "presence_penalty": 0.5}
    sent = {name: value for name, value in values.items() if name == refusal.parameter}
    sampling = replace(request.sampling, **sent)
    tier = "flex" if refusal.parameter == "service_tier" else None
    async with _playing(character) as (provider, client):
        answer = await client.ask(replace(request, sampling=sampling, service_tier=tier))
        statuses = [call.status for call in provider.calls]
    assert answer.usage is not None
    assert answer.usage.output_tokens > 0
    assert statuses[-1] == 200
    assert set(statuses[:-1]) <= {refusal.status}
